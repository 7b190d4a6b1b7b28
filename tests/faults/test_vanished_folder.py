"""A run's folder that is removed or replaced while it trains is not made again."""

import shutil
import time
from pathlib import Path

import pytest

from tests.faults.children import RUN, Child, moment, trials

MUCH = [*RUN, "trainer.max_epochs=300"]


def remove(folder: Path) -> None:
    """Remove a folder into which somebody writes."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def replace(folder: Path) -> None:
    """Put a copy in the place of the folder."""
    rename(folder)
    shutil.copytree(folder.with_name("elsewhere"), folder)


@pytest.mark.parametrize("seed", trials(1))
@pytest.mark.parametrize("change", [remove, rename, replace])
def test_the_training_ends_with_one_line(tmp_path, change, seed):
    child, folder = Child(tmp_path, [*MUCH, "out=r"]), tmp_path / "r"
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert time.monotonic() - child.started < 60, child.stderr()
        time.sleep(0.002)
    time.sleep(moment(seed, 0, 0.5))
    change(folder)
    changed = time.time()
    assert child.wait() == 2, child.stderr()
    lines = [line for line in child.stderr().splitlines() if line.startswith("facekp: error: ")]
    assert len(lines) == 1
    assert "removed" in lines[0]
    assert "Traceback" not in child.stderr()
    if change is replace:
        assert (folder / "metrics.csv").stat().st_mtime < changed + 1
    else:
        assert not folder.exists()
