"""Drawn faces in photos: files of several sizes and formats, with their labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml
from PIL import Image

from facekp.config.location import CONF_DIR
from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.faces import draw_faces

DRAWN = {  # names of the points in the scheme below, and in the scheme of the drawn faces
    "left_eye": "left_eye_center",
    "right_eye": "right_eye_center",
    "nose": "nose_tip",
    "left_mouth": "mouth_left_corner",
    "right_mouth": "mouth_right_corner",
}
FIVE = {
    "name": "five",
    "names": list(DRAWN),
    "pairs": [["left_eye", "right_eye"], ["left_mouth", "right_mouth"]],
    "lines": [["left_eye", "nose", "right_eye"], ["left_mouth", "right_mouth"]],
    "normaliser": ["left_eye", "right_eye"],
}


def five() -> Keypoints:
    """A scheme with five points."""
    return Keypoints.from_dict(FIVE)


def write_photos(folder: Path, count: int, seed: int = 0, boxes: bool = False) -> pd.DataFrame:
    """Write photos with one or two faces each to ``folder/photos``, and their labels to ``folder/labels.csv``.

    Args:
        folder: where to write; created if missing.
        count: number of faces.
        seed: random seed.
        boxes: also write the boxes of the faces into the labels.

    Returns:
        the labels, as in the file.
    """
    kaggle = yaml.safe_load((CONF_DIR / "keypoints" / "kaggle15.yaml").read_text())
    scheme = Keypoints.from_dict({**kaggle, "sources": {"dense": None}})
    faces, random = draw_faces(count, seed, scheme), np.random.default_rng(seed)
    labelled = [scheme.names.index(name) for name in DRAWN.values()]
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    rows, face = [], 0
    while face < count:
        photo = random.uniform(0, 255, (4, 4, 3)).astype(np.uint8)
        in_photo = 1 + int(random.random() < 0.2 and face + 1 < count)  # number of faces in this photo
        factors = random.uniform(0.7, 3, in_photo)
        sides = np.rint(96 * factors).astype(int)
        room = random.integers(1, 80, 2)
        photo = cv2.resize(photo, (int(sides.sum() + room[0]), int(sides.max() + room[1])))
        name = f"{face:04d}" + (".jpg", ".png", " grey.png")[face % 3]
        left = int(random.integers(0, room[0]))
        for side in sides:
            top = int(random.integers(0, photo.shape[0] - side))
            photo[top : top + side, left : left + side] = cv2.resize(faces.images[face], (side, side))[..., None]
            points = side / 96 * (faces.points[face, labelled] + 0.5) - 0.5 + (left, top)
            labels = dict(zip([f"{n}_{axis}" for n in DRAWN for axis in "xy"], points.ravel().round(2), strict=True))
            box = dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), (left, top, left + side, top + side), strict=True))
            rows.append({"name": name, **labels, **(box if boxes else {})})
            left, face = left + side, face + 1
        image = Image.fromarray(photo)
        (image.convert("L") if "grey" in name else image).save(folder / "photos" / name, quality=95)
    labels = pd.DataFrame(rows)
    labels.to_csv(folder / "labels.csv", index=False)
    return labels
