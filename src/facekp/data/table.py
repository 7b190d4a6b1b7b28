"""FaceTable: images, points and sources of faces; every reader returns it, and everything downstream uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from facekp.core.keypoints import Keypoints


class HostImages:
    """Rows of a large array, usually memory-mapped; an image is read when it is indexed.

    `take` chooses rows without reading any.

    Args:
        array: uint8 (M, H, W), or in colour (M, H, W, 3).
        rows: int (N,), the rows of the array; None: all.
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
        """(N, H, W), or in colour (N, H, W, 3)."""
        return (len(self), *self.array.shape[1:])

    def take(self, index: np.ndarray) -> HostImages:
        """The rows at ``index`` (integers or bool)."""
        return HostImages(self.array, self.rows[index])


Images = np.ndarray | HostImages


@dataclass(frozen=True, eq=False)
class FaceTable:
    """Faces with labelled points. N rows, K points, images of H x W pixels.

    Attributes:
        keypoints: the scheme that names the K points and S sources.
        images: uint8 (N, H, W), grey, or (N, H, W, 3), red, green, blue; `HostImages` where they are too large for the
            device.
        points: float32 (N, K, 2), (x, y) in pixels, integer = pixel centre; NaN where not labelled.
        source: int8 (N,), the labelling convention each row follows (index into ``keypoints.source_names``).
        row: int64 (N,), identifies the row in its file: position after the header (training), ImageId (test).
        name: str (N,), the photo that a face was cropped from; None for data that are not cropped from photos.
        photo_matrix: float64 (N, 2, 3), maps (x, y, 1) in the image to (x, y) in pixels of the photo; None like name.
        photo_hash: int64 (N,), hash of the photo's pixels (`facekp.data.near_duplicates.image_hashes`); None like name.
        attributes: subsets by name, such as pose or blur: str (N,), the value of each row, "" where it is not stated.
        visible: uint8 (N, K), COCO's v: 0 not labelled, 1 labelled but hidden, 2 labelled and in view; None: not
            stated.
        box: float32 (N, 4), left, top, right and bottom edge of the label file's face box, in pixels of the images;
            NaN where a row has none; None: no row has one.
        group_by: attributes whose values, such as a person or a video, a split must keep together.
    """

    keypoints: Keypoints
    images: Images
    points: np.ndarray
    source: np.ndarray
    row: np.ndarray
    name: np.ndarray | None = None
    photo_matrix: np.ndarray | None = None
    photo_hash: np.ndarray | None = None
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    visible: np.ndarray | None = None
    box: np.ndarray | None = None
    group_by: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def channels(self) -> int:
        """1 where the images are grey, 3 where they are in colour."""
        return 1 if len(self.images.shape) == 3 else self.images.shape[3]

    @property
    def photo(self) -> np.ndarray | None:
        """(N,), equal for faces of one photo: its hash, so that copies are one photo, or else its name."""
        return self.name if self.photo_hash is None else self.photo_hash

    @property
    def mask(self) -> np.ndarray:
        """bool (N, K): the labelled points, which are those that are not NaN."""
        return ~np.isnan(self.points[..., 0])

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (N, K, 2), or the same (K, 2) for every row, from pixels of the images to those of the photos.

        float64 (N, K, 2); NaN stays NaN.
        """
        assert self.photo_matrix is not None, "the table's faces were not cropped from photos"
        return points @ self.photo_matrix[:, :, :2].transpose(0, 2, 1) + self.photo_matrix[:, None, :, 2]

    def take(self, index: np.ndarray) -> FaceTable:
        """A table of the rows at ``index`` (integers or bool), copied; `HostImages` are not read."""
        return replace(
            self,
            images=self.images.take(index) if isinstance(self.images, HostImages) else self.images[index],
            points=self.points[index],
            source=self.source[index],
            row=self.row[index],
            attributes={name: values[index] for name, values in self.attributes.items()},
            name=None if self.name is None else self.name[index],
            photo_matrix=None if self.photo_matrix is None else self.photo_matrix[index],
            photo_hash=None if self.photo_hash is None else self.photo_hash[index],
            visible=None if self.visible is None else self.visible[index],
            box=None if self.box is None else self.box[index],
        )

    def joined(self, other: FaceTable) -> FaceTable:
        """A table of these rows and then the other's, copied, without what is known of photos.

        Scheme and size must be the same.
        """
        images = np.concatenate((self.images[:], other.images[:]))
        both = (self, other)
        return FaceTable(
            keypoints=self.keypoints,
            images=HostImages(images) if isinstance(self.images, HostImages) else images,
            points=np.concatenate((self.points, other.points)),
            source=np.concatenate((self.source, other.source)),
            row=np.concatenate((self.row, other.row)),
            attributes={
                name: np.concatenate([table.attribute(name) for table in both])
                for name in {**self.attributes, **other.attributes}
            },
            visible=_concatenated([table.visible for table in both], [2 * table.mask for table in both], np.uint8),
            box=_concatenated([table.box for table in both], [np.full((len(t), 4), np.nan) for t in both], np.float32),
            group_by=self.group_by,
        )

    def attribute(self, name: str) -> np.ndarray:
        """str (N,): the value of each row in that subset, "" where it is not stated."""
        return self.attributes.get(name, np.full(len(self), ""))

    def without(self, index: np.ndarray) -> FaceTable:
        """A table of all rows except those at ``index`` (integers), copied."""
        return self.take(np.setdiff1d(np.arange(len(self)), index))


def _concatenated(
    arrays: Sequence[np.ndarray | None], defaults: Sequence[np.ndarray], dtype: type[np.generic]
) -> np.ndarray | None:
    """The arrays in one, with a default in place of each that is None; None if all are."""
    if all(array is None for array in arrays):
        return None
    filled = [default if array is None else array for array, default in zip(arrays, defaults, strict=True)]
    return np.concatenate(filled).astype(dtype)
