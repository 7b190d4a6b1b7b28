"""``data=w300lp``: the MATLAB files of 300W-LP and AFLW2000-3D, one beside each photo.

A file has the points in one of four variables: ``pt2d`` of 300W-LP (2 x 68), ``pt3d_68`` of AFLW2000-3D (3 x 68, whose
depth is not read), and ``pts_2d`` or ``pts_3d`` (68 x 2) of 300W-LP's folder ``landmarks``. They count pixels from 1,
as MATLAB does, so 1 is subtracted; (-1, -1) is a point without a label. Files without a photo, such as those of
300W-LP's code, are left out.

300W-LP shows each photo of 300-W in several poses, and each of these mirrored in a folder of its own. Faces have the
attribute ``original``, the photo that they were made of, by which they stay in one fold, and ``folder``.

scipy reads the files (``pip install 'facekp[w300lp]'``).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Text
from facekp.core.untrusted import check_regular
from facekp.data.labels.label_per_photo import label_files, read_faces
from facekp.data.labels.photo_names import files_below
from facekp.data.labels.point_names import MAX_POINTS
from facekp.data.readers.base import MAX_LOOKED_AT, READERS, LabelledFace, names_points, recognises
from facekp.data.settings import FilePerPhotoSettings

ENDING = ".mat"
FIRST_PIXEL = 1  # MATLAB's coordinate of the centre of the first pixel
VARIABLES = ("pt3d_68", "pt2d", "pts_2d", "pts_3d")  # the first one that a file has is read
NUMBERS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
MAX_FILE_BYTES = 2**20  # 68 points need 2 KB; the content may be 1000 times larger than the compressed file
POSE = re.compile(r"_\d+$")  # what 300W-LP adds to the name of the original photo


class W300lpSettings(FilePerPhotoSettings):
    """``data=w300lp``; ``labels`` is the folder of the .mat files.

    Attributes:
        ending: what the name of a .mat file has in place of the photo's ending: ``_pts.mat`` for the folder landmarks.
        variable: that has the points; None: the first of `VARIABLES` that a file has.
    """

    ending: Text
    variable: Literal["pt3d_68", "pt2d", "pts_2d", "pts_3d"] | None


@READERS.register("w300lp")
def read_w300lp(settings: W300lpSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each file; ``row`` counts them from 1, sorted by name.

    Raises:
        UserError: the first fault of a file, no file has a photo, or scipy is not installed.
    """
    read_points = partial(_read_points, variable=settings.variable)
    faces = read_faces(settings, settings.ending, keypoints, read_points, without_photo="left out")
    return [replace(face, attributes={**face.attributes, "original": _original(face.name)}) for face in faces]


@names_points("w300lp", by_settings=True)
def point_names(folder: Path, settings: W300lpSettings) -> list[str]:
    """As many numbers as the first file with points has."""
    faults = []
    for name in label_files(folder, settings.ending):
        try:
            return [str(number) for number in range(len(_read_points(folder / name, settings.variable)))]
        except UserError as error:
            faults.append(str(error))
    raise UserError(f"data.labels={folder}: no {settings.ending} file has points, the first fault: {faults[0]}")


@recognises("w300lp")
def is_w300lp(path: Path, text: str) -> bool:
    """Whether the path is a folder with .mat files beside photos."""
    names = list(files_below(path)) if path.is_dir() else []
    stems = {PurePosixPath(name).with_suffix("") for name in names if not name.lower().endswith(ENDING)}
    files = (PurePosixPath(name) for name in names if name.lower().endswith(ENDING))
    return any(file.with_suffix("") in stems for file in islice(files, MAX_LOOKED_AT))


def _original(photo: str) -> str:
    """The name of the photo of 300-W that a face was made of.

    Example:
        >>> _original("AFW_Flip/AFW_134212_1_12.jpg"), _original("image00002.jpg")
        ('AFW_134212_1', 'image00002')
    """
    return POSE.sub("", PurePosixPath(photo).stem)


def _read_points(path: Path, variable: str | None) -> np.ndarray:
    """(K, 2), counted from 0; NaN where a point has no label."""
    shapes = {name: shape for name, shape, kind in _matlab(path, "whosmat") if kind in NUMBERS}
    name = variable or next((name for name in VARIABLES if name in shapes), VARIABLES[0])
    if name not in shapes:
        raise UserError(
            f"{path}: has no {name if variable else ' or '.join(VARIABLES)}; give files of 300W-LP or AFLW2000-3D"
        )
    shape = shapes[name]
    if len(shape) != 2 or not (2 <= min(shape) <= 3 <= max(shape) <= MAX_POINTS):
        raise UserError(f"{path}: {name} is {' x '.join(map(str, shape))}; give an array of 2 x K or K x 2 coordinates")
    values = np.asarray(_matlab(path, "loadmat", variable_names=[name]).get(name))
    if values.shape != shape or values.dtype.kind not in "fiu":
        raise UserError(f"{path}: {name} is damaged; download the file again")
    points = (values.T if shape[0] <= 3 else values)[:, :2].astype(np.float64)
    if not np.isfinite(points).all():
        raise UserError(f"{path}: {name} has values that are not finite; write -1, -1 for a point without a label")
    return np.where((points == -1).all(axis=1, keepdims=True), np.nan, points - FIRST_PIXEL)


def _matlab(path: Path, function: str, **arguments: Any) -> Any:
    """What a function of scipy.io reads.

    Raises:
        UserError: the file can't be read, or scipy is not installed.
    """
    try:
        from scipy import io
    except ImportError as error:
        raise UserError("data=w300lp: needs scipy; pip install 'facekp[w300lp]'") from error
    check_regular(path, MAX_FILE_BYTES)
    try:
        return getattr(io, function)(path, **arguments)
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(f"{path}: can't be read as a file of MATLAB ({error}); download it again") from error
