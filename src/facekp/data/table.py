"""FaceTable: the one thing that travels from every reader to everything downstream."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facekp.keypoints import Keypoints


@dataclass(frozen=True)
class FaceTable:
    """Faces with their labelled points. N rows, K points, images of H x W pixels.

    Attributes:
        keypoints: the scheme that names the K points and S sources.
        images: uint8 (N, H, W), grey; may be memory-mapped.
        points: float32 (N, K, 2), (x, y) in pixels, integer = pixel centre; NaN where nobody labelled.
        source: int8 (N,), the labelling convention each row follows (index into ``keypoints.source_names``).
        row: int64 (N,), the row's name in its file: position after the header (training), ImageId (test).
    """

    keypoints: Keypoints
    images: np.ndarray
    points: np.ndarray
    source: np.ndarray
    row: np.ndarray

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

    def take(self, index: np.ndarray) -> FaceTable:
        """The rows at ``index`` (integers or bool), copied."""
        return replace(
            self,
            images=self.images[index],
            points=self.points[index],
            source=self.source[index],
            row=self.row[index],
        )

    def joined(self, other: FaceTable) -> FaceTable:
        """These rows and then the other table's, copied; scheme and size must be the same."""
        return replace(
            self,
            images=np.concatenate((self.images, other.images)),
            points=np.concatenate((self.points, other.points)),
            source=np.concatenate((self.source, other.source)),
            row=np.concatenate((self.row, other.row)),
        )

    def without(self, index: np.ndarray) -> FaceTable:
        """All rows but those at ``index`` (integers), copied."""
        return self.take(np.setdiff1d(np.arange(len(self)), index))
