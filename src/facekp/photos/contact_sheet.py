"""Contact sheets: pages with small pictures of all photos and of a few frames of each video, with the points drawn.

A page is written as soon as it is full, so memory holds one page, however many photos there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facekp.core.console import count
from facekp.core.keypoints import Keypoints
from facekp.photos.drawing import draw
from facekp.photos.face import Face
from facekp.photos.reading import Photo

COLUMNS, ROWS = 5, 6  # of a page
SIDE = 320  # longest side of a small picture, pixels
CAPTION, GAP = 22, 10  # height of a caption, space between the pictures, pixels
FRAMES = 4  # of a video: from each quarter of it the first frame with a face
PAPER, INK = (255, 255, 255), (40, 40, 40)
FONT_SIZE = 14


@dataclass
class _Picture:
    """A small picture that may still be replaced by a better one of the same part of a video.

    Attributes:
        part: file and part of the video; None for a photo.
        image: uint8 (h, w, 3), RGB.
        caption: below the picture.
        has_face: whether a face was found.
    """

    part: tuple[str, int] | None
    image: np.ndarray
    caption: str
    has_face: bool


class ContactSheets:
    """Collects small pictures and writes them in pages. A single picture makes no page.

    Args:
        keypoints: whose lines are drawn.
        write: writes a page, given its number from 1 and the picture, uint8 (H, W, 3), RGB.
    """

    def __init__(self, keypoints: Keypoints, write: Callable[[int, np.ndarray], None]) -> None:
        self.keypoints, self._write = keypoints, write
        self._pictures: list[_Picture] = []
        self._pages = 0

    def add(self, photo: Photo, faces: Sequence[Face]) -> None:
        """Add a photo, or a frame if its part of the video has no frame with a face yet."""
        part = None if photo.frame is None else (photo.file, min(int(photo.progress * FRAMES), FRAMES - 1))
        if part is not None and self._pictures and self._pictures[-1].part == part:
            if self._pictures[-1].has_face or not faces:
                return
            self._pictures.pop()
        elif len(self._pictures) == COLUMNS * ROWS:
            self._end_page()
        self._pictures.append(_Picture(part, self._small(photo, faces), _caption(photo, faces), bool(faces)))

    def close(self) -> None:
        """Write the last page."""
        if self._pages or len(self._pictures) > 1:
            self._end_page()

    def _end_page(self) -> None:
        self._pages += 1
        self._write(self._pages, _page(self._pictures))
        self._pictures = []

    def _small(self, photo: Photo, faces: Sequence[Face]) -> np.ndarray:
        scale = min(SIDE / max(photo.image.shape[:2]), 1.0)
        size = [max(round(scale * side), 1) for side in photo.image.shape[1::-1]]
        small = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
        return draw(replace(photo, image=small), faces, self.keypoints, scale)


def _caption(photo: Photo, faces: Sequence[Face]) -> str:
    frame = "" if photo.frame is None else f", frame {photo.frame}"
    found = count(len(faces), "face") if faces else "no face"
    return f"{Path(photo.file).name.encode(errors='replace').decode()}{frame}: {found}"


def _page(pictures: Sequence[_Picture]) -> np.ndarray:
    """The pictures in rows with their captions, uint8 (H, W, 3), RGB; a row is as high as its highest picture."""
    rows = [pictures[start : start + COLUMNS] for start in range(0, len(pictures), COLUMNS)]
    heights = [max(picture.image.shape[0] for picture in row) for row in rows]
    size = (len(rows[0]) * (SIDE + GAP) + GAP, sum(heights) + len(rows) * (CAPTION + GAP) + GAP)
    page = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_SIZE)
    bottom = 0
    for row, height in zip(rows, heights, strict=True):
        bottom += GAP + height
        for number, picture in enumerate(row):
            middle = GAP + number * (SIDE + GAP) + SIDE // 2
            small = Image.fromarray(picture.image)
            page.paste(small, (middle - small.width // 2, bottom - small.height))
            pen.text((middle, bottom + 3), _shortened(picture.caption, font), INK, font, anchor="ma")
        bottom += CAPTION
    return np.asarray(page)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A caption that is no wider than its picture; its beginning is left out."""
    if font.getlength(text) <= SIDE:
        return text
    while text and font.getlength(f"...{text}") > SIDE:
        text = text[1:]
    return f"...{text}"
