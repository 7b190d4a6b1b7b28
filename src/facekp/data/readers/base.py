"""What a reader is, its common settings, and the registry of all readers (``data=NAME``).

A reader is a function of its settings and the landmark scheme. It comes in two kinds, which its settings class tells
apart:

- a *table reader*, with `DataSettings` or a subclass, returns a `FaceTable`: images of one size and their points;
- a *photo reader*, with `PhotoDataSettings` or a subclass, reads a label file and returns a list of `LabelledFace`.
  facekp reads the photos, crops the faces and caches the table.

To support another label format, write one function. The annotation of its first argument is its settings class:

    from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings

    class PtsSettings(PhotoDataSettings):
        first: int = 0  # number of the first point

    @READERS.register("pts")
    def read_pts(settings: PtsSettings, keypoints: Keypoints) -> list[LabelledFace]:
        text = settings.label_file.read_text()
        ...

Now ``data=pts data.images=photos data.labels=faces.pts`` works. Without settings of its own, a reader takes
`PhotoDataSettings` itself and needs no class. The common keys get their defaults from conf/common.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import Field, ValidationInfo, field_validator

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.registry import Registry
from facekp.core.settings import Count, FilePath, Fraction, PositiveCount, Settings
from facekp.data.table import FaceTable


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A face in a photo, as a label file describes it.

    Attributes:
        name: path of the photo, relative to the photos' folder.
        points: float64 (K, 2), pixels of the photo; NaN where a point is not labelled.
        box: left, top, right, bottom edge in the photo; None: the face is located by its points.
        source: index into ``keypoints.source_names``.
        row: number of the face in its file.
        where: position of its labels, for messages: ``faces.csv: line 3``.
        size: (W, H) of the photo according to the label file, which is checked; None: not stated.
    """

    name: str
    points: np.ndarray
    box: tuple[float, float, float, float] | None
    source: int
    row: int
    where: str
    size: tuple[int, int] | None = None


class DataSettings(Settings):
    """``data``: the settings of every reader.

    Attributes:
        name: the reader.
        rows: read only the first rows; None: all.
        folds: number of parts into which the rows are split.
        fold: the part that is held out for validation.
        split_seed: random seed of the split.
        offsets: how far right of the mirror-symmetric position each source labels, pixels by name of the source; None:
            no offsets (`facekp.core.keypoints.Keypoints.offsets`).
        device_bytes: images that need more bytes stay on the host.
        batch_size: rows in a batch, over all processes together.
    """

    name: str
    rows: PositiveCount | None
    folds: Annotated[int, Field(ge=2)]
    fold: Count
    split_seed: Count
    offsets: dict[str, float] | None
    device_bytes: Count
    batch_size: PositiveCount

    @field_validator("fold")
    @classmethod
    def _check_fold(cls, fold: int, info: ValidationInfo) -> int:
        folds = info.data.get("folds")
        if folds is not None and fold >= folds:
            raise ValueError(f"with data.folds={folds} it must be one of 0 to {folds - 1}")
        return fold


class PhotoDataSettings(DataSettings):
    """``data``: the settings of readers whose faces are cropped out of photos.

    Attributes:
        images: folder; the label file names photos relative to it.
        labels: the label file.
        size: side of the cropped images, pixels.
        margin: for faces without a box: margin on each side of the points' bounding box, as a fraction of its longer
            side.
        skip_broken: skip photos that can't be read, instead of stopping with an error.
        cache: folder that keeps the cropped images; None: no cache.
    """

    images: FilePath
    labels: FilePath
    size: Annotated[int, Field(ge=32, le=1024)]
    margin: Fraction
    skip_broken: bool
    cache: FilePath | None

    @property
    def label_file(self) -> Path:
        """``labels`` as a path, with ~ expanded."""
        return Path(self.labels).expanduser()


Reader = Callable[[Any, Keypoints], FaceTable | list[LabelledFace]]


class ReaderRegistry(Registry[Reader]):
    """Readers by name; the settings class of a reader is the annotation of its first argument."""

    def _settings_of(self, name: str, thing: Any) -> type[Settings]:
        try:
            first = next(iter(inspect.signature(thing, eval_str=True).parameters.values())).annotation
        except (StopIteration, NameError, TypeError, ValueError):
            first = None
        if not (isinstance(first, type) and issubclass(first, DataSettings)):
            raise UserError(
                f"reader {name!r}: the first argument of {thing.__qualname__} must be annotated with DataSettings, "
                f"PhotoDataSettings or a subclass"
            )
        return first


def _with_common_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """A plug-in's settings with the defaults of conf/common for the common keys."""
    of_photos = issubclass(READERS.settings_class(values["name"]), PhotoDataSettings)
    for file in ("data", "photos") if of_photos else ("data",):
        common = yaml.safe_load((CONF_DIR / "common" / f"{file}.yaml").read_text())
        values = {**values, **{key: value for key, value in common.items() if key in values}}
    return values


READERS: Registry[Reader] = ReaderRegistry(
    "reader",
    key="data",
    base=DataSettings,
    entry_points="facekp.readers",
    package="facekp.data.readers",
    config_group="data",
    config=_with_common_defaults,
)
