"""The crop of a face: a rectangle of a photo, resized to a network's input, and the maps between both.

A `Crop` is a rectangle of whole pixels, so that points map from the photo to the crop and back exactly. The same code
crops training photos (`facekp.data.crops`) and photos to predict on (`facekp.photos`). An integer coordinate is a pixel
centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LARGEST_STRIP = 2**26  # bytes of a photo that are resized at once
LARGEST_CHANGE = 2.0  # times larger or smaller than the detector's crop; beyond it, the points are not a face

# Fraction of its side by which a crop must move, grow or shrink to be refined. Measured on 240 faces of the competition
# in boxes moved at random: where these are off by a tenth of their side, refining brings the median error of dense rows
# from 0.82 back to 0.76 px, with this limit as without; where they are right it brings nothing.
SMALLEST_CHANGE = 0.08


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels, which may extend beyond its photo, and the size it is resized to.

    Attributes:
        left, top: its first column and row.
        width, height: in pixels of the photo.
        size: (H, W) after resizing.

    Example:
        >>> crop = Crop(left=10, top=20, width=192, height=192, size=(96, 96))
        >>> crop.to_crop(np.array([10.5, 20.5])).tolist()
        [0.0, 0.0]
        >>> crop.to_photo(np.array([0.0, 0.0])).tolist()
        [10.5, 20.5]
    """

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    @classmethod
    def around(cls, centre: np.ndarray, scale: float, size: tuple[int, int]) -> Crop:
        """The crop around a centre (x, y), with about ``scale`` pixels of the photo for each pixel of the crop."""
        height, width = (max(round(scale * side), 1) for side in size)
        left, top = (round(middle - (side - 1) / 2) for middle, side in zip(centre, (width, height), strict=True))
        return cls(left, top, width, height, size)

    @classmethod
    def of_box(cls, box: np.ndarray, margin: float, size: tuple[int, int]) -> Crop:
        """The smallest crop of this aspect ratio that holds a detector's box.

        Args:
            box: left, top, right, bottom edge.
            margin: factor on the box's sides (`facekp.photos.detectors.FaceDetector.margin`).
            size: (H, W) of the crop.
        """
        sides = box[2:] - box[:2]
        return cls.around((box[:2] + box[2:]) / 2, margin * max(sides / size[::-1]), size)

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the photo for each pixel of the crop, (x, y)."""
        return np.array([self.width / self.size[1], self.height / self.size[0]])

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Crop and resize a photo.

        Enlarges by cubic interpolation and shrinks by area averages. Columns are resized before rows, so that memory
        stays small where the crop extends far beyond a large photo.

        Args:
            image: uint8 (H, W).

        Returns:
            uint8 ``size``; outside the photo, the edge pixels are repeated.
        """
        rows = np.clip(np.arange(self.top, self.top + self.height), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.width), 0, image.shape[1] - 1)
        height, width = self.size
        interpolation = cv2.INTER_AREA if self.width > width else cv2.INTER_CUBIC
        block = max(1, LARGEST_STRIP // len(columns))  # rows; a photo of 1 x 30000 pixels would take 0.9 GB at once
        blocks = [
            cv2.resize(part[:, columns], (width, len(part)), interpolation=interpolation)
            for part in (image[top : min(top + block, rows[-1] + 1)] for top in range(rows[0], rows[-1] + 1, block))
        ]
        strip = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return cv2.resize(strip[rows - rows[0]], (width, height), interpolation=interpolation)

    @property
    def to_source(self) -> np.ndarray:
        """float64 (2, 3): maps (x, y, 1) in the crop to (x, y) in the photo."""
        return np.column_stack((np.diag(self.scale), (self.scale - 1) / 2 + (self.left, self.top)))

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from pixels of the crop to pixels of the photo."""
        return (points + 0.5) * self.scale - 0.5 + (self.left, self.top)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from pixels of the photo to pixels of the crop."""
        return (points - self.to_source[:, 2]) @ np.linalg.inv(self.to_source[:, :2]).T

    def refined(self, points: np.ndarray, mean_face: np.ndarray) -> Crop:
        """The crop in which the predicted points would have the mean face's centre and size.

        Args:
            points: (K, 2), predictions in pixels of this crop.
            mean_face: (K, 2) in pixels of a crop.

        Returns:
            this object itself where the new crop would hardly differ, or where the points' size shows that they are
            not a face.
        """
        centre_here, mean = points.mean(axis=0), mean_face.mean(axis=0)
        size, wanted = (float(np.sqrt(np.square(p - p.mean(axis=0)).sum())) for p in (points, mean_face))
        if not (wanted > 0 and 1 / LARGEST_CHANGE < size / wanted < LARGEST_CHANGE):
            return self
        centre = centre_here + ((np.array(self.size[::-1]) - 1) / 2 - mean) * size / wanted
        moved = np.abs(centre - (np.array(self.size[::-1]) - 1) / 2) / self.size[::-1]
        if max(*moved, abs(np.log(size / wanted))) < SMALLEST_CHANGE:
            return self
        return Crop.around(self.to_photo(centre), float(self.scale.mean()) * size / wanted, self.size)
