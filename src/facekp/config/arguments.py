"""Command lines as people write them, turned into what Hydra's grammar takes.

- Values with characters that Hydra's grammar lacks are quoted: ``out=übung``, ``ckpt=epoch=3.ckpt``, ``ckpt=~/a.ckpt``.
- Keys of a group whose choice is swept are added: ``-m optimizer=sgd,muon optimizer.momentum=0.9``.
- Launchers of packages that are not installed are reported with the extra that has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from facekp.config.catalog import Catalog
from facekp.core.errors import UserError
from facekp.core.settings import did_you_mean

LAUNCHERS = {  # by name: the extra of facekp, and the module that Hydra imports
    "joblib": ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    "submitit_local": ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    "submitit_slurm": ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    "ray": ("ray", "ray"),
}
LAUNCHER = "hydra/launcher="
RANGE = re.compile(r"(interval|range)\(.*\)", re.DOTALL)  # no text: Hydra says what is wrong with it
SETTING = re.compile(r"(?P<key>[+~]*[\w./@-]+)=(?P<value>.+)", re.DOTALL)


def quoted(arguments: Sequence[str]) -> list[str]:
    """Quote values that Hydra can't parse; with ``-m`` each part of a list of values.

    Example:
        >>> quoted(["lr=1e-3", "ckpt=epoch=3.ckpt", "ckpt=[modèle.ckpt,b.ckpt]"])
        ['lr=1e-3', "ckpt='epoch=3.ckpt'", "ckpt=['modèle.ckpt',b.ckpt]"]
        >>> quoted(["-m", "ckpt=ü.ckpt,b.ckpt"])
        ['-m', "ckpt='ü.ckpt',b.ckpt"]
    """
    is_sweep = is_multirun(arguments)
    parser = OverridesParser.create()
    return [_quoted_argument(text, is_sweep, parser) for text in arguments]


def key_of(override: str) -> str:
    """The key of an override ``key=value``, without Hydra's signs for adding and removing."""
    return override.partition("=")[0].lstrip("+~")


def is_multirun(arguments: Sequence[str]) -> bool:
    return any(argument in ("-m", "--multirun") for argument in arguments)


def _quoted_argument(argument: str, is_sweep: bool, parser: OverridesParser) -> str:
    setting = SETTING.fullmatch(argument)
    if setting is None or RANGE.fullmatch(setting["value"]) or _parses(argument, parser):
        return argument
    key, value = setting["key"], setting["value"]
    if value.startswith("choice(") and value.endswith(")"):  # which drops quotes
        value = value[len("choice(") : -1]
    values = _split(value) if is_sweep else [value]
    new = f"{key}={','.join(_quoted_value(one, parser) for one in values)}"
    return new if _parses(new, parser) else argument


def _quoted_value(value: str, parser: OverridesParser) -> str:
    """A value, with quotes around those texts in it that Hydra can't parse."""
    value = value.strip()
    if _parses(f"key={value}", parser):
        return value
    if value.startswith("[") and value.endswith("]"):
        return f"[{','.join(_quoted_value(item, parser) for item in _split(value[1:-1]))}]"
    if value.startswith("{") and value.endswith("}"):
        pairs = [item.partition(":") for item in _split(value[1:-1])]
        return f"{{{','.join(f'{key}:{_quoted_value(item, parser)}' for key, _, item in pairs)}}}"
    return "'" + value.replace("'", "\\'") + "'"


def _split(text: str) -> list[str]:
    """The parts of a text between its commas; those within quotes or brackets do not count.

    In a text whose brackets do not match, all commas count.

    Example:
        >>> _split("a,[b,c],'d,e'")
        ['a', '[b,c]', "'d,e'"]
    """
    parts, depth, quote = [""], 0, ""
    for character, before in zip(text, " " + text, strict=False):
        if quote:
            quote = "" if character == quote and before != "\\" else quote
        elif character in "'\"" and not parts[-1].strip("[{( "):  # else an apostrophe
            quote = character
        elif character == "," and depth == 0:
            parts.append("")
            continue
        else:
            depth += (character in "[{(") - (character in "]})")
        parts[-1] += character
    return parts if depth == 0 else text.split(",")


def _parses(argument: str, parser: OverridesParser) -> bool:
    try:
        parser.parse_override(argument)
    except HydraException:
        return False
    return True


def add_keys_of_swept_groups(arguments: Sequence[str], catalog: Catalog) -> list[str]:
    """Write ``optimizer.momentum=0.9`` with ``++`` where the optimiser is swept; Hydra knows the default choice only.

    Raises:
        UserError: one of the swept choices lacks the key.
    """
    if not is_multirun(arguments):
        return list(arguments)
    given = dict(argument.split("=", 1) for argument in arguments if re.match(r"\w+=", argument))
    swept = {
        name: [choice.strip() for choice in value.removeprefix("choice(").removesuffix(")").split(",")]
        for name, value in given.items()
        if name in catalog.groups and "," in value and "[" not in value
    }
    return [_added(argument, swept, catalog) for argument in arguments]


def _added(argument: str, swept: dict[str, list[str]], catalog: Catalog) -> str:
    key = argument.partition("=")[0]
    group, _, name = key.partition(".")
    if group not in swept or not name or "=" not in argument:
        return argument
    known = {choice: catalog.choice(group, choice) for choice in swept[group]}
    lacking = [choice for choice, keys in known.items() if name not in keys and choice in catalog.groups[group].choices]
    if lacking and len(lacking) < len(known):
        raise UserError(
            f"{key}: {group}={lacking[0]} does not have this key; start a separate sweep for the choices that have it"
        )
    if lacking:
        keys = {name for choice in known.values() for name in choice}
        raise UserError(f"{key}: unknown key{did_you_mean(name, keys) or '; --help lists all keys'}")
    return f"++{argument}"


def check_launcher(arguments: Sequence[str]) -> None:
    """Refuse a launcher whose package is not installed.

    Raises:
        UserError: the launcher's package is not installed.
    """
    for argument in arguments:
        extra, module = LAUNCHERS.get(argument.removeprefix(LAUNCHER), ("", ""))
        if argument.startswith(LAUNCHER) and module and not _is_installed(module):
            raise UserError(f"{argument}: is not installed; pip install 'facekp[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package above it
        return False
