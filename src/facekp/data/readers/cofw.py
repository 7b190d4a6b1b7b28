"""``data=cofw``: COFW's files ``COFW_train_color.mat`` and ``COFW_test_color.mat``, with photos, boxes, 29 points.

The file is MATLAB's format 7.3, which h5py reads (``pip install 'facekp[cofw]'``). It holds the photos. They are
written to ``images`` when they are first read, as ``COFW_test_color/0001.png`` and so on. Points and boxes count pixels
from 1, as MATLAB does, so 1 is subtracted. The occlusion flags become COCO's v: 1 for hidden points, 2 for the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.untrusted import check_regular
from facekp.data.labels.embedded_photos import MAX_PIXELS, write_photo
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.point_names import check_count
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

FIRST_PIXEL = 1  # MATLAB's coordinate of the centre of the first pixel
MAX_FILE_BYTES = 2**33  # bytes; COFW's own files have less than 1 GB
VALUES = 3  # of a point: x, y, occlusion


class CofwSettings(PhotoDataSettings):
    """``data=cofw``; ``images`` is the folder to which the photos are written."""


@READERS.register("cofw")
def read_cofw(settings: CofwSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each photo; ``row`` counts them from 1.

    Raises:
        UserError: the first fault of the file, or h5py is not installed.
    """
    path = settings.label_file
    folder = Path(settings.images).expanduser()
    with _opened(path) as file:
        photos, values, boxes = _arrays(file, path)
        check_count(len(values) // VALUES, keypoints, str(path))

        def parse(i: int) -> LabelledFace:
            name = f"{path.stem}/{i + 1:04d}.png"
            where = f"{path}: face {i + 1}"
            write_photo(folder / name, path, lambda: _pixels(file, photos, i, where))
            return _make_face(name, values[:, i], boxes[:, i], i + 1, where)

        return collect_faces(range(values.shape[1]), parse, path, settings.skip_broken)


@names_points("cofw")
def point_names(path: Path) -> list[str]:
    """As many numbers as the file has points."""
    with _opened(path) as file:
        return [str(number) for number in range(len(_arrays(file, path)[1]) // VALUES)]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise UserError("data=cofw: needs h5py; pip install 'facekp[cofw]'") from error
    try:
        check_regular(path, MAX_FILE_BYTES)
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"data.labels={path}: can't be read as MATLAB's format 7.3 ({error}); give COFW's .mat"
        ) from error


def _arrays(file: Any, path: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """References to the photos (1, N), points (3 K, N): all x, all y, all flags; boxes (4, N)."""
    end = "Tr" if "phisTr" in file else "T"
    missing = [name for name in (f"Is{end}", f"phis{end}", f"bboxes{end}") if name not in file]
    if missing:
        raise UserError(f"data.labels={path}: has no {missing[0]}; give COFW_train_color.mat or COFW_test_color.mat")
    photos, values, boxes = (file[f"{name}{end}"] for name in ("Is", "phis", "bboxes"))
    number = photos.shape[-1]
    fits = values.ndim == 2 and values.shape[1] == number and len(values) % VALUES == 0 and boxes.shape == (4, number)
    if photos.shape != (1, number) or not fits:
        raise UserError(
            f"data.labels={path}: photos {photos.shape}, points {values.shape} and boxes {boxes.shape} do not fit "
            "together; give COFW_train_color.mat or COFW_test_color.mat"
        )
    return photos, np.asarray(values, np.float64), np.asarray(boxes, np.float64)


def _pixels(file: Any, photos: Any, i: int, where: str) -> np.ndarray:
    """(H, W) or (H, W, 3); the file has them as (W, H) and (3, W, H)."""
    stored = file[photos[0, i]]
    if stored.size > MAX_PIXELS:
        raise UserError(f"{where}: its photo has {stored.size} values; at most {MAX_PIXELS} are read")
    return np.ascontiguousarray(np.asarray(stored).T)


def _make_face(name: str, values: np.ndarray, box: np.ndarray, row: int, where: str) -> LabelledFace:
    x, y, hidden = values.reshape(VALUES, -1)
    if not np.isfinite([*values, *box]).all():
        raise UserError(f"{where}: its points or its box are not finite numbers; remove the face")
    left, top, width, height = box
    left, top = left - FIRST_PIXEL, top - FIRST_PIXEL
    return LabelledFace(
        name=name,
        points=np.stack([x, y], axis=1) - FIRST_PIXEL,
        box=(float(left), float(top), float(left + width), float(top + height)),
        source=0,
        row=row,
        where=where,
        visible=np.where(hidden > 0, 1, 2).astype(np.uint8),
    )


@recognises("cofw")
def is_cofw(path: Path, text: str) -> bool:
    """Whether the file's name ends as MATLAB's."""
    return path.suffix == ".mat"
