"""References to the environment, ``${oc.env:NAME}``: resolved for use, but written as they were given.

What a reference stands for may be a password. So config.yaml, overrides.yaml, sweep.yaml, checkpoints and loggers get
the reference, and messages that would show the value show the reference instead. Numbers stay resolved, because a
resumed run must have the same ones, and so do facekp's own variables, which name folders.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from facekp.core.errors import UserError, first_line

RESOLVER = "oc.env"
FACEKP_PREFIX = "FACEKP_"  # beginning of the names of facekp's own variables
CHECKPOINT_GROUPS = ("keypoints", "model", "loss", "decoder")  # groups whose values are part of every checkpoint
OF_DATA = ("dir", "images", "labels", "box_list", "attribute_list", "partition_list", "cache")
PATH_KEYS = (*OF_DATA, "out", "ckpt", "init_from", "resume")  # last parts of keys of paths
MIN_MASKED_LENGTH = 4  # characters of a value that is replaced in messages; shorter ones occur in other words
PASSWORD = re.compile(r"(\b[A-Za-z][\w+.-]*://[^\s:/@]*:)\S+@")  # of scheme://user:password@host

_MISSING = object()
_read: list[str] = []  # names of the variables that were read since the list was cleared
_given: dict[str, str] = {}  # references of the current config by dotted key
_secrets: dict[str, str] = {}  # values that no message may show, with their references


def _read_variable(key: str, default: Any = _MISSING) -> Any:
    """The value of a variable, as `omegaconf.resolvers.oc.env` returns it; the name is added to ``_read``."""
    _read.append(key)
    return oc.env(key) if default is _MISSING else oc.env(key, default)


def register_env_resolver() -> None:
    """Replace OmegaConf's resolver of ``${oc.env:NAME}`` by one that records which variables are read.

    Call it before a config is composed.
    """
    OmegaConf.register_new_resolver(RESOLVER, _read_variable, replace=True)


def remember_references(cfg: DictConfig) -> None:
    """Remember the references of a composed config, for `with_references` and `masked`.

    Raises:
        UserError: a part of checkpoints refers to the environment.
    """
    register_env_resolver()
    _given.clear()
    for key, text in _interpolations(OmegaConf.to_container(cfg, resolve=False)):
        if key.split(".")[0] == "hydra":
            continue
        value, names = _resolved(cfg, key)
        if not [name for name in names if not name.startswith(FACEKP_PREFIX)]:
            continue
        if key.split(".")[0] in CHECKPOINT_GROUPS:
            raise UserError(
                f"{key}={text}: is part of every checkpoint, so it can't refer to the environment; write the value"
            )
        if isinstance(value, str):
            _given[key] = text
            _keep_secret(key, value, text)


def _keep_secret(key: str, value: str, reference: str) -> None:
    if key.rpartition(".")[2] not in PATH_KEYS and len(value) >= MIN_MASKED_LENGTH:
        _secrets[value] = reference


def _resolved(cfg: DictConfig, key: str) -> tuple[Any, list[str]]:
    """A value, and the names of the variables that it was made of."""
    _read.clear()
    try:
        value = OmegaConf.select(cfg, key)
        if OmegaConf.is_config(value):
            value = str(OmegaConf.to_container(value, resolve=True))
    except OmegaConfBaseException:  # reported when the settings are read
        value = None
    return value, list(_read)


def _interpolations(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and texts of all values that hold a reference of any kind."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _interpolations(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list):
        for position, value in enumerate(values):
            yield from _interpolations(value, f"{path}.{position}")
    elif isinstance(values, str) and "${" in values:
        yield path, values


def with_references(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A copy of plain settings, with each resolved value replaced by its reference, such as ``${oc.env:NAME}``.

    Args:
        values: nested settings, as `facekp.core.settings.Settings.plain` returns them.
        prefix: key of the values in the config, such as ``logger``; empty for a whole config.
    """
    new: dict[str, Any] = deepcopy(dict(values))
    for key, text in _given.items():
        path = key.removeprefix(f"{prefix}.").split(".")
        if not prefix or key.startswith(f"{prefix}."):
            _put(new, path, text)
    return new


def _put(values: Any, path: Sequence[str], text: str) -> None:
    """Replace the text at a path, if there is one."""
    for part in path[:-1]:
        values = _at(values, part)
    if isinstance(_at(values, path[-1]), str):
        values[int(path[-1]) if isinstance(values, list) else path[-1]] = text


def _at(values: Any, part: str) -> Any:
    if isinstance(values, list):
        return values[int(part)] if part.isdecimal() and int(part) < len(values) else None
    return values.get(part) if isinstance(values, Mapping) else None


def resolve_stored_references(values: Mapping[str, Any], allowed: Collection[str] = PATH_KEYS) -> dict[str, Any]:
    """Plain settings of a stored file, which may be untrusted, with their references resolved.

    Args:
        values: nested settings of the file.
        allowed: last parts of keys that may refer to the environment; by default those of paths, which are never sent
            to another machine.

    Raises:
        UserError: another key does, or a variable is not set.
    """
    new: dict[str, Any] = deepcopy(dict(values))
    for key, text in _stored(values):
        if key.rpartition(".")[2] not in allowed:
            raise UserError(f"{key}={text}: refers to the environment, which this file may not read; give {key}=VALUE")
        try:
            value = str(OmegaConf.create({"value": text}).value)
        except OmegaConfBaseException as error:
            reason = first_line(error).rpartition("interpolation: ")[2].strip('"')
            raise UserError(
                f"{key}={text}: can't be resolved ({reason}); set the variable, or give {key}=VALUE"
            ) from error
        _put(new, key.split("."), value)
        _keep_secret(key, value, text)
    return new


def restore_references(values: Mapping[str, Any], changed: Collection[str]) -> None:
    """Replace the remembered references by those of a resumed run's config, except for keys that are changed now.

    Args:
        values: the run's config.yaml, references not resolved.
        changed: keys that the resuming command sets.
    """
    kept = {key: text for key, text in _given.items() if any(f"{key}.".startswith(f"{name}.") for name in changed)}
    _given.clear()
    _given.update({**dict(_stored(values)), **kept})


def _stored(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, text) for key, text in _interpolations(values) if "oc." in text]


def command_line_overrides(hydra: Any) -> list[str]:
    """The overrides of the command line without those of Hydra, with their references."""
    return [str(text) for text in OmegaConf.to_container(hydra.overrides.task, resolve=False)]  # type: ignore[union-attr]


def masked(text: str) -> str:
    """A message without passwords in URLs and without what references stand for.

    Example:
        >>> masked("can't reach postgresql://me:pass@host/runs")
        "can't reach postgresql://me:***@host/runs"
    """
    for value in sorted(_secrets, key=len, reverse=True):  # one value may be a part of another
        text = text.replace(value, _secrets[value])
    return PASSWORD.sub(r"\1***@", text)


class MaskingFilter(logging.Filter):
    """Masks what a handler writes."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if (shown := masked(message)) != message:
            record.msg, record.args = shown, ()
        return True
