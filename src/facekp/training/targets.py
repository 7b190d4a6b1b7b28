"""Callbacks and loggers of other packages, named in the config by their class.

A group that derives from `SettingsWithTargets` takes, beside its own keys, entries of this form::

    callbacks:
      lr_monitor:
        _target_: pytorch_lightning.callbacks.LearningRateMonitor
        logging_interval: step

The other keys of an entry are the arguments of the class. `build_targets` imports the class, checks that it is a
Lightning ``Callback`` (or ``Logger``), and only then calls it. This module itself imports neither torch nor Lightning.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from facekp.config.plugins import search_working_directory
from facekp.core.errors import UserError, first_line
from facekp.core.settings import Settings, unknown_key

T = TypeVar("T")
TARGET = "_target_"
ARGUMENTS = "_args_"  # positional arguments, as in Hydra


class SettingsWithTargets(Settings):
    """Settings of a group to which ``NAME: {_target_: package.Class, ...}`` may be added.

    Other unknown keys are refused with the nearest name. A ``_target_`` inside an entry and Hydra's other special keys
    are refused too: they would call something that is not checked.

    Example:
        >>> from facekp.core.settings import parse
        >>> class Group(SettingsWithTargets):
        ...     progress: bool
        >>> parse(Group, {"progress": True, "mine": {"_target_": "package.Class", "size": 2}}, "callbacks").targets
        {'mine': {'_target_': 'package.Class', 'size': 2}}
        >>> parse(Group, {"progress": True, "progres": False}, "callbacks")
        Traceback (most recent call last):
        ...
        facekp.core.errors.UserError: callbacks.progres: unknown key; did you mean progress?
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, Any]]

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """The added entries by name: ``_target_`` and the arguments."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        known = list(cls.model_fields)
        added = {key: value for key, value in values.items() if key not in known} if isinstance(values, Mapping) else {}
        for name, entry in added.items():
            if not isinstance(entry, Mapping):
                raise _problem(str(name), unknown_key(str(name), known))
            if TARGET not in entry:
                hint = unknown_key(str(name), known)
                raise _problem(str(name), f"{hint}; to add a class, give {name}.{TARGET}=package.Class")
            if not isinstance(entry[TARGET], str):
                raise _problem(f"{name}.{TARGET}", "must be the name of a class, e.g. package.module.Class")
            for key in _special_keys(entry):
                if key not in (TARGET, ARGUMENTS):
                    raise _problem(f"{name}.{key}", "not supported here; give plain values as arguments")
        return values


def _problem(key: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})


def _special_keys(value: Any, path: str = "") -> Iterator[str]:
    """Keys of the form ``_name_`` anywhere inside of a value, with dots."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if str(key).startswith("_") and str(key).endswith("_"):
                yield f"{path}{key}"
            yield from _special_keys(inner, f"{path}{key}.")
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _special_keys(inner, path)


def build_targets(settings: SettingsWithTargets, group: str, base: type[T]) -> list[T]:
    """Create the added callbacks or loggers.

    Args:
        settings: of the group, with those of the added classes.
        group: its config key, for messages.
        base: the class that each must derive from.

    Raises:
        UserError: a class does not exist, does not derive from ``base``, or refuses its arguments. A class that does
            not derive from ``base`` is not called.
    """
    classes = find_targets(settings, group, base)
    return [_call(f"{group}.{name}", found, settings.targets[name]) for name, found in classes.items()]


def find_targets(settings: SettingsWithTargets, group: str, base: type[T]) -> dict[str, type[T]]:
    """The checked classes of the added entries by name, not called; arguments and errors as for `build_targets`."""
    return {name: _find_class(f"{group}.{name}.{TARGET}", entry, base) for name, entry in settings.targets.items()}


def _find_class(key: str, entry: Mapping[str, Any], base: type[T]) -> type[T]:
    target = entry[TARGET]
    search_working_directory()
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:  # also whatever the module itself raises
        raise UserError(f"{key}={target}: can't be imported: {first_line(error)}") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise UserError(
            f"{key}={target}: is not a pytorch_lightning {base.__name__} class, and was not called; name a "
            "subclass of it"
        )
    return found


def _call(key: str, found: type[T], entry: Mapping[str, Any]) -> T:
    arguments = {name: value for name, value in entry.items() if name not in (TARGET, ARGUMENTS)}
    try:
        return found(*entry.get(ARGUMENTS, ()), **arguments)
    except Exception as error:  # of another package's code
        raise UserError(f"{key}: {found.__name__} can't be created: {first_line(error)}") from error
