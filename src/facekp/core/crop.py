"""The crop of a face: a rectangle of a photo, resized to a network's input, and the maps between both.

A `Crop` is a rectangle of whole pixels, so that points map from the photo to the crop and back exactly. It may be
turned around its centre, so that a turned face is upright in it. The same code crops training photos
(`facekp.data.crops`) and photos to predict on (`facekp.photos`). An integer coordinate is a pixel centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

OVERSAMPLING = 2  # times that a turned crop is finer than the network's input, so that turning does not blur it
MAX_STRIP_BYTES = 2**26  # bytes of a photo that are resized at once
MAX_SIZE_CHANGE = 4.0  # factor by which a refined crop may grow or shrink; beyond it, the points are not a face

# Fraction of its side by which a crop must move, grow or shrink to be refined. Measured on 240 faces of the competition
# in boxes moved at random: where these are off by a tenth of their side, refining brings the median error of dense rows
# from 0.82 back to 0.76 px, with this limit as without; where they are right it brings nothing.
MIN_CHANGE = 0.08

# Degrees by which the points must be turned for the crop to be turned. On 25 dense faces that the shipped checkpoint
# did not see, a turned crop brings the RMSE from 0.88 to 0.78 px at 30 degrees and from 0.79 to 0.78 at 22; at 15 it
# brings nothing.
MIN_TURN = 20.0


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels, which may extend beyond its photo, and the size it is resized to.

    Attributes:
        left, top: its first column and row, before it is turned.
        width, height: in pixels of the photo.
        size: (H, W) after resizing.
        angle: degrees by which the rectangle is turned around its centre, clockwise for a viewer. The face in it is
            turned by as much in the photo, and upright in the crop.

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
    angle: float = 0.0

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

    def crop_of_box(self, box: np.ndarray, margin: float, size: tuple[int, int]) -> Crop:
        """The crop of the photo that holds a box which was found in this crop; as `of_box`."""
        sides = (box[2:] - box[:2]) * self.scale
        around = Crop.around(self.to_photo((box[:2] + box[2:]) / 2), margin * max(sides / size[::-1]), size)
        return around.turned(self.angle)

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the photo for each pixel of the crop, (x, y)."""
        return np.array([self.width / self.size[1], self.height / self.size[0]])

    @property
    def centre(self) -> np.ndarray:
        """(x, y) of the middle, in pixels of the photo."""
        return np.array([self.left + (self.width - 1) / 2, self.top + (self.height - 1) / 2])

    @property
    def corners(self) -> np.ndarray:
        """float (4, 2): the outer edges' corners in the photo, clockwise from the crop's upper left one."""
        right, bottom = self.left + self.width, self.top + self.height
        edges = np.array([[self.left, self.top], [right, self.top], [right, bottom], [self.left, bottom]]) - 0.5
        return (edges - self.centre) @ rotation(self.angle).T + self.centre if self.angle else edges

    def turned(self, angle: float) -> Crop:
        """This crop, turned clockwise by some degrees more."""
        return replace(self, angle=(self.angle + angle + 180) % 360 - 180)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Crop and resize a photo.

        Enlarges by cubic interpolation and shrinks by area averages. Columns are resized before rows, so that memory
        stays small where the crop extends far beyond a large photo.

        Args:
            image: uint8 (H, W) or (H, W, 3).

        Returns:
            uint8 ``size``, and 3 where the photo has colours; outside the photo, the edge pixels are repeated.
        """
        if self.angle:
            return self._cut_turned(image)
        rows = np.clip(np.arange(self.top, self.top + self.height), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.width), 0, image.shape[1] - 1)
        height, width = self.size
        interpolation = cv2.INTER_AREA if self.width > width else cv2.INTER_CUBIC
        block = max(1, MAX_STRIP_BYTES // (len(columns) * image[0, 0].size))  # rows; 1 x 30000 pixels would take 0.9 GB
        blocks = [
            cv2.resize(part[:, columns], (width, len(part)), interpolation=interpolation)
            for part in (image[top : min(top + block, rows[-1] + 1)] for top in range(rows[0], rows[-1] + 1, block))
        ]
        strip = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return cv2.resize(strip[rows - rows[0]], (width, height), interpolation=interpolation)

    def _cut_turned(self, image: np.ndarray) -> np.ndarray:
        """As `cut`, for a turned crop. Turns by a multiple of 90 degrees are exact; others interpolate once more."""
        quarters = round(self.angle / 90)
        on_pixels = quarters % 2 == 0 or (self.width - self.height) % 2 == 0  # else the turned edges halve pixels
        if self.angle == 90 * quarters and on_pixels:
            return self.to_turned_photo(quarters, image.shape).cut(np.rot90(image, quarters))
        around = self._upright_around()
        height, width = (OVERSAMPLING * side for side in self.size)
        # From pixels of the finer crop to those of the crop, of the photo, and of the upright crop around this one.
        step, first = 1 / OVERSAMPLING, (1 / OVERSAMPLING - 1) / 2
        finer = np.array([[step, 0, first], [0, step, first], [0, 0, 1]])
        sampled = around.cut(image)
        turn = np.linalg.inv(_square(around.photo_matrix)) @ _square(self.photo_matrix) @ finer
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpAffine(sampled, turn[:2], (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return cv2.resize(fine, self.size[::-1], interpolation=cv2.INTER_AREA)

    def _upright_around(self) -> Crop:
        """The upright crop that holds this turned one, `OVERSAMPLING` times as fine."""
        low, high = np.floor(self.corners.min(axis=0)) - 1, np.ceil(self.corners.max(axis=0)) + 1
        width, height = (high - low + 1).astype(int).tolist()
        fine_width, fine_height = np.ceil(OVERSAMPLING * (high - low + 1) / self.scale).astype(int).tolist()
        return Crop(int(low[0]), int(low[1]), width, height, (fine_height, fine_width))

    def to_turned_photo(self, quarters: int, shape: tuple[int, ...]) -> Crop:
        """This crop of a photo as a crop of `np.rot90` (photo, quarters), with the same content.

        Args:
            quarters: quarter turns of the photo, anticlockwise for a viewer.
            shape: of the photo, (H, W) or (H, W, 3).
        """
        middle = rotation(-90 * quarters) @ (self.centre - _middle(shape[:2]))
        turned_shape = shape[:2] if quarters % 2 == 0 else shape[1::-1]
        left, top = middle + _middle(turned_shape) - (np.array([self.width, self.height]) - 1) / 2
        return replace(self, left=round(left), top=round(top)).turned(-90 * quarters)

    @property
    def photo_matrix(self) -> np.ndarray:
        """float64 (2, 3): maps (x, y, 1) in the crop to (x, y) in the photo."""
        upright = np.column_stack((np.diag(self.scale), (self.scale - 1) / 2 + (self.left, self.top)))
        if not self.angle:
            return upright
        turn = rotation(self.angle)
        return np.column_stack((turn @ upright[:, :2], self.centre + turn @ (upright[:, 2] - self.centre)))

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from pixels of the crop to pixels of the photo."""
        if self.angle:
            return points @ self.photo_matrix[:, :2].T + self.photo_matrix[:, 2]
        return (points + 0.5) * self.scale - 0.5 + (self.left, self.top)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from pixels of the photo to pixels of the crop."""
        return (points - self.photo_matrix[:, 2]) @ np.linalg.inv(self.photo_matrix[:, :2]).T

    def refined(self, points: np.ndarray, mean_face: np.ndarray) -> Crop:
        """The crop in which the predicted points would have the mean face's centre, size and, if need be, angle.

        Args:
            points: (K, 2), predictions in pixels of this crop.
            mean_face: (K, 2) in pixels of a crop.

        Returns:
            this object itself where the new crop would hardly differ, or where the points' size shows that they are
            not a face.
        """
        centre_here, mean = points.mean(axis=0), mean_face.mean(axis=0)
        size, wanted = (float(np.sqrt(np.square(p - p.mean(axis=0)).sum())) for p in (points, mean_face))
        if not (wanted > 0 and 1 / MAX_SIZE_CHANGE < size / wanted < MAX_SIZE_CHANGE):
            return self
        angle = angle_between(mean_face, points)
        turn = angle if abs(angle) >= MIN_TURN else 0.0
        offset = (np.array(self.size[::-1]) - 1) / 2 - mean
        centre = centre_here + (rotation(turn) @ offset if turn else offset) * size / wanted
        moved = np.abs(centre - (np.array(self.size[::-1]) - 1) / 2) / self.size[::-1]
        if not turn and max(*moved, abs(np.log(size / wanted))) < MIN_CHANGE:
            return self
        crop = Crop.around(self.to_photo(centre), float(self.scale.mean()) * size / wanted, self.size)
        return crop.turned(self.angle + turn)


def rotation(angle: float) -> np.ndarray:
    """float64 (2, 2): turns (x, y), y pointing down, clockwise by an angle in degrees; exact for multiples of 90."""
    quarters = angle / 90
    if quarters == round(quarters):
        cosine, sine = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][round(quarters) % 4]
    else:
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[cosine, -sine], [sine, cosine]])


def angle_between(shape: np.ndarray, turned: np.ndarray) -> float:
    """The turn that makes points fit others best by least squares (Procrustes), their centres and sizes aside.

    Args:
        shape, turned: (K, 2) each, the same points.

    Returns:
        degrees from -180 to 180, clockwise for a viewer; 0 where the points say nothing, as a single one.

    Example:
        >>> round(angle_between(np.array([[0, 0], [2, 0]]), np.array([[5, 5], [5, 7]])))
        90
    """
    a, b = shape - shape.mean(axis=0), turned - turned.mean(axis=0)
    return math.degrees(math.atan2(float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()), float((a * b).sum())))


def _square(affine: np.ndarray) -> np.ndarray:
    """The (3, 3) matrix of an affine map (2, 3)."""
    return np.vstack((affine, [0.0, 0.0, 1.0]))


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    """(x, y) of the middle of an image (H, W)."""
    return (np.array([shape[1], shape[0]]) - 1) / 2
