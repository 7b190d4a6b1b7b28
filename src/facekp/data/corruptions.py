"""Corruptions of face images, as they occur in photos: noise, blur, compression, poor light, turned faces and so on.

A table of faces comes in, and a larger table goes out: all its faces under each corruption at each strength. Images are
corrupted when they are read, so the table takes hardly any memory. The random numbers of an image depend on the seed,
the corruption and the row alone: not on the strength, the other rows, or how many images are read at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, cast

import cv2
import numpy as np
import torch
from pydantic import Field

from facekp.core.errors import UserError
from facekp.core.settings import Count, Settings
from facekp.data.table import FaceTable, HostImages
from facekp.functional.channels import channels_first, channels_last
from facekp.functional.warp import move_points, warp_images

GREY = 127  # level of the square
STEPS_PER_PIXEL = 8  # at which the path of a camera movement is sampled


class CorruptionSettings(Settings):
    """``corruptions``: strengths of each corruption. Each is applied alone; without strengths it is left out.

    Attributes:
        seed: of the random numbers.
        noise: standard deviation of Gaussian noise, grey levels.
        blur: standard deviation of a Gaussian blur, pixels.
        motion: length of a straight camera movement in a random direction, pixels.
        resolution: how many times fewer pixels a side has, before it is enlarged again.
        jpeg: JPEG quality.
        square: side of a grey square around one of the labelled points; points under it become unlabelled.
        darkness: factor on all grey levels.
        contrast: factor on the differences from the image's mean.
        rotation: about the centre, to the left or to the right, degrees.
        scale: factor on the size of the face around the image's centre; edge pixels are repeated. Errors are in pixels
            of the image as it was.
        shift: distance in a random direction, pixels; points that leave the image become unlabelled.
    """

    seed: Count
    noise: list[Annotated[float, Field(gt=0, le=255)]]
    blur: list[Annotated[float, Field(gt=0, le=20)]]
    motion: list[Annotated[float, Field(gt=1, le=100)]]
    resolution: list[Annotated[float, Field(gt=1, le=32)]]
    jpeg: list[Annotated[int, Field(ge=1, le=100)]]
    square: list[Annotated[int, Field(ge=1)]]
    darkness: list[Annotated[float, Field(gt=0, lt=1)]]
    contrast: list[Annotated[float, Field(gt=0, le=10)]]
    rotation: list[Annotated[float, Field(gt=0, le=180)]]
    scale: list[Annotated[float, Field(ge=0.1, le=4)]]
    shift: list[Annotated[float, Field(gt=0)]]

    def conditions(self) -> list[Condition]:
        """Every corruption at every strength, in the order of the settings; a repeated strength counts once."""
        return [Condition(name, strength) for name in CORRUPTIONS for strength in dict.fromkeys(getattr(self, name))]


class Condition(NamedTuple):
    """A corruption and its strength.

    Attributes:
        corruption: a name in `CORRUPTIONS`.
        strength: in the unit of `CorruptionSettings`.
    """

    corruption: str
    strength: float

    @property
    def enlargement(self) -> float:
        """Pixels of the image as it was for each pixel of the corrupted one; errors are multiplied by it."""
        return 1 / self.strength if self.corruption == "scale" else 1.0


Pixels = Callable[[np.ndarray], np.ndarray]


class Change(NamedTuple):
    """What happens to one image: its pixels change, then it moves.

    Attributes:
        pixels: takes and returns float32 (H, W) or (H, W, 3), levels.
        matrix: float32 (2, 3), maps (x, y, 1) of the image to (x, y) of the new one; None: nothing moves.
        hidden: left, top, right and bottom edge of what is covered, pixels; None: nothing is.
    """

    pixels: Pixels = np.asarray
    matrix: np.ndarray | None = None
    hidden: tuple[float, float, float, float] | None = None


class Subject(NamedTuple):
    """The image that is corrupted.

    Attributes:
        size: (H, W).
        labels: (P, 2), its labelled points, pixels.
    """

    size: tuple[int, int]
    labels: np.ndarray


# Each corruption draws what happens to an image. It draws from the generator before it returns, or in
# ``pixels``, which is called at most once.


def noise(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """Gaussian noise of a sensor."""
    return Change(lambda image: image + strength * random.standard_normal(image.shape, dtype=np.float32))


def blur(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A lens out of focus."""
    return Change(lambda image: cv2.GaussianBlur(image, (0, 0), strength, borderType=cv2.BORDER_REPLICATE))


def motion(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A camera that moves at constant speed."""
    kernel = _line(strength, random.uniform(0, np.pi))
    return Change(lambda image: cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def _line(length: float, angle: float) -> np.ndarray:
    """The kernel of a movement: the mean of bilinear shifts along a line of so many pixels, float32 (side, side)."""
    reach = int(np.ceil((length - 1) / 2))
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, round(STEPS_PER_PIXEL * length))[:, None]
    pixel = np.arange(-reach, reach + 1)
    across, down = (np.maximum(1 - np.abs(along * step - pixel), 0) for step in (np.cos(angle), np.sin(angle)))
    kernel = down.T @ across
    return (kernel / kernel.sum()).astype(np.float32)


def resolution(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A small face that was enlarged, as `facekp.core.crop.Crop.cut` enlarges."""
    height, width = (max(round(side / strength), 1) for side in face.size)

    def pixels(image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, face.size[::-1], interpolation=cv2.INTER_CUBIC)

    return Change(pixels)


def jpeg(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """JPEG compression."""

    def pixels(image: np.ndarray) -> np.ndarray:
        # OpenCV has blue first
        levels = np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image).astype(np.uint8)
        _, file = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, int(strength)])
        decoded = np.asarray(cv2.imdecode(file, cv2.IMREAD_UNCHANGED), dtype=np.float32)
        return decoded[..., ::-1] if image.ndim == 3 else decoded

    return Change(pixels)


def square(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A grey square that hides a labelled point and its surroundings; all of the square is inside the image."""
    side = int(strength)
    x, y = face.labels[random.integers(len(face.labels))] if len(face.labels) else (face.size[1] / 2, face.size[0] / 2)
    left, top = (round(np.clip(at - side / 2, 0, end - side)) for at, end in zip((x, y), face.size[::-1], strict=True))

    def pixels(image: np.ndarray) -> np.ndarray:
        covered = image.copy()
        covered[top : top + side, left : left + side] = GREY
        return covered

    return Change(pixels, hidden=(left - 0.5, top - 0.5, left + side - 0.5, top + side - 0.5))


def darkness(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """Little light; few of the 256 levels remain."""
    return Change(lambda image: strength * image)


def contrast(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """Fog or a dirty lens; few of the 256 levels remain."""
    return Change(lambda image: image.mean() + strength * (image - image.mean()))


def rotation(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A tilted head or camera."""
    angle = np.radians(strength) * random.choice([-1, 1])
    cos, sin = np.cos(angle), np.sin(angle)
    return Change(matrix=_about_centre(np.array([[cos, -sin], [sin, cos]]), face.size))


def scale(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A crop that is too large or too small for the face."""
    return Change(matrix=_about_centre(strength * np.eye(2), face.size))


def _about_centre(linear: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 (2, 3): a linear map (2, 2) that leaves the image's centre where it is."""
    centre = (np.array(size[::-1]) - 1) / 2
    return np.column_stack((linear, centre - linear @ centre)).astype(np.float32)


def shift(strength: float, face: Subject, random: np.random.Generator) -> Change:
    """A crop beside the face; moved by whole pixels, so that no pixel is interpolated."""
    angle = random.uniform(0, 2 * np.pi)
    offset = np.round(strength * np.array([np.cos(angle), np.sin(angle)]))
    return Change(matrix=np.column_stack((np.eye(2), offset)).astype(np.float32))


Corruption = Callable[[float, Subject, np.random.Generator], Change]
CORRUPTIONS: dict[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (
        noise, blur, motion, resolution, jpeg, square, darkness, contrast, rotation, scale, shift,
    )
}  # fmt: skip
UNITS = {"noise": "levels", "blur": "px", "motion": "px", "square": "px", "rotation": "°", "shift": "px"}


def corrupted_table(
    table: FaceTable, conditions: Sequence[Condition], seed: int, offset: np.ndarray | None = None
) -> FaceTable:
    """All faces of a table under each condition, one condition after the other.

    Args:
        table: N faces; its images are read when those of the result are.
        conditions: C.
        seed: of the random numbers.
        offset: float32 (S, K, 2), how far from the face's point each source labels, pixels
            (`facekp.core.keypoints.Keypoints.offsets`). It neither turns nor shrinks with the face. None: 0.

    Returns:
        C * N faces. Points that are hidden or leave the image are NaN.

    Raises:
        UserError: a strength does not fit the size of the images.
    """
    _check_size(conditions, table.size)
    images = _CorruptedImages(table, conditions, seed)
    of_row = np.zeros_like(table.points) if offset is None else offset[table.source]  # (N, K, 2)
    faces = np.ndindex(len(conditions), len(table))
    points = [_moved(table.points[i], of_row[i], images.change(c, i), table.size) for c, i in faces]
    return FaceTable(
        keypoints=table.keypoints,
        images=HostImages(cast(np.ndarray, images)),
        points=np.array(points, dtype=np.float32).reshape(-1, *table.points.shape[1:]),
        source=np.tile(table.source, len(conditions)),
        row=np.tile(table.row, len(conditions)),
    )


def _check_size(conditions: Sequence[Condition], size: tuple[int, int]) -> None:
    """Refuse strengths that are too large for the images.

    Raises:
        UserError: a square, a movement or a shift is as long as a side of the image, or longer.
    """
    for name, strength in conditions:
        if name in ("square", "motion", "shift") and strength >= min(size):
            raise UserError(
                f"corruptions.{name}={strength:g}: must be below the images' side, {min(size)} pixels; choose smaller "
                "strengths, or corruptions=none"
            )


class _CorruptedImages:
    """An array uint8 (C * N, H, W) or (C * N, H, W, 3) whose images are made when they are indexed."""

    dtype = np.dtype(np.uint8)

    def __init__(self, table: FaceTable, conditions: Sequence[Condition], seed: int) -> None:
        self.table, self.conditions, self.seed = table, conditions, seed
        self.shape = (len(conditions) * len(table), *table.images.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | np.ndarray) -> np.ndarray:
        rows = np.atleast_1d(index).tolist()
        images = [self._image(*divmod(row, len(self.table))) for row in rows]
        return np.array(images, dtype=self.dtype).reshape(*np.shape(index), *self.shape[1:])

    def change(self, condition: int, face: int) -> Change:
        """What happens to a face under a condition; drawn anew at each call, always the same."""
        name, strength = self.conditions[condition]
        address = (self.seed, zlib.crc32(name.encode()), int(self.table.row[face]))
        points = self.table.points[face]
        subject = Subject(self.table.size, points[~np.isnan(points).any(axis=1)])
        return CORRUPTIONS[name](strength, subject, np.random.default_rng(address))

    def _image(self, condition: int, face: int) -> np.ndarray:
        change = self.change(condition, face)
        image = change.pixels(np.asarray(self.table.images[face], dtype=np.float32))
        if change.matrix is not None:
            matrix = torch.from_numpy(change.matrix)[None]
            batch = channels_first(torch.from_numpy(np.ascontiguousarray(image))[None])
            image = channels_last(warp_images(batch, matrix))[0].numpy()
        return image.round().clip(0, 255).astype(np.uint8)


def _moved(points: np.ndarray, offset: np.ndarray, change: Change, size: tuple[int, int]) -> np.ndarray:
    """Points (K, 2) after a change; NaN where they are hidden or have left the image."""
    if change.matrix is not None:
        centred, matrix = torch.from_numpy(points - offset)[None], torch.from_numpy(change.matrix)[None]
        points = move_points(centred, matrix, size)[0].numpy() + offset
    if change.hidden is not None:
        left, top, right, bottom = change.hidden
        x, y = points.T
        covered = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        points = np.where(covered[:, None], np.nan, points)
    return points
