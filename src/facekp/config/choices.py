"""Choices of config groups (``model=simcc``, ``~logger``), checked before and after Hydra composes the config.

Hydra lets some invalid choices pass, and ends others with a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from facekp.config.arguments import key_of
from facekp.config.catalog import Catalog, Group
from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.settings import did_you_mean

FOLDERS = {path.name for path in CONF_DIR.iterdir() if path.is_dir()}  # each holds the choices of a group


def check_choices(catalog: Catalog, arguments: Sequence[str]) -> None:
    """Refuse choices that do not exist, and arguments that remove a group.

    Raises:
        UserError: a group has no such choice, or can't be removed.
    """
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = name.lstrip("+")
        if not name.strip("~") and equals:
            raise UserError(f"{argument}: must be key=value; the key is empty, as an unset variable is")
        group = catalog.groups.get(name)
        if name.startswith("~"):
            _check_removal(catalog, argument)
        elif value == "null" and group is None and (re.search(r"[/@]", name) or name in FOLDERS):
            raise UserError(f"{argument}: a group of config files needs the name of one, not null; leave it out")
        elif group is not None and equals:
            _check_value(catalog, group, re.sub(r"""^(['"])([\w/.-]*)\1$""", r"\2", value))


def without_null_choices(catalog: Catalog, arguments: Sequence[str]) -> list[str]:
    """The arguments without ``experiment=null`` of a group without a default, which Hydra refuses.

    Earlier choices of the group are left out too, as the last one counts.

    Example:
        >>> train = Catalog("train", [CONF_DIR])
        >>> without_null_choices(train, ["experiment=cpu", "lr=1", "+experiment=null", "teacher=null"])
        ['lr=1', 'teacher=null']
    """
    kept: list[str] = []
    for argument in arguments:
        name, _, value = argument.lstrip("+").partition("=")
        if value == "null" and name in catalog.groups and catalog.groups[name].default is None:
            kept = [text for text in kept if key_of(text) != name]
        else:
            kept.append(argument)
    return kept


def with_quoted_choices(catalog: Catalog, arguments: Sequence[str]) -> list[str]:
    """The arguments with quotes around choices that Hydra would take for numbers or truth values.

    Example:
        >>> train = Catalog("train", [CONF_DIR])
        >>> train.groups["experiment"].choices.append("42")
        >>> with_quoted_choices(train, ["experiment=42", "seed=42"])
        ["experiment='42'", 'seed=42']
    """
    parser = OverridesParser.create()

    def is_text(choice: str) -> bool:
        return isinstance(parser.parse_override(f"key={choice}").value(), str)

    new: list[str] = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        group = catalog.groups.get(name.lstrip("+"))
        choices = () if group is None else [choice for choice in re.split(r"[\[\],]", value) if choice in group.choices]
        for choice in {choice for choice in choices if re.fullmatch(r"[\w.+-]+", choice) and not is_text(choice)}:
            value = re.sub(rf"(?<![^\[,]){re.escape(choice)}(?![^\],])", f"'{choice}'", value)
        new.append(f"{name}={value}" if choices else argument)
    return new


def check_composed(cfg: DictConfig) -> None:
    """Refuse a config file that puts null in the place of a group, and an experiment without a package.

    Args:
        cfg: composed, with Hydra's part.

    Raises:
        UserError: names the group or the experiment, and what to change in the file.
    """
    for group in FOLDERS:
        if group in cfg and cfg[group] is None:
            raise UserError(
                f"{group}=null: a config file sets it; remove this line, or choose a file of the group in its defaults "
                f"list: override /{group}: NAME"
            )
    experiment = cfg.hydra.runtime.choices.get("experiment")
    if experiment is not None and "experiment" in cfg:
        raise UserError(
            f"experiment={experiment}: the file is empty or its first line is missing; begin it with "
            "'# @package _global_'"
        )


def _check_removal(catalog: Catalog, argument: str) -> None:
    """Refuse ``~GROUP``: every command needs its groups."""
    group = catalog.groups.get(key_of(argument).partition("@")[0])
    if group is None:
        return
    if group.default is None:
        raise UserError(f"{argument}: nothing is chosen, so nothing can be removed; leave it out")
    if "none" in group.choices:
        raise UserError(f"{argument}: a group can't be removed; write {group.name}=none")
    raise UserError(
        f"{argument}: a group can't be removed; leave it out, or choose one: {group.name}={'|'.join(group.choices)}"
    )


def _check_value(catalog: Catalog, group: Group, value: str) -> None:
    if re.search(r"[(){}$'\"]", value):  # a function, a reference or quotes: Hydra reads them
        return
    for job in re.findall(r"\[[^\[\]]*\]|[^,\[\]]+", value) or [""]:  # A,B of a sweep; each a name or a list of names
        if job.startswith("[") and not group.several:
            raise UserError(
                f"{group.name}={job}: takes one choice, not a list; choose one of {', '.join(group.choices)}"
            )
        for choice in job.strip("[]").split(","):
            _check_choice(group, choice.strip().removesuffix(".yaml"))
            _check_hidden(catalog.folders, group.name, choice.strip().removesuffix(".yaml"))


def _check_choice(group: Group, choice: str) -> None:
    if choice in group.choices:
        return
    hint = "none" if choice in ("null", "") and "none" in group.choices else None
    meant = f"; did you mean {hint}?" if hint else did_you_mean(choice, group.choices)
    if choice not in ("null", ""):
        meant = meant or (
            f"; your own files need --config-dir=DIR, with DIR/{group.name}/{choice}.yaml, and plug-ins "
            "plugins=[MODULE]"
        )
    raise UserError(f"{group.name}={choice}: there is no such choice; choose one of {', '.join(group.choices)}{meant}")


def _check_hidden(folders: Sequence[Path], group: str, choice: str) -> None:
    """Refuse a choice that a user's file and facekp both have: Hydra takes facekp's.

    Raises:
        UserError: there are two such files.
    """
    name = Path(group, f"{choice}.yaml")
    *users, shipped = [folder / name for folder in folders]
    own = next((path for path in users if path.is_file() and shipped.is_file() and not path.samefile(shipped)), None)
    if own is not None and own.read_bytes() != shipped.read_bytes():
        raise UserError(
            f"{group}={choice}: facekp has a choice of this name, which would be taken instead of {own}; rename it"
        )
