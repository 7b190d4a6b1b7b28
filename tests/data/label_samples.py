"""A COCO file with all that a label file may say of faces, beside drawn photos of 60 x 50 pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ["L_eye", "R_eye", "nose"]
FACES: list[dict[str, Any]] = [
    {"id": 11, "image_id": 1, "keypoints": [40.25, 20, 2, 20, 21, 1, 0, 0, 0], "bbox": [10, 5, 40, 35]},
    {"id": 12, "image_id": 1, "keypoints": [10, 5, 2, 5, 5, 2, 7, 9, 2], "attributes": {"pose": "large"}},
    {"id": 7, "image_id": 2, "keypoints": [45, 11, 2, 30, 12, 2, 37, 99, 2], "bbox": [20, 2, 50, 40]},
]  # fmt: skip


def write_coco(folder: Path, faces: list[dict[str, Any]] | None = None, names: list[str] | None = None) -> Path:
    """Write labels.json, and its photos to ``folder/images``; the file."""
    (folder / "images").mkdir(exist_ok=True)
    photos = [{"id": 1, "file_name": "-1.png", "width": 60, "height": 50}, {"id": 2, "file_name": "b.png"}]
    for photo in photos:
        noise = np.random.default_rng(photo["id"]).integers(0, 256, (50, 60), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / str(photo["file_name"]))
    content = {
        "images": photos,
        "annotations": [{"category_id": 1, **face} for face in (FACES if faces is None else faces)],
        "categories": [{"id": 1, "name": "face", "keypoints": NAMES if names is None else names}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path
