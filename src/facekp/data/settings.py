"""Settings of the data group that all readers have (`facekp.data.readers`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from facekp.core.channels import Channels
from facekp.core.settings import Count, FilePath, FilePaths, Fraction, PositiveCount, Settings, Text


def _with_texts_as_names(value: Any) -> Any:
    return {str(name): given for name, given in value.items()} if isinstance(value, Mapping) else value


def _as_texts(value: Any) -> Any:
    """Numbers as texts, and a single value as a tuple of one."""
    return tuple(map(_as_text, value if isinstance(value, (list, tuple)) else [value]))


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):  # YAML also reads an unquoted yes or no as one
        raise ValueError("write the value as the label file has it, in quotes, such as '1' or 'yes'")
    return str(value) if isinstance(value, (int, float)) else value


# Values of attributes by name, such as split: [train, val]; a single value may stand for a list.
Values = Annotated[tuple[str, ...], BeforeValidator(_as_texts), Field(min_length=1)]
Subset = Annotated[dict[str, Values], BeforeValidator(_with_texts_as_names), Field(min_length=1)]


class DataSettings(Settings):
    """``data``: the settings of every reader.

    Attributes:
        name: the reader.
        rows: read only that many rows; None: all.
        rows_from: ``spread``: rows spread over the file, each source in proportion; ``first``: the first
            rows, as 0.1 did.
        only: read only the rows whose attributes have these values (`facekp.data.subsets`); None: all.
        folds: number of parts into which the rows are split.
        fold: the part that is held out for validation.
        split: ``rows``: folds of equal size, which depend on all rows of the file; ``content``: the fold depends on the
            image, so it is the same in a file with more or fewer rows.
        split_seed: random seed of the split.
        group_by: attributes, such as the person or the video: rows with the same value are in the same fold, and
            intervals draw them together; None: none.
        held_out: the rows whose attributes have these values are held out, in place of a fold; None: a fold.
        offsets: how far right of the mirror-symmetric position each source labels, pixels by name of the source; None:
            no offsets (`facekp.core.keypoints.Keypoints.offsets`).
        device_bytes: images that need more bytes stay on the host.
        batch_size: rows in a batch, over all processes together.
        channels: of the images: 1 for grey, 3 for colour.
        chunk_rows: rows that are read one after another from a file on a slow disk (`facekp.data.chunks`); 0: all rows
            are shuffled together.
    """

    name: str
    rows: PositiveCount | None
    rows_from: Literal["spread", "first"]
    folds: Annotated[int, Field(ge=2)]
    fold: Count
    split: Literal["rows", "content"]
    split_seed: Count
    offsets: dict[str, float] | None
    device_bytes: Count
    batch_size: PositiveCount
    channels: Channels = 1
    chunk_rows: Count = 0
    only: Subset | None = None
    group_by: tuple[Text, ...] | None = None
    held_out: Subset | None = None

    @property
    def cache_folder(self) -> Path | None:
        """``cache`` as a path, with ~ expanded; None for readers without that key, and where it is null."""
        cache = getattr(self, "cache", None)
        return Path(cache).expanduser() if isinstance(cache, str) else None

    @field_validator("fold")
    @classmethod
    def _check_fold(cls, fold: int, info: ValidationInfo) -> int:
        folds = info.data.get("folds")
        if folds is not None and fold >= folds:
            raise ValueError(f"with data.folds={folds} it must be one of 0 to {folds - 1}")
        return fold

    @field_validator("group_by", mode="before")
    @classmethod
    def _take_one_name(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

    @model_validator(mode="after")
    def _check_held_out(self) -> Self:
        if self.held_out is not None and self.fold != 0:
            raise ValueError(f"held_out chooses the rows to hold out, so fold={self.fold} has no effect; remove one")
        return self


class GreyDataSettings(DataSettings):
    """``data``: the settings of readers whose images are always grey."""

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, channels: Channels, info: ValidationInfo) -> Channels:
        if channels != 1:
            raise ValueError(f"the images of data={info.data.get('name')} are grey; use 1, which suits every model")
        return channels


class PhotoDataSettings(DataSettings):
    """``data``: the settings of readers whose faces are cropped out of photos.

    Attributes:
        images: folder; the label file names photos relative to it.
        labels: the label file, or several, whose faces get the attribute ``file``. A reader is called with one of them.
        size: side of the cropped images, pixels.
        margin: for faces without a box: margin on each side of the points' bounding box, as a fraction of its longer
            side.
        boxes: ``given``: faces are cropped by their boxes where the file has them; ``points``: always around their
            points.
        skip_broken: skip faces with errors and photos that can't be read, instead of stopping with an error.
        cache: folder that keeps the cropped images; None: no cache.
        anywhere: allow a label file to name photos outside ``images``, by absolute paths or ``..``.
        boxes_have_sizes: whether the format's boxes are a corner or a centre and a size; False: two corners.
    """

    boxes_have_sizes: ClassVar[bool] = True
    images: FilePath
    labels: FilePaths
    size: Annotated[int, Field(ge=32, le=1024)]
    margin: Fraction
    boxes: Literal["given", "points"] = "given"
    skip_broken: bool
    cache: FilePath | None
    anywhere: bool = False

    @property
    def label_file(self) -> Path:
        """``labels`` as a path, with ~ expanded; of several files, the first."""
        return Path(self.labels[0] if isinstance(self.labels, list) else self.labels).expanduser()


class FilePerPhotoSettings(PhotoDataSettings):
    """``data``: the settings of readers of formats with a label file for each photo.

    Attributes:
        labels: folder of the label files, or several folders; None: they are beside the photos.
    """

    labels: FilePaths | None  # type: ignore[assignment]

    @property
    def label_file(self) -> Path:
        """The folder of the label files, with ~ expanded; of several, the first."""
        return Path(self.images).expanduser() if self.labels is None else super().label_file
