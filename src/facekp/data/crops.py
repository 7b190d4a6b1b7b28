"""Photos become a table: every labelled face is cut out and resized once, with its map back to the photo.

What a reader found in its label file (`LabelledFace`) comes in, a `FaceTable` with ``name`` and ``to_source`` goes out.
Points are (x, y) in pixels of the photo as a viewer shows it (EXIF rotation applied), integer = pixel centre; boxes
have edges, [0, 0, W, H] is the whole photo. Photos are read one after another, so memory holds one of them, and a table
above ``device_bytes`` is written to a file from the start.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.images import UnreadableImage, read_image
from facekp.data.table import FaceTable

log = logging.getLogger(__name__)
VERSION = 2  # part of the cache's key: raise it whenever the same photos would give another table

LARGEST_BOX = 3  # times the photo's longer side; a larger one is in other units


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """One face as its label file tells of it.

    Attributes:
        name: of the photo, relative to the photos' folder.
        points: float64 (K, 2), pixels of the photo; NaN where nobody labelled.
        box: left, top, right, bottom edge in the photo; None: the points tell where the face is.
        source: index into ``keypoints.source_names``.
        row: the face's number in its file.
        place: where its labels stand, for messages.
        size: (W, H) that the labels are said to refer to; None: nothing is said.
    """

    name: str
    points: np.ndarray
    box: tuple[float, float, float, float] | None
    source: int
    row: int
    place: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class CropOptions:
    """How faces are cut out, and where the images may lie.

    Attributes:
        size: side of the images in pixels.
        margin: added on every side of the points' extent, as a share of its longer side; a given box stays as it is.
        skip_broken: leave out photos that can't be read, instead of refusing.
        device_bytes: of images, above which they are written to a file.
        cache: folder of that file; None: there is none.
    """

    size: int
    margin: float
    skip_broken: bool
    device_bytes: int
    cache: Path | None


def read_photo(path: Path) -> np.ndarray:
    """A photo's grey levels as a viewer shows it: turned as EXIF says, 16 bits as 8, grey behind what is transparent.

    Returns:
        uint8 (H, W).

    Raises:
        UserError: it does not exist or can't be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: does not exist")
    try:
        return cv2.cvtColor(read_image(str(path)), cv2.COLOR_RGB2GRAY)
    except (UnreadableImage, UnidentifiedImageError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: can't be read as an image ({reason})") from error


def to_crop(points: np.ndarray, to_source: np.ndarray) -> np.ndarray:
    """Points (K, 2) of a photo in pixels of the image that ``to_source`` (2, 3) maps back."""
    return (points - to_source[:, 2]) @ np.linalg.inv(to_source[:, :2]).T


def square_around(box: Sequence[float]) -> tuple[int, int, int]:
    """The smallest square of whole pixels around a box (left, top, right, bottom edge): left, top, side."""
    left, top, right, bottom = box
    if right - left >= bottom - top:
        side = max(math.ceil(right) - math.floor(left), 1)
        return math.floor(left), round((top + bottom - side) / 2), side
    side = max(math.ceil(bottom) - math.floor(top), 1)
    return round((left + right - side) / 2), math.floor(top), side


def crop_faces(faces: Sequence[LabelledFace], folder: Path, keypoints: Keypoints, cut: CropOptions) -> FaceTable:
    """Read the photos and cut out the faces, in their order.

    A point beyond its photo or its box counts as missing (a warning says how many). A face without any point, or with
    neither a box nor two points that lie apart, is left out (a warning says how many): nothing is learnt from the one,
    and where the other is nobody knows.

    Args:
        faces: best with those of a photo one after another: then it is read once.
        folder: what their names are relative to.
        keypoints: the scheme their points follow.
        cut: how.

    Raises:
        UserError: a photo can't be read (unless these are skipped), a box is none, all points of a face lie outside,
            no face is left, or there is no room for the images.
    """
    photo_of = lru_cache(maxsize=1)(read_photo)
    images = _room(len(faces), cut)
    kept: list[tuple[LabelledFace, np.ndarray, np.ndarray]] = []  # face, points in its image, map back
    broken: dict[str, str] = {}
    unplaced = beyond = 0
    if not cut.skip_broken:
        _refuse({face.name: f"{face.place}: {folder / face.name}: does not exist" for face in _missing(faces, folder)})
    log.info("cutting %d faces out of their photos", len(faces))
    for face in faces:
        try:
            photo = photo_of(folder / face.name)
            _check_size(face, photo)
        except UserError as error:
            broken.setdefault(face.name, f"{face.place}: {error}")
            continue
        found = _cut_face(face, photo, cut)
        if found is None:
            unplaced += 1
            continue
        images[len(kept)], points, to_source = found
        beyond += int((np.isnan(points) & ~np.isnan(face.points)).any(axis=1).sum())
        kept.append((face, points, to_source))
    _tell(broken, unplaced, beyond, cut)
    if not kept:
        raise UserError(f"{folder}: no labelled face is left of {len(faces)}; nothing can be learnt")
    return FaceTable(
        keypoints=keypoints,
        images=images[: len(kept)],
        points=np.array([points for _, points, _ in kept], np.float32),
        source=np.array([face.source for face, _, _ in kept], np.int8),
        row=np.array([face.row for face, _, _ in kept], np.int64),
        name=np.array([face.name for face, _, _ in kept]),
        to_source=np.array([to_source for _, _, to_source in kept]),
    )


def _cut_face(
    face: LabelledFace, photo: np.ndarray, cut: CropOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Image, points in it (K, 2) and map back; None where there is no point, or nothing tells where the face is."""
    visible = _visible(face, photo)
    box = _box(face, visible, photo, cut.margin)
    if box is None:
        return None
    left, top, side = square_around(box)
    crop = Crop(left, top, side, side, (cut.size, cut.size))
    return crop.cut(photo), _within(face, to_crop(visible, crop.to_source), cut.size), crop.to_source


def _room(count: int, cut: CropOptions) -> np.ndarray:
    """Uninitialised uint8 (count, size, size), in a file without a name where it would be too much for memory."""
    shape = (count, cut.size, cut.size)
    need = math.prod(shape)
    if need <= cut.device_bytes:
        return np.empty(shape, np.uint8)
    if cut.cache is None:
        raise UserError(
            f"data.cache=null: {need / 1e9:.1f} GB of images are above data.device_bytes={cut.device_bytes} and need a "
            f"file; name a folder for it, or raise data.device_bytes"
        )
    try:
        cut.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cut.cache) as file:
            os.posix_fallocate(file.fileno(), 0, need)  # a full disk is told now, not by a crash later
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise UserError(f"data.cache={cut.cache}: no room for {need / 1e9:.1f} GB of images ({error})") from error


def _missing(faces: Iterable[LabelledFace], folder: Path) -> list[LabelledFace]:
    """The first face of each photo that is not there."""
    first = {face.name: face for face in reversed(list(faces))}
    return [face for name, face in first.items() if not (folder / name).is_file()][::-1]


def _check_size(face: LabelledFace, photo: np.ndarray) -> None:
    height, width = photo.shape
    if face.size is not None and face.size != (width, height):
        told = "{} x {}".format(*face.size)
        raise UserError(f"{face.name}: its labels are for {told} pixels, but a viewer shows {width} x {height}")


def _visible(face: LabelledFace, photo: np.ndarray) -> np.ndarray:
    """The face's points (K, 2) that lie in the photo, NaN in place of the others."""
    height, width = photo.shape
    inside = _in_rectangle(face.points, width, height)
    labelled = ~np.isnan(face.points[:, 0])
    if labelled.any() and not inside.any():
        x, y = face.points[labelled][0]
        raise UserError(
            f"{face.place}: all its points lie outside {face.name} of {width} x {height} pixels, the first at "
            f"({x:g}, {y:g}); give pixels of the photo as a viewer shows it, x before y"
        )
    return np.where(inside[:, None], face.points, np.nan)


def _box(face: LabelledFace, points: np.ndarray, photo: np.ndarray, margin: float) -> Sequence[float] | None:
    """Where the face is; None where it has no points, or nothing tells."""
    if np.isnan(points).all():
        return None
    if face.box is not None:
        _check_box(face, face.box, photo)
        return face.box
    low, high = np.nanmin(points, axis=0) + 0.5, np.nanmax(points, axis=0) + 0.5  # the first pixel's centre, as an edge
    extent = (high - low).max()
    return None if extent == 0 else [*(low - margin * extent), *(high + margin * extent)]


def _check_box(face: LabelledFace, box: tuple[float, float, float, float], photo: np.ndarray) -> None:
    height, width = photo.shape
    left, top, right, bottom = box
    told = f"{face.place}: its box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    if left >= right or top >= bottom:
        raise UserError(f"{told} is empty; give the left, top, right and bottom edge, or leave it out")
    if max(right - left, bottom - top) > LARGEST_BOX * max(width, height):
        raise UserError(f"{told} is more than {LARGEST_BOX} times {face.name}, {width} x {height} pixels; give pixels")
    if right < 1 or bottom < 1 or left > width - 1 or top > height - 1:
        raise UserError(f"{told} lies outside {face.name}, {width} x {height} pixels; correct it or leave it out")


def _within(face: LabelledFace, points: np.ndarray, size: int) -> np.ndarray:
    """The points (K, 2) that lie in the face's image, NaN in place of the others."""
    inside = _in_rectangle(points, size, size)
    if not inside.any():
        raise UserError(f"{face.place}: all its points lie outside its box; give both in pixels of {face.name}")
    return np.where(inside[:, None], points, np.nan)


def _in_rectangle(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """bool (K,): not beyond the outer pixels; NaN is."""
    return np.asarray(((points >= -0.5) & (points <= (width, height))).all(axis=1))


def _refuse(broken: dict[str, str]) -> None:
    if broken:
        raise UserError(
            f"photos that can't be used: {len(broken)}, the first: {next(iter(broken.values()))}; mend them, or leave "
            f"them out with data.skip_broken=true"
        )


def _tell(broken: dict[str, str], unplaced: int, beyond: int, cut: CropOptions) -> None:
    if not cut.skip_broken:
        _refuse(broken)
    if broken:
        log.warning("%d photos can't be used and are left out, the first: %s", len(broken), next(iter(broken.values())))
    if unplaced:
        log.warning("%d faces left out: without a point, or with neither a box nor two points apart", unplaced)
    if beyond:
        log.warning("%d points lie beyond their photo or box: taken as missing", beyond)


def stamp(names: Iterable[str], folder: Path) -> str:
    """What a cache knows photos by: names, sizes in bytes and times of the last change; 10 microseconds a photo."""
    digest = hashlib.sha256()
    for name in dict.fromkeys(names):
        try:
            found = (folder / name).stat()
            told = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            told = "missing"
        digest.update(f"{name}\n{told}\n".encode())
    return digest.hexdigest()
