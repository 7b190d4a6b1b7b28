"""Faces for a page: rows of a run come in, small PNGs and the points on them go out.

Each image is stored once per page, however many runs show it, and the number of images is limited.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.readers.base import READERS
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from facekp.reporting.html.cells import names_of
from facekp.reporting.html.collect import Run

log = logging.getLogger(__name__)
MAX_IMAGES = 500  # of a page: 5 MB
MAX_RUNS = 100  # whose faces are shown
# Keys of ``data`` on which the table does not depend.
OF_THE_SPLIT = ("folds", "fold", "split", "split_seed", "held_out", "batch_size")


@dataclass
class ImageStore:
    """The images of a page.

    Attributes:
        images: data URLs by name; the page's faces refer to these names.
        notes: reasons why some images are missing.
    """

    images: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, image: np.ndarray) -> str:
        """Store an image, uint8 (H, W) or (H, W, 3), red, green, blue, unless it is there already; its name."""
        name = hashlib.blake2b(image.tobytes(), digest_size=6).hexdigest()
        if name not in self.images:
            _, png = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
            self.images[name] = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
        return name

    def note(self, text: str) -> None:
        """Record, once, why some images are missing."""
        if text not in self.notes:
            self.notes.append(text)
            log.warning("faces: %s", text)


class RankedImage(NamedTuple):
    """An image of a run with its error.

    Attributes:
        row: number of the row in the run's data.
        source: labelling convention.
        rmse: in pixels.
    """

    row: int
    source: str
    rmse: float


def face(
    store: ImageStore, image: np.ndarray, caption: str, points: Sequence[dict[str, Any]], note: str = ""
) -> dict[str, Any]:
    """A face as the page draws it.

    Args:
        store: keeps the image.
        image: uint8 (H, W) or (H, W, 3), red, green, blue.
        caption: first line below it.
        points: of `mark`.
        note: second line.
    """
    height, width = image.shape[:2]
    return {
        "image": store.add(image),
        "size": [width, height],
        "caption": caption,
        "note": note,
        "points": list(points),
    }


def mark(name: str, ring: Sequence[Any] | np.ndarray | None, dot: Sequence[Any] | np.ndarray | None) -> dict[str, Any]:
    """A point as the page draws it: a ring, a dot, or both and a line between them.

    Args:
        name: shown while the pointer rests on it.
        ring, dot: (x, y) in pixels; stored to a tenth of a pixel.
    """
    points = {kind: point for kind, point in (("ring", ring), ("dot", dot)) if point is not None}
    return {"name": name, **{kind: [round(float(value), 1) for value in point] for kind, point in points.items()}}


def extremes(runs: Sequence[Run], faces: int, store: ImageStore) -> list[dict[str, Any]]:
    """The worst and the best faces of each run, for as many runs as the page has room for.

    Args:
        runs: best first.
        faces: number of worst faces, and of best faces, of each run.
        store: keeps the images, and records why some are missing.

    Returns:
        For each run that is shown ``name``, ``title`` and ``groups``: a ``label`` and its ``faces``.
    """
    if not faces:
        return []
    choices: list[dict[str, Any]] = []
    predicted = [run for run in runs if len(run.images)][:MAX_RUNS]
    wanted = {run.name: worst_and_best(run.images, faces) for run in predicted}
    tables = _read_tables(predicted, wanted, store)
    for run in predicted:
        table = tables.get(_data_key(run))
        if table is None:
            continue
        if len(store.images) + 2 * faces > MAX_IMAGES:
            break
        groups = [
            {"label": label, "faces": _faces_of(run, images, table, store)}
            for label, images in wanted[run.name].items()
        ]
        choices.append({**names_of(run), "groups": [group for group in groups if group["faces"]]})
    if len(choices) < sum(len(run.images) > 0 for run in runs if _data_key(run) in tables):
        store.note(f"faces are shown for the best {count(len(choices), 'run')} only, to keep the page small")
    return [choice for choice in choices if choice["groups"]]


def worst_and_best(images: pd.DataFrame, faces: int) -> dict[str, list[RankedImage]]:
    """The worst and the best images of a run, each at most half of them.

    Args:
        images: `facekp.reporting.html.collect.Run.images`.
        faces: how many of each.
    """
    rmse = (images["squared"] / images["values"]).pow(0.5).sort_values(kind="stable")
    ordered = rmse.reset_index(name="rmse")[["row", "source", "rmse"]]
    ranked = [RankedImage(int(row), str(source), float(value)) for row, source, value in ordered.to_numpy().tolist()]
    each = min(faces, -(-len(ranked) // 2))
    return {"worst": ranked[-each:][::-1], "best": ranked[: min(each, len(ranked) - each)]}


def _data_key(run: Run) -> str:
    """The settings that decide which table a run read."""
    data = {key: value for key, value in run.config["data"].items() if key not in OF_THE_SPLIT}
    return json.dumps([data, run.config["keypoints"]], sort_keys=True, default=str)


def _read_tables(
    runs: Sequence[Run], wanted: dict[str, dict[str, list[RankedImage]]], store: ImageStore
) -> dict[str, FaceTable]:
    """The tables that the runs read, by `_data_key`, each read once; data that can't be read is noted."""
    tables: dict[str, FaceTable] = {}
    by_key: dict[str, list[Run]] = {}
    for run in runs:
        by_key.setdefault(_data_key(run), []).append(run)
    for key, members in by_key.items():
        first = members[0]
        last = max(image.row for run in members for images in wanted[run.name].values() for image in images)
        try:
            data = READERS.parse(first.config["data"])
            if data.name == "synthetic":
                data = data.replaced(rows=min(data.rows, last + 1))  # no more faces are drawn than are shown
            tables[key] = read_table(data, Keypoints.from_dict(first.config["keypoints"]))
        except (UserError, OSError) as error:
            store.note(
                f"no faces of {count(len(members), 'run')} such as {first.name}: the data can't be read ({error})"
            )
    return tables


def _faces_of(run: Run, images: list[RankedImage], table: FaceTable, store: ImageStore) -> list[dict[str, Any]]:
    faces = []
    index = {int(row): i for i, row in enumerate(table.row)}
    predictions = run.predictions[run.predictions["row"].isin([image.row for image in images])]
    for row, source, rmse in images:
        points = predictions[(predictions["row"] == row) & (predictions["source"] == source)]
        if row not in index or not _has_same_labels(points, table, index[row]):
            store.note(f"some faces of {run.name} are left out: the data has other labels than when it was scored")
            continue
        marks = [
            mark(f"{point.keypoint} {point.error:.1f} px", (point.true_x, point.true_y), (point.x, point.y))
            for point in points.itertuples()
        ]
        note = f"row {row}, {source}{photo_of(table, index[row])}"
        faces.append(face(store, table.images[index[row]], f"{rmse:.2f} px", marks, note))
    return faces


def photo_of(table: FaceTable, i: int) -> str:
    """The photo that row i was cropped from, to be appended to a note."""
    return "" if table.name is None else f", {table.name[i]}"


def _has_same_labels(points: pd.DataFrame, table: FaceTable, i: int) -> bool:
    names = [name for name in points["keypoint"] if name in table.keypoints.names]
    truth = table.points[i, [table.keypoints.names.index(name) for name in names]]
    scored = points[["true_x", "true_y"]].to_numpy()
    return len(names) == len(points) and bool(np.allclose(truth, scored, atol=0.01))
