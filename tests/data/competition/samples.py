"""Random tables, files of a few rows, and the error that reading them raises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.competition import read_training_csv
from facekp.data.table import FaceTable

PAIR = Keypoints.from_dict(
    {
        "name": "pair",
        "names": ["eye", "nose", "lip"],
        "pairs": [],
        "lines": [],
        "sources": {"dense": None, "sparse": ["nose"]},
        "normaliser": ["eye", "nose"],
    }
)
IMAGE = " ".join(["7"] * 9216)
HEADER = "eye_x,eye_y,nose_x,nose_y,lip_x,lip_y,Image"


def faces(n: int, seed: int = 0, keypoints: Keypoints = PAIR) -> FaceTable:
    """Random images and points, about a third unlabelled."""
    draw = np.random.default_rng(seed)
    points = draw.uniform(0, 96, (n, len(keypoints.names), 2)).astype(np.float32)
    points[draw.random(points.shape[:2]) < 0.3] = np.nan
    return FaceTable(
        keypoints=keypoints,
        images=draw.integers(0, 256, (n, 96, 96)).astype(np.uint8),
        points=points,
        source=keypoints.source_of(np.isfinite(points).sum((1, 2))),
        row=np.arange(1, n + 1),
    )


def assert_same(left: FaceTable, right: FaceTable) -> None:
    for name in ("images", "points", "source", "row"):
        a, b = getattr(left, name), getattr(right, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


def training(folder: Path, *rows: str, header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "training.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def error(folder: Path) -> str:
    """The line that reading the folder's training.csv raises; nothing is cached."""
    with pytest.raises(UserError) as caught:
        read_training_csv(folder, PAIR, folder / "cache")
    assert not list(folder.glob("cache/*"))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def with_pixel(at: int, value: str) -> str:
    """A row whose pixel ``at``, counted from 1, is ``value``."""
    pixels = IMAGE.split()
    pixels[at - 1] = value
    return "1,2,3,4,5,6," + " ".join(pixels)
