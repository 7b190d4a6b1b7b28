"""Reads image files of all kinds: EXIF rotation applied, grey behind transparency, 8 bits per channel."""

from __future__ import annotations

import warnings
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

BACKGROUND = 127  # grey level behind transparent pixels


class UnreadableImage(Exception):
    """An image file can't be read; the message gives the reason, without the file's name."""


def read_image(file: str | IO[bytes], most_pixels: int | None = None) -> np.ndarray:
    """The pixels of a photo: EXIF rotation applied, grey behind transparency, 16 bits scaled to 8.

    Args:
        file: a path or an open file.
        most_pixels: larger photos are refused before they are decoded; None: Pillow's limit, 179 million.

    Returns:
        uint8 (H, W, 3), red, green, blue.

    Raises:
        UnidentifiedImageError: the file is not an image.
        UnreadableImage: it is broken or too large, or can't be opened.
    """
    try:
        with warnings.catch_warnings(), Image.open(file) as opened:
            warnings.simplefilter("ignore")  # Pillow warns about large photos and unusual tags
            if most_pixels is not None and opened.width * opened.height > most_pixels:
                raise UnreadableImage(f"{opened.width} x {opened.height} pixels; at most {most_pixels / 1e6:g} million")
            return _to_rgb(ImageOps.exif_transpose(opened))
    except (UnidentifiedImageError, UnreadableImage):
        raise
    except Exception as error:  # whatever a decoder raises for broken bytes
        raise UnreadableImage(str(error) or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) of an image in any of Pillow's modes."""
    if image.mode.startswith(("I", "F")):  # one channel of 16 bits or more
        levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        top = 65535 if levels.max() > 255 or image.mode != "F" else 255 if levels.max() > 1 else 1
        grey = np.clip(levels * (255 / top), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))
