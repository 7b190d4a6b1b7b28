"""``detector=haar``: OpenCV's cascade, by which the competition's images were cropped."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field

from facekp.core.channels import to_grey
from facekp.core.errors import UserError
from facekp.core.settings import Count
from facekp.photos.detectors import FACE_DETECTORS
from facekp.photos.face_detectors.search import SearchingDetector, Turns

CASCADE = "haarcascade_frontalface_alt.xml"


@FACE_DETECTORS.register("haar")
class HaarDetector(SearchingDetector):
    """OpenCV's cascade for upright frontal faces; its file is part of OpenCV's 4.x wheels.

    Args:
        step: ratio between successive face sizes of the search.
        neighbours: how many overlapping hits make a face; fewer find more faces and more false ones.
        smallest: side of the smallest face that is searched, in pixels.
        longest: photos with a longer side are shrunk to this length before the search, in pixels; the smallest face
            that can be found then grows accordingly.
        turns: angles at which a photo is searched again while no face is found, in degrees.
    """

    # The competition's images were cropped by this cascade. It was run on 120 of them, pasted into larger scenes
    # (`facekp.photos.detection_benchmark.paste`): the median box side was 95.0 of 96 px, the median offset 0.0 px.
    margin = 1.01
    border = 0.15

    def __init__(
        self,
        step: Annotated[float, Field(ge=1.01, le=2)],
        neighbours: Count,
        smallest: Annotated[int, Field(ge=24)],
        longest: Annotated[int, Field(ge=96)],
        turns: Turns,
    ) -> None:
        super().__init__(smallest, longest, turns)
        self.step, self.neighbours = step, neighbours

    @cached_property
    def _cascade(self) -> Any:
        folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
        path = Path(folder or "", CASCADE)
        if folder is None or not path.is_file():
            raise UserError(
                f"detector=haar: this OpenCV ({cv2.__version__}) has no file {CASCADE}; "
                "pip install 'opencv-python-headless>=4.10,<5', or use detector=yunet"
            )
        return cv2.CascadeClassifier(str(path))

    def search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found, _, scores = self._cascade.detectMultiScale3(
            to_grey(image), self.step, self.neighbours, minSize=(self.smallest, self.smallest), outputRejectLevels=True
        )
        found = np.reshape(found, (-1, 4))  # left, top, width, height; an empty tuple without a face
        return np.hstack([found[:, :2], found[:, :2] + found[:, 2:]]), np.reshape(scores, -1)
