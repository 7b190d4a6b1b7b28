"""Hydra's errors in our words: arguments that it can't read, and unknown keys with the one that was meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from hydra.errors import HydraException, OverrideParseException

from facekp.config.arguments import key_of
from facekp.config.catalog import Catalog
from facekp.config.composing import SUBSETS
from facekp.core.errors import UserError, first_line
from facekp.core.settings import did_you_mean

# Hydra's messages.
AMBIGUOUS = re.compile(r"Ambiguous value for argument '(?P<key>[^=]*)=(?P<value>.*)'")
TWICE = re.compile(r"Multiple values for (\w+)\.")
NOT_REMOVED = re.compile(r"(?:merging override ~|delete from config\. (?:The value of )?')([\w.]+)")
NOT_CHOSEN = re.compile(r"Could not delete '([^'=]+)")
OF_HYDRA = re.compile(r"Error merging override (hydra\..+)")
NOT_SET = re.compile(
    r"(?:Could not (?:override|append to config|delete from config)[^']*'|Error merging override )([^=']+)"
)


def explained(error: BaseException, catalog: Catalog) -> BaseException:
    """An error of composing the config, with the key, the reason and what to write instead.

    Args:
        error: of Hydra; any other is returned unchanged.
        catalog: groups and keys of the command.
    """
    if ambiguous := AMBIGUOUS.search(str(error)):
        key, value = ambiguous["key"], ambiguous["value"]
        return UserError(f"{key}={value}: {_several(key, value, catalog)}")
    if isinstance(error, OverrideParseException):
        return UserError(_unreadable(error))
    if not isinstance(error, HydraException):
        return error
    message = str(error)
    if twice := TWICE.match(message):
        return UserError(f"+{twice[1]}: chooses a second one; leave out the +, {twice[1]}=NAME")
    if (removed := NOT_REMOVED.search(message)) and removed[1] in catalog.all_keys():
        return UserError(f"~{removed[1]}: can't be removed; give it a value: {removed[1]}=VALUE")
    if removed := NOT_CHOSEN.search(message):
        return UserError(f"~{removed[1]}: nothing of this name is chosen; leave it out")
    if refused := OF_HYDRA.search(message):
        return UserError(f"{refused[1]}: {first_line(error.__cause__ or error)}")
    if found := NOT_SET.search(message):
        key = found[1].lstrip("+~")
        inner = getattr(error.__cause__, "full_key", None) or key  # of KEY={...}: the key within it that is refused
        key = inner if inner.startswith(f"{key}.") and key not in catalog.groups else key
        if key in catalog.all_keys() and not message.startswith(("Could not override", "Error merging")):
            return error  # +KEY of a key that exists, which Hydra explains well
        return UserError(f"{key}: {_why_not_set(key, error, catalog)}")
    return error


def _unreadable(error: OverrideParseException) -> str:
    """What is wrong with an argument that Hydra's grammar refuses."""
    if "=" not in error.override:
        return f"{error.override or repr('')}: must be key=value"
    if "while evaluating" in str(error):  # a function's arguments
        reason = str(error).partition("while evaluating")[2].splitlines()[0].partition(":")[2]
        return f"{error.override}: {reason.strip()}"
    return f"{error.override}: can't be read; check blanks, brackets and quotes, e.g. \"key='value'\""


def _why_not_set(key: str, error: HydraException, catalog: Catalog) -> str:
    """Why Hydra can't set, add or remove a key."""
    keys = catalog.all_keys()
    if key in catalog.groups:
        reason = first_line(error.__cause__ or error)
        return f"{reason}; choose a file of this group, {key}=NAME, and set its keys by {key}.KEY=VALUE"
    if key in keys:
        return _why_missing(key, keys[key], catalog)
    if key.startswith("hydra."):  # not listed by --help
        return f"there is no such key yet; check its name, or write +{key}=VALUE to add it"
    if key in ("keypoints", "model") and "ckpt" in keys:  # of facekp.train
        return f"{catalog.command} takes it from the checkpoint; leave out {key}="
    parent, _, name = key.rpartition(".")
    if parent in keys and (parent in SUBSETS or getattr(catalog.entries().get(parent), "default", "") == "null"):
        return f"{parent} has no such key yet; give it as a whole: '{parent}={{{name}: VALUE}}'"
    return f"unknown key{did_you_mean(key, [*catalog.groups, *keys]) or '; --help lists all keys'}"


def _why_missing(key: str, choices: Sequence[str], catalog: Catalog) -> str:
    """Why a known key can't be set.

    Args:
        key: such as ``scheduler.end``.
        choices: those that have it, e.g. ``scheduler=cosine``; none for a key of the command itself.
        catalog: groups and keys of the command.
    """
    name = key.partition(".")[0]
    if not choices:
        return f"another argument or a config file removes {name}; leave one of them out"
    given = {key_of(text): text.partition("=")[2] for text in sys.argv[1:]}
    chosen = f"{name}={given.get(name, catalog.groups[name].default)}"
    if chosen in choices:
        return f"{chosen} has this key, but a config file chooses another one or sets {name} to null; change that file"
    if entry := re.match(r"(.*?)\.\d+\.", key):
        return f"only {', '.join(choices)} has this entry; give the whole list: {entry[1]}=[{{KEY: VALUE}}]"
    return f"only {', '.join(choices)} has this key; ++{key}=VALUE sets it all the same"


def _several(key: str, value: str, catalog: Catalog) -> str:
    r"""What to write instead of values with commas.

    Example:
        >>> from facekp.config.location import CONF_DIR
        >>> train = Catalog("train", [CONF_DIR])
        >>> _several("model", "simcc,hourglass", train)
        'takes one choice; give one of them, or -m for a sweep'
        >>> _several("lr", "1,5e-3", train)
        'write lr=1.5e-3 for one number, lr=[1,5e-3] for a list; a sweep needs -m'
        >>> _several("ckpt", "a,b.ckpt", Catalog("evaluate", [CONF_DIR]))
        'write ckpt=[a,b.ckpt] for a list, "ckpt=\'a,b.ckpt\'" for one text'
    """
    group = catalog.groups.get(key)
    if group is not None and not group.several:
        return f"takes one choice; give one of them{', or -m for a sweep' if catalog.has_sweep else ''}"
    sweep = "; a sweep needs -m" if catalog.has_sweep else ""
    if group is not None:
        return f"write {key}=[{value}] for several{sweep}"
    if re.fullmatch(r"[+-]?\d+,\d+(e[+-]?\d+)?", value, re.IGNORECASE):
        return f"write {key}={value.replace(',', '.')} for one number, {key}=[{value}] for a list{sweep}"
    return f"write {key}=[{value}] for a list, \"{key}='{value}'\" for one text{sweep}"
