"""A table too large for the device stays in a file: the same training to the last bit, and no memory for its images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.readers.registry import read_table
from facekp.data.split import image_hashes, near_duplicate_groups
from facekp.data.table import HostImages
from facekp.models.checkpoint import load_checkpoint
from facekp.training.setup import train
from tests.conftest import REPOSITORY, TINY, config_of
from tests.drawn_photos import five, write_photos

MEGABYTE = 1 << 20
FACES, PHOTOS, SIDE = 1600, 80, 256  # 105 MB
# Reads the table, deals the folds and gathers an epoch of batches; prints by how many bytes its own memory (that which
# is not of a file) grew at most, looking every 5 ms.
PROGRAM = """
import re, sys, threading, time
import numpy as np
import torch
from facekp.data.augment import Augmentation
from facekp.data.datamodule import FaceData
from facekp.data.readers.registry import read_table
from facekp.data.split import assign_folds, inseparable_groups
from tests.conftest import config_of
from tests.drawn_photos import five

def own():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

config = config_of("data=folder", "augment=none", *sys.argv[1:])
before, most, done = own(), 0, False

def watch():
    global most
    while not done:
        most = max(most, own() - before)
        time.sleep(0.005)

watcher = threading.Thread(target=watch)
watcher.start()
table = read_table(config["data"], five())
fold_of = assign_folds(inseparable_groups(table), table.source, 5, 0)
data = FaceData(table, fold_of, 0, "full", 16, Augmentation.from_dict(config["augment"]), 0)
for rows in np.array_split(np.arange(len(table)), 100):
    data.assemble(torch.from_numpy(rows), None)
data.train_hashes
done = True
watcher.join()
print(len(table), most)
"""


def test_rows_of_host_images_are_the_array_s_own(faces):
    images = HostImages(faces.images)
    assert images.shape == faces.images.shape
    for index in (3, slice(5, 9), np.array([7, 2, 7]), np.arange(80) % 3 == 0):
        assert (images[index] == faces.images[index]).all()
    some = images.take(np.array([4, 9, 1])).take(np.array([2, 0]))
    assert (some[:] == faces.images[[1, 4]]).all()
    assert (np.stack(list(some)) == some[:]).all()
    assert (image_hashes(images) == image_hashes(faces.images)).all()
    assert (near_duplicate_groups(images) == near_duplicate_groups(faces.images)).all()


def test_training_is_the_same_to_the_last_bit_wherever_the_images_are(tmp_path):
    write_photos(tmp_path, 60)
    scheme = {"keypoints": five().to_dict()}
    paths = (f"data.images={tmp_path}/photos", f"data.labels={tmp_path}/labels.csv", f"data.cache={tmp_path}/cache")
    rest = [one for one in TINY if one != "data=synthetic"]
    for name, limit in (("device", 1 << 31), ("host", 1000)):
        config = config_of("data=folder", *rest, *paths, f"data.device_bytes={limit}")
        table = read_table(config["data"], five())
        assert isinstance(table.images, HostImages) == (name == "host")
        train({**config, **scheme}, tmp_path / name)
    one, other = (load_checkpoint(tmp_path / name / "checkpoints" / "best.ckpt") for name in ("device", "host"))
    for key, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key
    assert (one.trained_on == other.trained_on).all()
    for file in ("predictions.csv", "split.csv"):
        left, right = (pd.read_csv(tmp_path / name / file) for name in ("device", "host"))
        pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """80 photos of noise with 20 faces each."""
    folder, random = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    rows = []
    for photo in range(PHOTOS):
        noise = random.integers(0, 256, (600, 600), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "photos" / f"{photo}.bmp")
        for _ in range(FACES // PHOTOS):
            left, top = (int(one) for one in random.integers(0, 600 - SIDE, 2))
            points = random.uniform(0.2, 0.8, (5, 2)) * SIDE + (left, top)
            rows.append([f"{photo}.bmp", *points.ravel().round(1), left, top, left + SIDE, top + SIDE])
    columns = ["name", *five().columns, "box_x0", "box_y0", "box_x1", "box_y1"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    return folder


def growth(folder, cache, limit):
    """Bytes that reading, splitting and gathering take beside files."""
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", f"data.cache={cache}")
    command = [sys.executable, "-c", PROGRAM, *paths, f"data.size={SIDE}", f"data.device_bytes={limit}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, most = map(int, done.stdout.split())
    assert rows == FACES
    return most


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's count of a process's own memory")
def test_neither_building_nor_gathering_holds_the_images_in_memory(many, tmp_path):
    table = FACES * SIDE**2
    assert growth(many, tmp_path / "device", 2 * table) > table  # what the measure shows if they are held
    first, again = (growth(many, tmp_path / "host", table - 1) for _ in range(2))
    assert max(first, again) < table / 2, f"{first / MEGABYTE:.0f} and {again / MEGABYTE:.0f} MB"


def test_too_large_a_table_without_a_cache_is_told(many):
    paths = (f"data.images={many}/photos", f"data.labels={many}/labels.csv")
    config = config_of("data=folder", *paths, "data.cache=null", "data.device_bytes=1000000")["data"]
    with pytest.raises(UserError, match=r"data.cache=null: 0.0 GB of images are above data.device_bytes=1000000"):
        read_table(config, five())
