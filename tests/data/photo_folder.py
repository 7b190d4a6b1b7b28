"""A folder of photos with labels in a CSV, and the table that data=folder reads from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facekp.core.keypoints import Keypoints
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from tests.data.samples import data_settings
from tests.drawn_photos import DRAWN, five

POINTS = [f"{name}_{axis}" for name in DRAWN for axis in "xy"]
HEADER = ",".join(["name", *POINTS])
BOX = "box_x0,box_y0,box_x1,box_y1"
FACE = "a.png,30,20,10,20,20,30,28,40,12,40"


def write_one_photo(folder: Path) -> Path:
    """Write a photo of 60 x 50 pixels of noise, and labels.csv with one face in it."""
    (folder / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (50, 60), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "photos" / "a.png")
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE}\n")
    return folder


def folder_settings(folder: Path, *overrides: str) -> Any:
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", f"data.cache={folder}/cache")
    return data_settings("data=folder", *paths, *overrides)


def read_folder(folder: Path, *overrides: str, scheme: Keypoints | None = None) -> FaceTable:
    return read_table(folder_settings(folder, *overrides), scheme or five())
