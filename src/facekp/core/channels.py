"""Channels of images: 1 for grey levels, 3 for red, green and blue.

Arrays of photos and tables have their colours last, (H, W, 3); grey ones have no such axis. Batches of a network have
their channels first, (N, 1, H, W) or (N, 3, H, W) (`facekp.functional.channels`).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import cv2
import numpy as np

Channels = Literal[1, 3]
CHANNEL_NAMES = {1: "grey", 3: "colour"}  # for messages


def checked_channels(value: Any) -> int:
    """The number of channels that a file states.

    Raises:
        ValueError: it is neither 1 nor 3.
    """
    if value not in get_args(Channels):
        raise ValueError(f"images of {value} channels; only 1 and 3 are possible")
    return int(value)


def to_grey(image: np.ndarray) -> np.ndarray:
    """The grey levels (H, W) of an image (H, W) or (H, W, 3), red, green, blue; uint8 or float32.

    Example:
        >>> to_grey(np.full((2, 2, 3), 90, dtype=np.uint8)).tolist()
        [[90, 90], [90, 90]]
    """
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def to_colour(image: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3), red, green, blue, of its grey levels (H, W) or itself."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image


def with_channels(photo: np.ndarray, channels: int) -> np.ndarray:
    """A photo uint8 (H, W, 3) as it is for 3 channels, and its grey levels (H, W) for 1."""
    return photo if channels == 3 else to_grey(photo)
