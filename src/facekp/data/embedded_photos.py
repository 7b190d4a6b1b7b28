"""Photos that a label file holds itself, or that are frames of a video: written to the photos' folder, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.label_json import shown

LARGEST = 2**27  # pixels of a photo that is decoded, 134 million; a label file could state any size


def write_photo(path: Path, read: Callable[[], np.ndarray]) -> None:
    """Write a photo as PNG, unless the file exists.

    Args:
        path: the file.
        read: returns the pixels, uint8 (H, W), (H, W, 1) or (H, W, 3).

    Raises:
        UserError: the pixels are no photo, or the file can't be written.
    """
    if path.is_file():
        return
    pixels = np.squeeze(read())
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape or pixels.shape[2:] not in ((), (3,)):
        raise UserError(f"{path}: its pixels are {pixels.dtype} {shown(pixels.shape)}, not a photo in 8 bits")
    with atomic(path, durable=False) as part:
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1)
