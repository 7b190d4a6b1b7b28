"""``detector=yunet``: a small network for faces in photos in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from facekp.core.settings import FilePath, Fraction
from facekp.photos.detectors import FACE_DETECTORS
from facekp.photos.face_detectors.search import SearchingDetector, Turns, without_overlaps
from facekp.photos.yunet import load_yunet

CENTRE_ABOVE_BOX = 0.011  # centre of the crop above that of YuNet's box, in sides of the square of the same area

COARSE_SIDE = 320  # pixels; length of the small copy in which YuNet finds large faces, those of 300 pixels and more

# Factor by which YuNet's photos of 160 pixels and less are enlarged. It finds 53 of 63 held-out images that are pasted
# into scenes of 96 pixels at half their size (`facekp.photos.detection_benchmark.paste`), and all of them enlarged.
ENLARGEMENT = 2.0


@FACE_DETECTORS.register("yunet")
class YuNetDetector(SearchingDetector):
    """YuNet, a small network for faces in photos in colour; its file is part of facekp.

    Args:
        model: ONNX file of another YuNet; None: the one in this package.
        score: boxes of a lower score are dropped.
        nms: of boxes that overlap by more than this fraction of their union, the one with the higher score is kept.
        smallest: side of the smallest face that is searched, in pixels of the photo.
        longest: photos with a longer side are shrunk to this length before the search, in pixels.
        turns: angles at which a photo is searched again while no face is found, in degrees.

    Raises:
        UserError: the file can't be read.
    """

    # Where the competition's crop is relative to YuNet's box, by medians. On 891 training images pasted into scenes at
    # three sizes (`facekp.photos.detection_benchmark.paste`), its side is 1.05 times the square root of the box's area,
    # and its centre is 0.011 sides higher. For 50 faces of photos, whose points fit the mean face in that crop, it is
    # 1.01 times and 0.012 sides. By the area, 18 % of the photos' crops are off by more than 8 %; by the width, 36 %.
    margin = 1.03
    border = 0.2

    def __init__(
        self,
        model: FilePath | None,
        score: Fraction,
        nms: Fraction,
        smallest: Annotated[int, Field(ge=8)],
        longest: Annotated[int, Field(ge=96)],
        turns: Turns,
    ) -> None:
        super().__init__(smallest, longest, turns)
        self._network = load_yunet(None if model is None else Path(model), score, nms)

    def find(self, image: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; the most certain face first. Large faces are found in a small copy of the photo."""
        side = max(image.shape)
        enlarge = ENLARGEMENT if side * ENLARGEMENT <= COARSE_SIDE else 1.0
        coarse = self.find_at(image, min(COARSE_SIDE, self.longest), self.border, enlarge)
        fine = self.find_at(image, self.longest, 0.0) if side > COARSE_SIDE < self.longest else coarse[:0]
        return without_overlaps(np.concatenate([fine, coarse]))

    def search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._network.setInputSize(image.shape[1::-1])
        rows = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        rows = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
        return _squares(rows[:, :4]), rows[:, 14]


def _squares(boxes: np.ndarray) -> np.ndarray:
    """YuNet's boxes (M, 4), as left, top, width, height, as the squares that faces are cropped by."""
    sides = np.sqrt(boxes[:, 2:3] * boxes[:, 3:4])
    centres = boxes[:, :2] + boxes[:, 2:] / 2 - np.array([0.0, CENTRE_ABOVE_BOX]) * sides
    return np.hstack([centres - sides / 2, centres + sides / 2])
