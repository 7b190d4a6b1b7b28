"""Reads the levels of images with more than 8 bits per channel, of which Pillow keeps the upper 8 bits in colour."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from facekp.core.opencv_log import quiet_opencv
from facekp.data.image_formats import tiff

ORIENTATION = 0x0112  # EXIF tag

EXCHANGED = (5, 6, 7, 8)  # its values that exchange width and height; others than 1 to 8 are ignored

WHITE = np.iinfo(np.uint16).max  # of 16 bits

CODESTREAM = b"\xff\x4f\xff\x51"  # the first two markers of JPEG 2000's pixels

DEPTHS_AT = 42  # bytes from there to the channels' depths, of 3 bytes each (ISO 15444-1, SIZ)


class DeepLevels(NamedTuple):
    """The levels of an image with more than 8 bits per channel, EXIF rotation applied.

    Attributes:
        levels: integers or floating point, (H, W), (H, W, 3) RGB or (H, W, 4) with alpha.
        is_negative: whether the lowest level is white.
    """

    levels: np.ndarray
    is_negative: bool = False

    @property
    def colours(self) -> np.ndarray:
        """The levels without alpha."""
        return self.levels[..., :3] if self.levels.ndim == 3 else self.levels


def deep_levels(opened: Image.Image, file: str | IO[bytes]) -> DeepLevels | None:
    """The levels of an image with more than 8 bits per channel; None for other images.

    CMYK is not among them: Pillow's upper 8 bits do.

    Args:
        opened: the image, opened by Pillow.
        file: its path, or the open file.

    Raises:
        ValueError: the levels would be misread.
    """
    if opened.mode.startswith(("I", "F")):
        return _grey_levels(opened)
    content = _deep_content(opened, file)
    if content is None:
        return None
    is_tiff = opened.format == "TIFF"
    levels = _decode(content, page=opened.tell() if is_tiff else 0)
    if levels is None:
        if is_tiff:  # Pillow would read 12 bits in 16 as black
            raise ValueError(f"has {tiff.bits_per_channel(opened)} bits per channel and is damaged; {tiff.HINT}")
        return None
    if not is_tiff:
        return DeepLevels(_turned(levels, opened.getexif().get(ORIENTATION, 1)))
    if opened.mode == "RGB":
        return DeepLevels(levels[..., :3])  # a fourth channel is not alpha
    return DeepLevels(
        _straight(levels) if tiff.first_tag(opened, tiff.EXTRA_SAMPLES, 2) == tiff.PREMULTIPLIED else levels
    )


def _grey_levels(opened: Image.Image) -> DeepLevels:
    """The levels of an image in grey, which Pillow reads wholly."""
    levels = np.asarray(ImageOps.exif_transpose(opened))
    if opened.format == "TIFF":
        tiff.check_signed(opened, float(levels.max()))
        return DeepLevels(levels, tiff.first_tag(opened, tiff.PHOTOMETRIC, 1) == tiff.WHITE_IS_ZERO)
    clear = opened.info.get("transparency")  # the level that is transparent in a PNG
    if clear is None:
        return DeepLevels(levels)
    return DeepLevels(np.dstack([levels, levels, levels, np.where(levels == clear, 0, WHITE).astype(np.uint16)]))


def _deep_content(opened: Image.Image, file: str | IO[bytes]) -> bytes | None:
    """All bytes of a file with more than 8 bits per channel in colour; None for other files."""
    if opened.mode == "CMYK":
        return None
    if opened.format == "TIFF":
        return _content(file) if tiff.bits_per_channel(opened) > 8 else None
    if opened.format == "JPEG2000":
        content = _content(file)
        start = content.find(CODESTREAM) + DEPTHS_AT
        depths = content[start : start + 3 * len(opened.getbands()) : 3]
        return content if max(depth & 0x7F for depth in depths) + 1 > 8 else None
    tiles = getattr(opened, "tile", None)  # how the pixels are stored
    coding = str(tiles[0][3]) if tiles else ""
    return _content(file) if ";16" in coding or coding == "('RGB', 65535)" else None  # the latter of PPM


def _content(file: str | IO[bytes]) -> bytes:
    """All bytes of a file."""
    if isinstance(file, str):
        return Path(file).read_bytes()
    file.seek(0)
    return file.read()


def _decode(content: bytes, page: int) -> np.ndarray | None:
    """The levels of 16 bits that OpenCV reads, (H, W, 3) RGB or (H, W, 4) with alpha; None if it can't."""
    with quiet_opencv():
        _, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    if not pages or pages[0].dtype != np.uint16 or pages[0].ndim != 3:
        return None
    return cv2.cvtColor(pages[0], cv2.COLOR_BGR2RGB if pages[0].shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _straight(levels: np.ndarray) -> np.ndarray:
    """Levels with alpha (H, W, 4) whose colours are no longer multiplied by it."""
    alpha = levels[..., 3:]
    colours = levels[..., :3] * (WHITE / np.maximum(alpha, 1).astype(np.float32))
    return np.dstack([np.minimum(colours, WHITE).astype(np.uint16), alpha])


def _turned(levels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror an array (H, W, C) as EXIF's orientation 1 to 8 asks for."""
    if orientation in EXCHANGED:
        levels = levels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    return levels
