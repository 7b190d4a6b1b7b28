"""Tables: rows are taken, joined and mapped to photos; images too large for the device stay in a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.near_duplicates import image_hashes, near_duplicate_groups
from facekp.data.readers.read import read_table
from facekp.data.table import HostImages
from facekp.models.checkpoint import load_checkpoint
from facekp.training.setup import train
from tests.conftest import REPOSITORY, TINY, settings_of
from tests.data.photo_folder import folder_settings
from tests.drawn_photos import five, write_photos
from tests.forked import run_module

MEGABYTE = 1 << 20
FACES, PHOTOS, SIDE = 800, 40, 256  # 52 MB
# Reads the table, assigns the folds and collects an epoch of batches. Prints by how many bytes the memory of the
# process (without mapped files) grew at most, measured every 5 ms.
PROGRAM = """
import re, sys, threading, time
import numpy as np
import torch
from facekp.data.datamodule import FaceData
from facekp.data.readers.read import read_table
from facekp.data.split import assign_folds, inseparable_groups
from tests.conftest import settings_of
from tests.drawn_photos import five

def anonymous_memory():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

settings = settings_of("data=folder", "augment=none", *sys.argv[1:])
before, most, done = anonymous_memory(), 0, False

def watch():
    global most
    while not done:
        most = max(most, anonymous_memory() - before)
        time.sleep(0.005)

watcher = threading.Thread(target=watch)
watcher.start()
table = read_table(settings.data, five())
fold_of = assign_folds(inseparable_groups(table), table.source, 5, 0)
data = FaceData(table, fold_of, 0, "full", 16, settings.augment, 0)
for rows in np.array_split(np.arange(len(table)), 100):
    data.assemble(torch.from_numpy(rows), None)
data.train_hashes
done = True
watcher.join()
print(len(table), most)
"""


def test_rows_of_host_images_are_those_of_the_array(faces):
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
    paths = (f"data.images={tmp_path}/photos", f"data.labels={tmp_path}/labels.csv", f"data.cache={tmp_path}/cache")
    tiny = [override for override in TINY if override != "data=synthetic"]
    for name, limit in (("device", 1 << 31), ("host", 1000)):
        settings = settings_of("data=folder", *tiny, *paths, f"data.device_bytes={limit}")
        table = read_table(settings.data, five())
        assert isinstance(table.images, HostImages) == (name == "host")
        train(settings.replaced(keypoints=five().to_dict()), tmp_path / name)
    device, host = (load_checkpoint(tmp_path / name / "checkpoints" / "best.ckpt") for name in ("device", "host"))
    for key, value in device.model.state_dict().items():
        assert torch.equal(value, host.model.state_dict()[key]), key
    assert (device.trained_on == host.trained_on).all()
    for file in ("predictions.csv", "split.csv"):
        left, right = (pd.read_csv(tmp_path / name / file) for name in ("device", "host"))
        pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Photos of noise with 20 faces each."""
    folder, random = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    rows = []
    for photo in range(PHOTOS):
        noise = random.integers(0, 256, (600, 600), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "photos" / f"{photo}.bmp")
        for _ in range(FACES // PHOTOS):
            left, top = random.integers(0, 600 - SIDE, 2).tolist()
            points = random.uniform(0.2, 0.8, (5, 2)) * SIDE + (left, top)
            rows.append([f"{photo}.bmp", *points.ravel().round(1), left, top, left + SIDE, top + SIDE])
    columns = ["name", *five().columns, "box_x0", "box_y0", "box_x1", "box_y1"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    return folder


def growth(folder, cache, limit):
    """Bytes that reading, splitting and collecting batches take, without mapped files."""
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", f"data.cache={cache}")
    (folder / "program.py").write_text(PROGRAM)
    given = (*paths, f"data.size={SIDE}", f"data.device_bytes={limit}")
    done = run_module("program", given, folder, {**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert done.returncode == 0, done.stderr
    rows, most = map(int, done.stdout.split())
    assert rows == FACES
    return most


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's count of a process's own memory")
@pytest.mark.slow
def test_neither_reading_nor_collecting_batches_holds_the_images_in_memory(many, tmp_path):
    table = FACES * SIDE**2
    assert growth(many, tmp_path / "device", 2 * table) > table  # the measurement shows images that are in memory
    first, again = (growth(many, tmp_path / "host", table - 1) for _ in range(2))
    assert max(first, again) < table / 2, f"{first / MEGABYTE:.0f} and {again / MEGABYTE:.0f} MB"


def test_a_table_too_large_for_memory_needs_a_cache(many):
    settings = folder_settings(many, "data.cache=null", "data.device_bytes=1000000")
    with pytest.raises(UserError, match=r"data.cache=null: 0.0 GB of images exceed data.device_bytes=1000000"):
        read_table(settings, five())


def test_joined_tables_hold_all_rows_and_taken_ones_the_chosen(faces):
    both = faces.take(np.arange(3)).joined(faces.take(np.array([7])))
    assert both.row.tolist() == faces.row[[0, 1, 2, 7]].tolist()
    np.testing.assert_array_equal(both.images, faces.images[[0, 1, 2, 7]])
    np.testing.assert_array_equal(both.points, faces.points[[0, 1, 2, 7]])
    assert both.without(np.array([1, 2])).row.tolist() == faces.row[[0, 7]].tolist()


def test_subsets_hidden_points_and_boxes_travel_with_their_rows(faces):
    visible = 2 * faces.mask.astype(np.uint8)
    visible[7] //= 2
    box = np.arange(4 * len(faces), dtype=np.float32).reshape(-1, 4)
    rich = replace(faces, attributes={"pose": faces.row.astype(str)}, visible=visible, box=box)
    taken = rich.take(np.array([7, 2]))
    assert taken.attributes["pose"].tolist() == faces.row[[7, 2]].astype(str).tolist()
    assert (taken.visible == visible[[7, 2]]).all()
    assert (taken.box == box[[7, 2]]).all()
    both = taken.joined(faces.take(np.array([3])))
    assert both.attributes["pose"].tolist() == [*taken.attributes["pose"], ""]
    assert (both.visible == [*visible[[7, 2]], 2 * faces.mask[3]]).all()
    assert (both.box[:2] == taken.box).all()
    assert np.isnan(both.box[2]).all()
    left = both.without(np.array([0, 2]))
    assert left.attributes["pose"].tolist() == [str(faces.row[2])]
    assert left.visible.tolist() == visible[[2]].tolist()
    assert left.box.tolist() == box[[2]].tolist()
    plain = faces.take(np.arange(2)).joined(faces.take(np.arange(2)))
    assert (plain.attributes, plain.visible, plain.box) == ({}, None, None)
