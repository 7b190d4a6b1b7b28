"""The data group's choices: plain settings come in, a `FaceTable` goes out."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data import crops
from facekp.data.cache import cached
from facekp.data.crops import CropOptions, LabelledFace
from facekp.data.readers import coco
from facekp.data.readers.competition import MissingFile, read_test_csv, read_training_csv
from facekp.data.readers.photo_csv import read_faces
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable, HostImages

log = logging.getLogger(__name__)
COMPETITION = "facial-keypoints-detection"

Settings = Mapping[str, Any]


def read_table(settings: Settings, keypoints: Keypoints) -> FaceTable:
    """The labelled rows of ``data=<name>``.

    Args:
        settings: the data config: ``name`` and what that reader takes; ``device_bytes`` of images, above which they
            stay on the host (`HostImages`).
        keypoints: the scheme the rows follow.

    Raises:
        UserError: unknown name, missing or bad files.
    """
    if settings["name"] not in READERS:
        raise UserError(f"data.name: {settings['name']!r} is unknown; choose one of {', '.join(READERS)}")
    table = READERS[settings["name"]](settings, keypoints)
    log.info("%s", describe(table, settings))
    images = np.asarray(table.images)
    limit = settings.get("device_bytes", math.inf)  # older runs' configs, which reports read, don't have it
    return replace(table, images=HostImages(images)) if images.nbytes > limit else table


def describe(table: FaceTable, settings: Settings) -> str:
    """One line: how many rows, of which source, with how many points."""
    counts = [f"{(table.source == s).sum()} {name}" for s, name in enumerate(table.keypoints.source_names)]
    return f"data={settings['name']}: {len(table)} faces ({', '.join(counts)}), {table.mask.sum()} labelled points"


def _read_kaggle(settings: Settings, keypoints: Keypoints) -> FaceTable:
    try:
        return read_training_csv(Path(settings["dir"]), keypoints, _cache(settings), settings["rows"])
    except MissingFile as error:
        _provide(settings, error)
        return read_training_csv(Path(settings["dir"]), keypoints, _cache(settings), settings["rows"])


def read_test(settings: Settings, keypoints: Keypoints) -> tuple[FaceTable, pd.DataFrame]:
    """The competition's test images and the table of what is asked of them (`facekp.data.readers.competition.read_test_csv`).

    Raises:
        UserError: missing or bad files.
    """
    try:
        return read_test_csv(Path(settings["dir"]), keypoints, _cache(settings))
    except MissingFile as error:
        _provide(settings, error)
        return read_test_csv(Path(settings["dir"]), keypoints, _cache(settings))


def _cache(settings: Settings) -> Path | None:
    return None if settings["cache"] is None else Path(settings["cache"]).expanduser()


def _provide(settings: Settings, error: MissingFile) -> None:
    """Download where that was asked for; else name the ways on."""
    if not settings["download"]:
        raise UserError(
            f"{error}. Three ways on: download the competition's files there (by hand, or data.download=true with the "
            f"kaggle package and its credentials); set FACEKP_DATA=DIR or data.dir=DIR; or take data=synthetic"
        ) from error
    try:
        from kaggle import api

        api.authenticate()
        api.competition_download_files(COMPETITION, path=settings["dir"])
    except (Exception, SystemExit) as failure:  # the package leaves the process where credentials lack
        raise UserError(
            f"data.download=true: {type(failure).__name__}: {failure}. Needs pip install 'facekp[kaggle]', credentials "
            f"(KAGGLE_API_TOKEN or ~/.kaggle) and the competition's rules accepted on its page"
        ) from failure


def _draw(settings: Settings, keypoints: Keypoints) -> FaceTable:
    if settings["rows"] is None:
        raise UserError("data.rows=null: say how many faces data=synthetic shall draw, e.g. data.rows=3000")
    return draw_faces(settings["rows"], settings["seed"], keypoints)


def _read_folder(settings: Settings, keypoints: Keypoints) -> FaceTable:
    return _cut_faces(read_faces(Path(settings["labels"]).expanduser(), keypoints), settings, keypoints)


def _read_coco(settings: Settings, keypoints: Keypoints) -> FaceTable:
    labels = Path(settings["labels"]).expanduser()
    return _cut_faces(coco.read_faces(labels, keypoints, settings["category"]), settings, keypoints)


def _cut_faces(faces: Sequence[LabelledFace], settings: Settings, keypoints: Keypoints) -> FaceTable:
    """The faces' table, from the cache where the labels and the photos are those of an earlier call."""
    place, faces = Path(settings["images"]).expanduser(), faces[: settings["rows"]]
    if not place.is_dir():
        raise UserError(f"data.images={place}: no such folder; name the one that the photos' names are relative to")
    cut = CropOptions(
        size=settings["size"],
        margin=settings["margin"],
        skip_broken=settings["skip_broken"],
        device_bytes=settings["device_bytes"],
        cache=_cache(settings),
    )

    def build() -> FaceTable:
        return crops.crop_faces(faces, place, keypoints, cut)

    if cut.cache is None:
        return build()
    labels = hashlib.sha256()
    for face in faces:
        labels.update(repr((face.name, face.box, face.source, face.row, face.size)).encode() + face.points.tobytes())
    seen = [labels.hexdigest(), crops.stamp([face.name for face in faces], place)]
    return cached(cut.cache, [crops.VERSION, *seen, cut.size, cut.margin, cut.skip_broken], keypoints, build)


READERS: dict[str, Callable[[Settings, Keypoints], FaceTable]] = {
    "kaggle": _read_kaggle,
    "synthetic": _draw,
    "folder": _read_folder,
    "coco": _read_coco,
}
