"""Image files of all kinds become pixels: turned as EXIF says, on grey where transparent, 8 bits."""

from __future__ import annotations

import warnings
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

BEHIND = 127  # the grey behind what is transparent


class UnreadableImage(Exception):
    """A file can't be shown; the message says why, without its name."""


def read_image(file: str | IO[bytes], most_pixels: int | None = None) -> np.ndarray:
    """The pixels of a photo: turned as its EXIF says, on grey where transparent, 16 bits scaled to 8.

    Args:
        file: a path or an open file.
        most_pixels: larger photos are refused, before they are unpacked; None: Pillow's own limit, 179 million.

    Returns:
        uint8 (H, W, 3), red, green, blue.

    Raises:
        UnidentifiedImageError: it is no image.
        UnreadableImage: it is broken, too large, or can't be opened.
    """
    try:
        with warnings.catch_warnings(), Image.open(file) as opened:
            warnings.simplefilter("ignore")  # of Pillow, about large photos and odd tags
            if most_pixels is not None and opened.width * opened.height > most_pixels:
                raise UnreadableImage(f"{opened.width} x {opened.height} pixels; at most {most_pixels / 1e6:g} million")
            return _plain(ImageOps.exif_transpose(opened))
    except (UnidentifiedImageError, UnreadableImage):
        raise
    except Exception as error:  # whatever a decoder makes of broken bytes
        raise UnreadableImage(str(error) or type(error).__name__) from error


def _plain(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # one channel of 16 bits or more
        levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        top = 65535 if levels.max() > 255 or image.mode != "F" else 255 if levels.max() > 1 else 1
        grey = np.clip(levels * (255 / top), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (BEHIND, BEHIND, BEHIND, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))
