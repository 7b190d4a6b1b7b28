"""FaceTable: the one thing that travels from every reader to everything downstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from facekp.core.keypoints import Keypoints


class HostImages:
    """Images too many to be copied about: rows of an array, a memory-mapped one as a rule, read where they are indexed.

    Whoever holds them takes batches; `take` chooses rows without reading any.

    Args:
        array: uint8 (M, H, W).
        rows: int (N,), which of them; None: all.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.array = array
        self.rows = np.arange(len(array)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.array[self.rows[index]])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.array[row] for row in self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W)."""
        return (len(self), *self.array.shape[1:])

    def take(self, index: np.ndarray) -> HostImages:
        """The rows at ``index`` (integers or bool)."""
        return HostImages(self.array, self.rows[index])


Images = np.ndarray | HostImages


@dataclass(frozen=True)
class FaceTable:
    """Faces with their labelled points. N rows, K points, images of H x W pixels.

    Attributes:
        keypoints: the scheme that names the K points and S sources.
        images: uint8 (N, H, W), grey; `HostImages` where they are too many to lie on the device.
        points: float32 (N, K, 2), (x, y) in pixels, integer = pixel centre; NaN where nobody labelled.
        source: int8 (N,), the labelling convention each row follows (index into ``keypoints.source_names``).
        row: int64 (N,), the row's name in its file: position after the header (training), ImageId (test).
        name: str (N,), the photo a face was cut out of; None where the file holds the faces themselves.
        to_source: float64 (N, 2, 3), takes (x, y, 1) of the image to (x, y) in pixels of that photo; None as name.
    """

    keypoints: Keypoints
    images: Images
    points: np.ndarray
    source: np.ndarray
    row: np.ndarray
    name: np.ndarray | None = None
    to_source: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def mask(self) -> np.ndarray:
        """bool (N, K): what is labelled. Decided when the table was read; NaN is its only form."""
        return ~np.isnan(self.points[..., 0])

    def in_source(self, points: np.ndarray) -> np.ndarray:
        """Points (N, K, 2) in pixels of the images, in pixels of the photos; float64, NaN stays NaN."""
        assert self.to_source is not None, "the table's faces were cut out of no photo"
        return points @ self.to_source[:, :, :2].transpose(0, 2, 1) + self.to_source[:, None, :, 2]

    def take(self, index: np.ndarray) -> FaceTable:
        """The rows at ``index`` (integers or bool), copied; of `HostImages` no image is read."""
        return replace(
            self,
            images=self.images.take(index) if isinstance(self.images, HostImages) else self.images[index],
            points=self.points[index],
            source=self.source[index],
            row=self.row[index],
            name=None if self.name is None else self.name[index],
            to_source=None if self.to_source is None else self.to_source[index],
        )

    def joined(self, other: FaceTable) -> FaceTable:
        """These rows and then the other table's, copied; scheme and size must be the same. No photos are told."""
        images = np.concatenate((self.images[:], other.images[:]))
        return FaceTable(
            keypoints=self.keypoints,
            images=HostImages(images) if isinstance(self.images, HostImages) else images,
            points=np.concatenate((self.points, other.points)),
            source=np.concatenate((self.source, other.source)),
            row=np.concatenate((self.row, other.row)),
        )

    def without(self, index: np.ndarray) -> FaceTable:
        """All rows but those at ``index`` (integers), copied."""
        return self.take(np.setdiff1d(np.arange(len(self)), index))
