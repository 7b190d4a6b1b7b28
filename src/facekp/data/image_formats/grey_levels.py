"""Scales grey levels of more than 8 bits to 0..255: which level is black, and which is white.

Cameras write 10, 12 or 14 bits into files of 16, and numpy writes 0..255 into files of 32, so the file's type does not
say what white is. The highest level does: white is the largest number of the smallest usual depth that holds it.
Photos that belong together share their scale (`common_scales`), otherwise a dark photo would be made brighter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # bits

OVERSHOOT = 0.05  # of white: floating point levels may lie this far outside their scale, e.g. after resizing

DARK = 0.1  # of white: a photo whose brightest level is lower is reported


class Scale(NamedTuple):
    """The levels that become 0 and 255."""

    black: float
    white: float


class Extent(NamedTuple):
    """The lowest and highest finite level of a photo.

    Attributes:
        low: the lowest.
        high: the highest.
        whole: whether the levels are integers.
        is_negative: whether the lowest level is white.
    """

    low: float
    high: float
    whole: bool
    is_negative: bool = False


@dataclass(frozen=True)
class Scales:
    """The scales that several photos share; None: each photo has the scale of `scale_of`.

    Attributes:
        whole: of photos whose levels are integers.
        fractional: of photos in floating point.
    """

    whole: Scale | None = None
    fractional: Scale | None = None

    def of(self, extent: Extent) -> Scale:
        """The scale of a photo: the shared one of its type, else its own.

        Raises:
            ValueError: see `scale_of`.
        """
        return (self.whole if extent.whole else self.fractional) or scale_of(extent)


def extent_of(levels: np.ndarray, is_negative: bool = False) -> Extent:
    """The extent of a photo's levels.

    Raises:
        ValueError: no level is finite.
    """
    whole = levels.dtype.kind in "ui"
    finite = levels if whole else levels[np.isfinite(levels)]
    if not finite.size:
        raise ValueError("every grey level is NaN or infinite")
    return Extent(float(finite.min()), float(finite.max()), whole, is_negative)


def scale_of(extent: Extent) -> Scale:
    """The scale that a photo uses.

    Integers: from 0 to the largest number of the smallest depth that holds them. Floating point: 0..1, -1..1, or one
    of the integers' scales.

    Raises:
        ValueError: the levels fit no scale.

    Example:
        >>> scale_of(Extent(7, 3900, whole=True))
        Scale(black=0, white=4095)
        >>> scale_of(Extent(-0.8, 0.9, whole=False))
        Scale(black=-1, white=1)
    """
    low, high, whole, _ = extent
    scales = [Scale(0, 2**bits - 1) for bits in DEPTHS]
    for scale in scales if whole else [Scale(0, 1), Scale(-1, 1), *scales]:
        slack = 0 if whole else OVERSHOOT
        lowest = scale.black - slack * min(max(high, 1), scale.white)
        if low >= lowest and high <= scale.white * (1 + slack):
            return scale
    raise ValueError(
        f"grey levels from {low:g} to {high:g} are of no known scale (0..255, 0..65535, 0..1, -1..1); convert the "
        "photo to 8 bits per channel"
    )


def common_scales(extents: Iterable[Extent]) -> Scales:
    """The scales of photos that belong together: the largest that one of them uses."""
    scales: dict[bool, list[Scale]] = {True: [], False: []}
    for extent in extents:
        scales[extent.whole].append(scale_of(extent))
    common = {
        whole: Scale(min(s.black for s in used), max(s.white for s in used)) if used else None
        for whole, used in scales.items()
    }
    return Scales(common[True], common[False])


def to_8_bits(levels: np.ndarray, scales: Scales = Scales(), is_negative: bool = False) -> np.ndarray:
    """Levels scaled to 0..255, uint8 of the same shape; NaN becomes black.

    Args:
        levels: integers or floating point.
        scales: that the photo shares with others.
        is_negative: whether the lowest level is white.

    Raises:
        ValueError: see `extent_of` and `scale_of`.
    """
    extent = extent_of(levels)
    black, white = scales.of(extent)
    nan = white if is_negative else black
    finite = levels if extent.whole else np.nan_to_num(levels, nan=nan, posinf=white, neginf=black)
    scaled = np.clip((finite.astype(np.float32) - black) * (255 / (white - black)), 0, 255).round().astype(np.uint8)
    return 255 - scaled if is_negative else scaled


def is_dark(extent: Extent, scales: Scales) -> bool:
    """Whether a photo would be nearly black."""
    black, white = scales.of(extent)
    brightness = white - extent.low if extent.is_negative else extent.high - black
    return brightness < DARK * (white - black)
