"""What a reader is, its common settings, and the registry of all readers (``data=NAME``).

A reader is a function of its settings and the landmark scheme. It comes in two kinds, distinguished by its settings
class:

- a *table reader*, with `DataSettings` or a subclass, returns a `FaceTable`: images of one size and their points;
- a *photo reader*, with `PhotoDataSettings` or a subclass, reads a label file and returns a list of `LabelledFace`.
  facekp reads the photos, crops the faces and caches the table.

To support another label format, write one function. The annotation of its first argument is its settings class::

    from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings

    class MyFormatSettings(PhotoDataSettings):
        first: int = 0  # number of the first point

    @READERS.register("my_format")
    def read_my_format(settings: MyFormatSettings, keypoints: Keypoints) -> list[LabelledFace]:
        text = settings.label_file.read_text()
        ...

Now ``data=my_format data.images=photos data.labels=faces.txt`` works. Without settings of its own, a reader takes
`PhotoDataSettings` itself and needs no class. The common keys get their defaults from conf/common.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.registry import Registry
from facekp.core.settings import Settings
from facekp.data.labels.face import LabelledFace as LabelledFace  # part of what a reader needs
from facekp.data.settings import DataSettings, PhotoDataSettings
from facekp.data.table import FaceTable

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
    """A plug-in's settings with the defaults of conf/common for the common keys, as far as it has none of its own."""
    settings = READERS.settings_class(values["name"])
    of_photos = issubclass(settings, PhotoDataSettings)
    classes = [one for one in settings.__mro__ if one.__module__ != DataSettings.__module__]
    own = {key for one in classes for key in inspect.get_annotations(one) if values.get(key) != "???"}
    for file in ("data", "photos") if of_photos else ("data",):
        common = yaml.safe_load((CONF_DIR / "common" / f"{file}.yaml").read_text(encoding="utf-8"))
        values = {**values, **{key: value for key, value in common.items() if key in values.keys() - own}}
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

POINT_NAMES: dict[str, Callable[[Path, PhotoDataSettings], list[str]]] = {}
"""By reader: a function that lists the points of a label file in order. Points that the file does not name are numbers
from 0. ``facekp.data.inspect`` makes a scheme of them."""

F = TypeVar("F", bound=Callable[..., list[str]])


def names_points(reader: str, by_settings: bool = False) -> Callable[[F], F]:
    """Decorator that enters a function of a path into `POINT_NAMES`.

    Args:
        reader: name of the reader (``data.name``).
        by_settings: whether the function takes the reader's settings, too, as they choose the points.
    """

    def enter(function: F) -> F:
        POINT_NAMES[reader] = function if by_settings else lambda path, _: function(path)
        return function

    return enter


MIRROR_POINTS: dict[str, Callable[[Path], Sequence[int] | None]] = {}
"""By reader: a function that tells from a label file the number of each point's mirror point, in the order of
`POINT_NAMES`; None: not stated. ``facekp.data.inspect`` makes the pairs of a scheme of them."""

M = TypeVar("M", bound=Callable[[Path], Sequence[int] | None])


def mirrors_points(reader: str) -> Callable[[M], M]:
    """Decorator that enters a function into `MIRROR_POINTS`."""

    def enter(function: M) -> M:
        MIRROR_POINTS[reader] = function
        return function

    return enter


MAX_LOOKED_AT = 20  # files of a folder that are read to recognise it
RECOGNISERS: dict[str, Callable[[Path, str], bool]] = {}
"""By reader: a function that tells from a path and the text of the file ("" for a folder or a binary file) whether the
reader can read it. ``facekp.data.inspect`` finds the format of a file with them."""


def recognises(reader: str) -> Callable[[Callable[[Path, str], bool]], Callable[[Path, str], bool]]:
    """Decorator that enters a function into `RECOGNISERS`."""

    def enter(function: Callable[[Path, str], bool]) -> Callable[[Path, str], bool]:
        RECOGNISERS[reader] = function
        return function

    return enter
