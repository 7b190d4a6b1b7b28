"""A face cut out of its photo at a network's size, and the way back.

A `Crop` is a rectangle of whole pixels, so that the way from the photo to the network's size and back is exact. Photos
that train (`facekp.data.crops`) and photos that ask for an answer (`facekp.predict`) are cut by it alike. An integer
coordinate is a pixel's centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FARTHEST = 2.0  # times larger, or smaller, than the detector's crop a refined one may be; beyond it, points are no face

# Share of its side by which a crop must move, grow or shrink to be refined. Measured on 240 faces of the competition in
# boxes moved at random: where these are off by a tenth of their side, refining brings the median error of dense rows
# from 0.82 back to 0.76 px, with this limit as without; where they are right it brings nothing.
CLOSE = 0.08


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels, which may reach beyond its photo, shown at another size.

    Attributes:
        left, top: its first column and row.
        width, height: in pixels of the photo.
        size: (H, W) it is shown at.
    """

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    @classmethod
    def around(cls, centre: np.ndarray, scale: float, size: tuple[int, int]) -> Crop:
        """The crop with that centre (x, y), of about ``scale`` pixels of the photo for each of its own."""
        height, width = (max(round(scale * side), 1) for side in size)
        left, top = (round(middle - (side - 1) / 2) for middle, side in zip(centre, (width, height), strict=True))
        return cls(left, top, width, height, size)

    @classmethod
    def of_box(cls, box: np.ndarray, margin: float, size: tuple[int, int]) -> Crop:
        """The crop around a detector's box that holds all of it, with `FaceDetector.margin`."""
        sides = box[2:] - box[:2]
        return cls.around((box[:2] + box[2:]) / 2, margin * max(sides / size[::-1]), size)

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the photo for each of the crop's, (x, y)."""
        return np.array([self.width / self.size[1], self.height / self.size[0]])

    def cut(self, image: np.ndarray) -> np.ndarray:
        """What a photo uint8 (H, W) shows there, uint8 ``size``; where it shows nothing, its edge is repeated.

        Enlarged by cubic interpolation, shrunk by averages of the area, rows after columns, so that no crop is ever
        held in full where it reaches far beyond a large photo.
        """
        rows = np.clip(np.arange(self.top, self.top + self.height), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.width), 0, image.shape[1] - 1)
        height, width = self.size
        how = cv2.INTER_AREA if self.width > width else cv2.INTER_CUBIC
        strip = image[rows[0] : rows[-1] + 1, columns]
        strip = cv2.resize(strip, (width, len(strip)), interpolation=how)
        return cv2.resize(strip[rows - rows[0]], (width, height), interpolation=how)

    @property
    def to_source(self) -> np.ndarray:
        """float64 (2, 3): from (x, y, 1) in the crop to (x, y) in the photo."""
        return np.column_stack((np.diag(self.scale), (self.scale - 1) / 2 + (self.left, self.top)))

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels of the crop, in pixels of the photo."""
        return (points + 0.5) * self.scale - 0.5 + (self.left, self.top)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels of the photo, in pixels of the crop."""
        return (points - (self.left, self.top) + 0.5) / self.scale - 0.5

    def refined(self, points: np.ndarray, mean_face: np.ndarray) -> Crop:
        """The crop in which points found here would have the mean face's centre and size.

        Args:
            points: (K, 2) in pixels of the crop.
            mean_face: (K, 2) in pixels of a crop.

        Returns:
            this very one where the other would hardly differ, or a size says that the points are no face's.
        """
        found, mean = points.mean(axis=0), mean_face.mean(axis=0)
        size, wanted = (float(np.sqrt(np.square(p - p.mean(axis=0)).sum())) for p in (points, mean_face))
        if not (wanted > 0 and 1 / FARTHEST < size / wanted < FARTHEST):
            return self
        centre = found + ((np.array(self.size[::-1]) - 1) / 2 - mean) * size / wanted
        moved = np.abs(centre - (np.array(self.size[::-1]) - 1) / 2) / self.size[::-1]
        if max(*moved, abs(np.log(size / wanted))) < CLOSE:
            return self
        return Crop.around(self.to_photo(centre), float(self.scale.mean()) * size / wanted, self.size)
