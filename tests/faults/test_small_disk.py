"""A file system that really is full: what is written there, and that everything continues once there is room."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.faults.children import RUN, Child, assert_same_run, finish, trials

KB = 1024


@pytest.fixture
def disk(tmp_path):
    """A file system in the memory; the function mounts it with a number of bytes, or makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size, *options):
        given = ",".join([*options, f"size={size}"])
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", given, "tmpfs", folder], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("needs the right to mount")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False)


def error_of(child):
    """The one line of a command that failed."""
    assert child.wait() == 2, child.stderr()
    assert "Traceback" not in child.stderr()
    (line,) = (line for line in child.stderr().splitlines() if line.startswith("facekp: error: "))
    return line


@pytest.mark.parametrize("seed", trials(1))
def test_a_training_continues_once_there_is_room(tmp_path, disk, whole, seed):
    size = (whole[0] / "checkpoints" / "last.ckpt").stat().st_size
    folder = disk(int(np.random.default_rng(seed).uniform(0.2, 2.9) * size))
    line = error_of(Child(tmp_path, [*RUN, "out=disk/r"]))
    assert "cannot be written (No space left on device); make room on the disk" in line
    if (folder / "r" / "checkpoints" / "last.ckpt").is_file():
        assert "the last good checkpoint is disk/r/checkpoints/last.ckpt; then continue with resume=disk/r" in line
    disk(64 * KB * KB, "remount")
    finish(tmp_path, "disk/r")
    assert_same_run(folder / "r", whole[0])


def test_packing_leaves_nothing(tmp_path, disk, whole):
    folder = disk(4 * KB)
    best = whole[0] / "checkpoints" / "best.ckpt"
    line = error_of(Child(tmp_path, [f"ckpt={best}", "out=disk/small.ckpt"], command="pack"))
    assert "disk/small.ckpt: cannot be written (No space left on device)" in line
    assert list(folder.iterdir()) == []


def test_predictions_end_with_the_last_photo_that_fitted(tmp_path, disk, whole, faces):
    names = [f"{number:02d}.png" for number in range(20)]
    for name, image in zip(names, faces.images, strict=False):
        Image.fromarray(image).save(tmp_path / name)
    folder = disk(40 * KB)  # a photo takes about 4 KB
    best = whole[0] / "checkpoints" / "best.ckpt"
    given = [f"ckpt={best}", "detector=none", "draw=false", "batch=1", "out=disk/out"]
    child = Child(tmp_path, [*names, *given], command="predict")
    assert "No space left on device" in error_of(child)
    entries = json.loads((folder / "out" / "points.json").read_text())
    assert 2 < len(entries) < 20
    assert [entry["file"] for entry in entries] == names[: len(entries)]
    rows = (folder / "out" / "points.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [name for name in names[: len(entries)] for _ in range(15)]
    assert f"stopped: the tables hold {len(entries)} photos; 20 files were to be read" in child.stderr()
