"""Faces for a page: rows of a run come in, small grey PNGs and the points on them go out.

Images stand once in the page, whichever runs show them, and their number is limited.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.readers.registry import read_table
from facekp.data.table import FaceTable
from facekp.reporting.html.collect import Run

log = logging.getLogger(__name__)
MOST_IMAGES = 500  # of a page: 5 MB

OF_THE_SPLIT = ("folds", "fold", "split_seed", "batch_size")  # settings of data= that read no other table


@dataclass
class ImageStore:
    """The images of a page.

    Attributes:
        images: data URLs by the name that a page's faces know them by.
        notes: why some are not there.
    """

    images: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, image: np.ndarray) -> str:
        """Keep a grey image uint8 (H, W) once; its name."""
        name = hashlib.blake2b(image.tobytes(), digest_size=6).hexdigest()
        if name not in self.images:
            _, png = cv2.imencode(".png", image)
            self.images[name] = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
        return name

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("faces: %s", text)


def face(
    album: ImageStore, image: np.ndarray, caption: str, points: Sequence[dict[str, Any]], note: str = ""
) -> dict[str, Any]:
    """A face as the page draws it.

    Args:
        album: keeps the image.
        image: uint8 (H, W).
        caption: a line below it.
        points: for each ``name``, ``true`` (x, y) and ``found`` (x, y) in pixels, one of them may be absent.
        note: a second line.
    """
    height, width = image.shape
    return {
        "image": album.add(image),
        "size": [width, height],
        "caption": caption,
        "note": note,
        "points": list(points),
    }


def extremes(runs: Sequence[Run], faces: int, album: ImageStore) -> list[dict[str, Any]]:
    """The worst and the best faces of each run, as many runs as the page has room for.

    Args:
        runs: best first.
        faces: how many worst and how many best ones each run shows.
        album: keeps the images, and says why some are not there.

    Returns:
        for each run shown ``name`` and ``groups``: a ``label`` and its ``faces``.
    """
    shown: list[dict[str, Any]] = []
    with_predictions = [run for run in runs if len(run.images)]
    if not faces:
        return shown
    wanted = {run.name: _worst_and_best(run, faces) for run in with_predictions}
    tables = _read_tables(with_predictions, wanted, album)
    for run in with_predictions:
        table = tables.get(_data_key(run))
        if table is None:
            continue
        if len(album.images) + 2 * faces > MOST_IMAGES:
            album.note(f"faces of the best {len(shown)} runs only, so that the page stays small")
            break
        groups = [
            {"label": label, "faces": _faces_of(run, rows, table, album)} for label, rows in wanted[run.name].items()
        ]
        shown.append({"name": run.name, "groups": [group for group in groups if group["faces"]]})
    return [one for one in shown if one["groups"]]


def _worst_and_best(run: Run, faces: int) -> dict[str, list[tuple[int, str, float]]]:
    """Row, source and RMSE of the worst and the best images, each at most half of them."""
    rmse = (run.images["squared"] / run.images["values"]).pow(0.5).sort_values(kind="stable")
    ranked = rmse.reset_index(name="rmse")[["row", "source", "rmse"]]
    named = [(int(row), str(source), float(value)) for row, source, value in ranked.itertuples(index=False, name=None)]
    few = min(faces, -(-len(named) // 2))
    return {"worst": named[-few:][::-1], "best": named[: min(few, len(named) - few)]}


def _data_key(run: Run) -> str:
    data = {key: value for key, value in run.raw.get("data", {}).items() if key not in OF_THE_SPLIT}
    return json.dumps([data, run.raw.get("keypoints")], sort_keys=True, default=str)


def _read_tables(
    runs: Sequence[Run], wanted: dict[str, dict[str, list[tuple[int, str, float]]]], album: ImageStore
) -> dict[str, FaceTable]:
    """The data of the runs, each kind read once; what can't be read is noted."""
    tables: dict[str, FaceTable] = {}
    for key in dict.fromkeys(map(_data_key, runs)):
        own = [run for run in runs if _data_key(run) == key]
        last = max(row for run in own for rows in wanted[run.name].values() for row, _, _ in rows)
        try:
            data = dict(own[0].raw["data"])
            if data["name"] == "synthetic":
                data["rows"] = last + 1  # as many as are needed: they are drawn anew
            tables[key] = read_table(data, Keypoints.from_dict(own[0].raw["keypoints"]))
        except (UserError, OSError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
            album.note(f"no faces of {len(own)} runs such as {own[0].name}: the data can't be read ({reason})")
    return tables


def _faces_of(
    run: Run, rows: list[tuple[int, str, float]], table: FaceTable, album: ImageStore
) -> list[dict[str, Any]]:
    found = []
    place = {int(row): i for i, row in enumerate(table.row)}
    few = run.predictions[run.predictions["row"].isin([row for row, _, _ in rows])]
    for row, source, rmse in rows:
        own = few[(few["row"] == row) & (few["source"] == source)]
        if row not in place or not _same_labels(own, table, place[row]):
            album.note(f"some faces of {run.name} are left out: the data has other labels than when it was scored")
            continue
        points = [
            {
                "name": f"{one.keypoint} {one.error:.1f} px",
                "true": pair(one.true_x, one.true_y),
                "found": pair(one.x, one.y),
            }
            for one in own.itertuples()
        ]
        note = f"row {row}, {source}{photo(table, place[row])}"
        found.append(face(album, table.images[place[row]], f"{rmse:.2f} px", points, note))
    return found


def photo(table: FaceTable, i: int) -> str:
    """The photo that row i was cut out of, to be put behind a note."""
    return "" if table.name is None else f", {table.name[i]}"


def pair(x: Any, y: Any) -> list[float]:
    """A point, to a tenth of a pixel."""
    return [round(float(x), 1), round(float(y), 1)]


def _same_labels(own: pd.DataFrame, table: FaceTable, i: int) -> bool:
    names = [name for name in own["keypoint"] if name in table.keypoints.names]
    truth = table.points[i, [table.keypoints.names.index(name) for name in names]]
    told = own[["true_x", "true_y"]].to_numpy()
    return len(names) == len(own) and bool(np.allclose(truth, told, atol=0.01))
