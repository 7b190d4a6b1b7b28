"""Crops labelled faces out of photos: `LabelledFace` objects come in, a `FaceTable` with the map to the photo goes out.

Points are (x, y) in pixels of the photo as a viewer shows it (EXIF rotation applied); an integer is a pixel centre.
Boxes have edges: [0, 0, W, H] is the whole photo. Photos are read one after another, so memory holds one of them. A
table larger than ``device_bytes`` is written to a file from the start.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.channels import with_channels
from facekp.core.console import count, progress
from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.cache import cached
from facekp.data.face_crop import check_size, crop_face
from facekp.data.image_formats.grey_levels import Scales
from facekp.data.images import WHOLE_DEPTH, UnreadableImage, read_image, readable_formats
from facekp.data.labels.checks import (
    IGNORE_BOXES,
    PlacedFace,
    check_boxes,
    check_left_out,
    check_placed,
    check_points,
    in_rectangle,
)
from facekp.data.labels.crop_labels import attributes_of, boxes_of, visible_of
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import FaceFaults
from facekp.data.labels.photo_names import check_inside, is_file, with_normal_names, with_real_names
from facekp.data.near_duplicates import image_hashes
from facekp.data.photo_survey import survey_photos
from facekp.data.settings import PhotoDataSettings
from facekp.data.table import FaceTable

log = logging.getLogger(__name__)
VERSION = 7  # part of the cache key: increase it whenever the same photos would give another table

CroppedFace = tuple[LabelledFace, np.ndarray, Crop]  # face, its points (K, 2) in pixels of the crop, crop


def read_crops(faces: Sequence[LabelledFace], settings: PhotoDataSettings, keypoints: Keypoints) -> FaceTable:
    """Crop the faces out of their photos, or take them from the cache if neither labels nor photos have changed.

    Args:
        faces: as the label file has them.
        settings: folder of the photos, size and margin of the crops, cache.
        keypoints: the scheme of their points.

    Raises:
        UserError: see `crop_faces`.
    """
    folder = Path(settings.images).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.images={folder}: no such folder; give the one that the photos' names are relative to")
    faults = FaceFaults(settings.skip_broken)
    if not settings.anywhere:
        faces = check_inside(faces, folder, faults)
    faces = with_real_names(with_normal_names(check_points(faces), folder), folder, faults)
    faults.log()
    if settings.boxes == "given":
        check_boxes(faces)
    if settings.cache is None:
        return crop_faces(faces, settings, keypoints)
    content = [_labels_digest(faces), photos_digest([face.name for face in faces], folder)]
    key = [VERSION, *content, settings.size, settings.margin, settings.boxes, settings.skip_broken, settings.channels]
    if settings.skip_broken:
        key += readable_formats()  # a photo that is skipped may be read after an installation
    cache = Path(settings.cache).expanduser()
    return cached(cache, key, keypoints, lambda: crop_faces(faces, settings, keypoints))


def _labels_digest(faces: Iterable[LabelledFace]) -> str:
    """SHA-256 of all that the label file says."""
    digest = hashlib.sha256()
    for face in faces:
        texts = (face.name, face.box, face.source, face.row, face.size, sorted(face.attributes.items()))
        visible = b"" if face.visible is None else face.visible.tobytes()
        digest.update(repr(texts).encode() + face.points.tobytes() + visible)
    return digest.hexdigest()


def crop_faces(faces: Sequence[LabelledFace], settings: PhotoDataSettings, keypoints: Keypoints) -> FaceTable:
    """Read the photos and crop the faces, in their order.

    - A point outside its photo or its box counts as missing; a warning says how many do.
    - A point up to a pixel beyond its box is kept: some programs write the extent of the points as the box.
    - A face without any point is left out, and so is one with neither a box nor two distinct points, because its
      position is unknown; a warning says how many are.

    Args:
        faces: those of one photo should be adjacent, then every photo is read once.
        settings: folder of the photos, size and margin of the crops, what to do with broken photos.
        keypoints: the scheme of their points.

    Raises:
        UserError: a photo can't be read, a box is not valid, or all points of a face are outside its photo or box (each
            unless ``skip_broken``); no face is left, or there is no space for the images.
    """
    folder = Path(settings.images).expanduser()
    cropping = _Cropping(len(faces), settings)
    if not settings.skip_broken:
        missing = _first_of_missing_photos(faces, folder)
        _refuse_broken({face.name: f"{face.where}: {folder / face.name}: does not exist" for face in missing})
    log.info("cropping %s out of their photos", count(len(faces), "face"))
    photos = list(dict.fromkeys(str(folder / face.name) for face in faces))
    scales = survey_photos(progress(photos, "looking at photos"))
    read = lru_cache(maxsize=1)(partial(read_photo, scales=scales, channels=settings.channels))
    for face in progress(faces, "cropping faces"):
        cropping.add(face, lambda name: read(folder / name))
    cropping.check()
    if not cropping.kept:
        first = next(iter([*cropping.faults.messages, *cropping.broken.values()]), None)
        why = "" if first is None else f", the first: {first}"
        raise UserError(
            f"{folder}: none of {len(faces)} faces is left{why}; there is nothing to train on; correct the labels or "
            "the photos"
        )
    return _as_table(cropping, keypoints)


class _Cropping:
    """Crops one face after another, and counts those that can't be cropped.

    Args:
        faces: number of faces at most.
        settings: folder of the photos, size and margin of the crops, what to do with broken photos.

    Attributes:
        images: of the cropped faces first, uint8 (N, size, size) or (N, size, size, 3).
        kept: the cropped faces.
        photo_hashes: hash of each photo that was read, by its name.
        placed: all faces whose photo was read, with the photo's width and height.
        broken: why a photo can't be used, by its name.
        faults: why faces can't be used whose photo can.
        unplaced: number of faces without a point, or of unknown position.
        outside: number of points outside their photo or box.
        first_outside: position of the first face with such a point.
        boxed: the cropped faces with a box.
        left_out: of each of these, the number of points in the photo that the box leaves out.
    """

    def __init__(self, faces: int, settings: PhotoDataSettings) -> None:
        self.settings = settings
        self.images = _allocate(faces, settings)
        self.kept: list[CroppedFace] = []
        self.photo_hashes: dict[str, int] = {}
        self.placed: list[PlacedFace] = []
        self.broken: dict[str, str] = {}
        self.faults = FaceFaults(settings.skip_broken)
        self.unplaced = self.outside = 0
        self.first_outside = ""
        self.boxed: list[PlacedFace] = []
        self.left_out: list[int] = []

    def add(self, given: LabelledFace, read: Callable[[str], np.ndarray]) -> None:
        """Crop a face.

        Args:
            given: as the label file has it.
            read: returns the levels of a photo by its name, uint8 (H, W) or (H, W, 3).

        Raises:
            UserError: its box is not valid, or all its points are outside its photo or box (unless ``skip_broken``).
        """
        face = replace(given, box=None) if self.settings.boxes == "points" else given
        try:
            photo = read(face.name)
            check_size(face, photo)
        except UserError as error:
            self.broken.setdefault(face.name, f"{face.where}: {error}")
            return
        if face.name not in self.photo_hashes:
            self.photo_hashes[face.name] = image_hashes(photo[None]).item()
        placed = PlacedFace(face, (photo.shape[1], photo.shape[0]))
        self.placed.append(placed)
        try:
            cropped = crop_face(face, photo, self.settings)
        except UserError as error:
            self.faults.add(error)
            return
        if cropped is None:
            self.unplaced += 1
            return
        self.images[len(self.kept)], points, crop = cropped
        lost = (np.isnan(points) & ~np.isnan(face.points)).any(axis=1)
        if lost.any():
            self.first_outside = self.first_outside or face.where
        self.outside += int(lost.sum())
        if face.box is not None:
            self.boxed.append(placed)
            self.left_out.append(int((lost & in_rectangle(face.points, *placed.size)).sum()))
        self.kept.append((given, points, crop))

    def check(self) -> None:
        """Check all faces together, once the last one was added, and log what is left out.

        Raises:
            UserError: a photo can't be used (unless ``skip_broken``), or the file's boxes or points are not valid.
        """
        if not self.settings.skip_broken:
            _refuse_broken(self.broken)
        check_placed(self.placed, self.settings.boxes_have_sizes)
        check_left_out(self.boxed, self.left_out)
        self.faults.log()
        if self.broken:
            first = next(iter(self.broken.values()))
            photos = count(len(self.broken), "photo")
            log.warning("%s can't be used and left out, the first: %s", photos, first)
        if self.unplaced:
            log.warning(
                "%d faces left out: without a point, or with neither a box nor two distinct points", self.unplaced
            )
        if self.outside:
            boxed = any(face.box is not None for face, *_ in self.placed)
            hint = f"; {IGNORE_BOXES} crops around the points, if the boxes are too tight" if boxed else ""
            lost = count(self.outside, "point")
            log.warning("%s outside the photo or box taken as missing, the first: %s%s", lost, self.first_outside, hint)


def _as_table(cropping: _Cropping, keypoints: Keypoints) -> FaceTable:
    """The faces that were kept."""
    kept = cropping.kept
    faces, crops = [face for face, _, _ in kept], [crop for _, _, crop in kept]
    points = np.array([points for _, points, _ in kept], np.float32)  # (N, K, 2)
    return FaceTable(
        keypoints=keypoints,
        images=cropping.images[: len(kept)],
        points=points,
        source=np.array([face.source for face in faces], np.int8),
        row=np.array([face.row for face in faces], np.int64),
        name=np.array([face.name for face in faces]),
        photo_matrix=np.array([crop.photo_matrix for crop in crops]),
        photo_hash=np.array([cropping.photo_hashes[face.name] for face in faces], np.int64),
        attributes=attributes_of(faces),
        visible=visible_of(faces, ~np.isnan(points[..., 0])),
        box=boxes_of(faces, crops),
    )


def read_photo(path: Path, scales: Scales = WHOLE_DEPTH, channels: int = 1) -> np.ndarray:
    """The levels of a photo as a viewer shows it (`facekp.data.images.read_image`).

    Args:
        path: file of the photo.
        scales: of levels of more than 8 bits, which the photo shares with others.
        channels: 1 for grey levels, 3 for colour.

    Returns:
        uint8 (H, W), or (H, W, 3), red, green, blue.

    Raises:
        UserError: the file does not exist or can't be read.
    """
    if not is_file(path.parent, path.name):
        raise UserError(f"{path}: does not exist")
    try:
        return with_channels(read_image(str(path), scales=scales), channels)
    except (UnreadableImage, UnidentifiedImageError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: can't be read as an image ({reason})") from error


def photos_digest(names: Iterable[str], folder: Path) -> str:
    """SHA-256 of the photos' paths, file numbers, sizes in bytes and times; takes 10 microseconds for each photo.

    Files of one name in two folders are different photos, however alike their sizes and times are. The time of the last
    change of a file's status can't be set, so it shows that a file was changed at the same path. The file's number
    shows that a link points to another file, or that a file was replaced within one tick of the clock.
    """
    digest = hashlib.sha256(f"{folder.resolve()}\n".encode())
    for name in dict.fromkeys(names):
        try:
            status = (folder / name).stat()
            text = f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        except OSError:
            text = "missing"
        digest.update(f"{name}\n{text}\n".encode(errors="surrogatepass"))  # a name need not be UTF-8
    return digest.hexdigest()


def _allocate(count: int, settings: PhotoDataSettings) -> np.ndarray:
    """Uninitialised uint8 (count, size, size) or (count, size, size, 3).

    It lies in an unnamed temporary file where it exceeds ``device_bytes``.
    """
    shape = (count, settings.size, settings.size, *([3] if settings.channels == 3 else []))
    need = math.prod(shape)
    if need <= settings.device_bytes:
        return np.empty(shape, np.uint8)
    if settings.cache is None:
        raise UserError(
            f"data.cache=null: {need / 1e9:.1f} GB of images exceed data.device_bytes={settings.device_bytes} and need "
            f"a file; set data.cache to a folder, or increase data.device_bytes"
        )
    cache = Path(settings.cache).expanduser()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache) as file:
            os.posix_fallocate(file.fileno(), 0, need)  # a full disk raises here, instead of crashing later
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise UserError(
            f"data.cache={cache}: no space for {need / 1e9:.1f} GB of images ({error}); make room, or choose "
            "another folder"
        ) from error


def _first_of_missing_photos(faces: Iterable[LabelledFace], folder: Path) -> list[LabelledFace]:
    """The first face of each photo that does not exist."""
    first: dict[str, LabelledFace] = {}
    for face in faces:
        first.setdefault(face.name, face)
    return [face for name, face in first.items() if not is_file(folder, name)]


def _refuse_broken(broken: dict[str, str]) -> None:
    if broken:
        raise UserError(
            f"photos that can't be used: {len(broken)}, the first: {next(iter(broken.values()))}; repair them, or skip "
            f"them with data.skip_broken=true"
        )
