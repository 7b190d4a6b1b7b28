"""What can be chosen and set: the YAML files of conf/ and of ``--config-dir``, read as text.

A key's default and meaning are written once, in its YAML file, as ``key: value  # meaning``. Help, shell completion and
the hints of error messages read them from there, without composing a config and without importing what uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.plain_files import DamagedFile, parse_yaml, read_text
from facekp.core.settings import flatten

LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+): *(?P<value>.*?)(?: +# *(?P<meaning>.*))?$")
ITEM = re.compile(r"^(?P<indent> *)- (?=[\w.]+:)")  # the first line of a mapping in a list


@dataclass(frozen=True)
class Entry:
    """One setting: its default as the file has it, and its meaning; both may be empty."""

    default: str
    meaning: str


@dataclass
class Group:
    """A config group of a command.

    Attributes:
        name: such as ``optimizer``.
        default: the choice of the command; None: no choice.
        choices: names of all files.
        several: whether a list of choices can be given, ``logger=[csv,wandb]``: the defaults list has a list too.
    """

    name: str
    default: str | None
    choices: list[str] = field(default_factory=list)
    several: bool = False


def config_folders(arguments: Sequence[str]) -> list[Path]:
    """Folders that are searched for config files: those of ``--config-dir`` first."""
    found = []
    for i, argument in enumerate(arguments):
        if argument.startswith(("--config-dir=", "-cd=")):
            found.append(Path(argument.split("=", 1)[1]))
        elif argument in ("--config-dir", "-cd") and i + 1 < len(arguments):
            found.append(Path(arguments[i + 1]))
    return [*found, CONF_DIR]


class Catalog:
    """The settings of one command.

    Args:
        command: name of its primary config, e.g. ``train``.
        folders: of config files; the first that holds a file counts.
        extra: choices that plug-ins bring, by group: each choice's plain values.
    """

    def __init__(
        self, command: str, folders: Sequence[Path], extra: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None
    ) -> None:
        self.command, self.folders, self.extra = command, folders, extra or {}
        path = self._find(command)
        self.text = _read_text(path) if path else ""
        self.groups = {group.name: group for group in self._groups()}

    @property
    def summary(self) -> str:
        """What the command does: the comment at the top of its file."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("# "))
        return " ".join(lines).partition(": ")[2] or " ".join(lines)

    @property
    def has_sweep(self) -> bool:
        """Whether ``-m`` starts a sweep."""
        return "sweep.resume" in _read_entries(self.text)

    @property
    def plain_arguments(self) -> str:
        """What is given besides key=value, e.g. ``photo.jpg ...``; empty for most commands."""
        call = re.match(r"# python -m facekp\.[\w.]+ ?(.*?): ", self.text)
        words = call[1].split() if call else []
        return " ".join(word.replace("…", "...") for word in words if "=" not in word)

    def entries(self, choices: Mapping[str, str | None] | None = None) -> dict[str, Entry]:
        """Every key with its default and meaning.

        Args:
            choices: groups of which another choice than the default is meant.
        """
        found = _read_entries(self.text)
        for name, group in self.groups.items():
            choice = (choices or {}).get(name, group.default)
            if choice is not None and name != "experiment":
                found |= {f"{name}.{key}": entry for key, entry in self.choice(name, choice).items()}
        return {key: entry for key, entry in found.items() if not key.startswith(("hydra", "defaults"))}

    def choice(self, group: str, name: str) -> dict[str, Entry]:
        """The keys of one choice of a group, below the group."""
        if name in self.extra.get(group, {}):
            return {key: Entry(_text(value), "") for key, value in flatten(self.extra[group][name]).items()}
        path = self._find(f"{group}/{name}")
        return {} if path is None else self._with_inherited(path, group)

    def all_keys(self) -> dict[str, list[str]]:
        """Every key of every choice, with the choices (``group=name``) that have it; [] for the command's own."""
        keys: dict[str, list[str]] = {key: [] for key in _read_entries(self.text) if not key.startswith("hydra")}
        for name, group in self.groups.items():
            for choice in group.choices if name != "experiment" else ():
                for key in self.choice(name, choice):
                    keys.setdefault(f"{name}.{key}", []).append(f"{name}={choice}")
        return keys

    def _groups(self) -> Iterator[Group]:
        for default in _defaults(self.text):
            if not isinstance(default, Mapping):
                continue
            ((name, choice),) = default.items()
            name = str(name).removeprefix("optional ")
            if not name.startswith("override "):
                several = isinstance(choice, list)
                yield Group(name, choice[0] if several else choice, self.choices(name), several)

    def choices(self, group: str) -> list[str]:
        """Names of the files of a group, in folders below it too, and of plug-ins."""
        found: dict[str, None] = {}
        for folder in self.folders:
            place = folder / group
            for path in sorted(place.rglob("*.yaml")):
                found[path.relative_to(place).with_suffix("").as_posix()] = None
        return [*found, *(name for name in self.extra.get(group, {}) if name not in found)]

    def _find(self, name: str) -> Path | None:
        paths = (folder / f"{name}.yaml" for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def _with_inherited(self, path: Path, group: str) -> dict[str, Entry]:
        """The entries of a file, over those of the files that its defaults list names."""
        text = _read_text(path)
        found: dict[str, Entry] = {}
        for default in _defaults(text):
            if not isinstance(default, str) or default == "_self_":
                continue
            name = default.partition("@")[0]
            below = Path(name.lstrip("/")).parent.as_posix() if name.startswith("/") else group
            inherited = self._find(name.lstrip("/") if name.startswith("/") else f"{group}/{name}")
            if inherited is not None:
                found |= self._with_inherited(inherited, below)
        own = _read_entries(text)
        if "@package _global_" in text:
            own = {key.removeprefix(f"{group}."): entry for key, entry in own.items() if key.startswith(f"{group}.")}
        own_lists = {key.partition(".0.")[0] for key in own if ".0." in key}  # they replace inherited ones
        found = {key: entry for key, entry in found.items() if key not in own_lists}
        for key, entry in own.items():
            meaning = entry.meaning or (found[key].meaning if key in found else "")
            found[key] = Entry(entry.default, meaning)
        return found


def _read_text(path: Path) -> str:
    """The text of a config file.

    Raises:
        UserError: it is too large, not UTF-8, or no regular file.
    """
    try:
        return read_text(path)
    except DamagedFile as error:
        raise UserError(f"{path}: {error}") from error


def _defaults(text: str) -> list[Any]:
    """The defaults list of a config file; empty where the text is not valid, which Hydra's reader reports."""
    try:
        values = parse_yaml(text)
    except DamagedFile:
        return []
    defaults = values.get("defaults") if isinstance(values, Mapping) else None
    return defaults if isinstance(defaults, list) else []


def _read_entries(text: str) -> dict[str, Entry]:
    """Keys with dots, their values and comments, of a YAML text; block lists of plain values are left out.

    A mapping in a list has its position as its key: ``transforms.0.name``.
    """
    found: dict[str, Entry] = {}
    path: list[tuple[int, str]] = []  # (indent, key) of the mappings that are open
    items: dict[str, int] = {}  # of lists, by their key
    last = ""
    for line in text.splitlines():
        if (item := ITEM.match(line)) and path and path[0][1] != "defaults":
            _open_item(path, items, len(item["indent"]))
            line = line.replace("- ", "  ", 1)
        # A comment far to the right continues the meaning of the key above it.
        if last and (more := re.match(r"^ {8,}# ?(.*)$", line)):
            entry = found[last]
            found[last] = Entry(entry.default, f"{entry.meaning} {more[1]}".strip())
            continue
        # A key: close the mappings that it is not in, and open a new one if it has no value.
        match = LINE.match(line)
        if match is None:
            last = "" if line.strip() and not line.lstrip().startswith(("-", "#")) else last
            continue
        indent, value, meaning = len(match["indent"]), match["value"].strip(), (match["meaning"] or "").strip()
        while path and path[-1][0] >= indent:
            path.pop()
        key = _key([*path, (indent, match["key"])])
        if value.startswith("# "):
            value, meaning = "", value.removeprefix("# ")
        if value in ("", "|", ">"):
            path.append((indent, match["key"]))
        found[key] = Entry(value, meaning)
        last = key
    # Keys that only hold others have no entry.
    parents = {parent for key in found for parent in accumulate(key.split(".")[:-1], "{}.{}".format)}
    shown = {key for key, entry in found.items() if entry.default or key not in parents} - {"defaults"}
    return {key: entry for key, entry in found.items() if key in shown}


def _open_item(path: list[tuple[int, str]], items: dict[str, int], indent: int) -> None:
    """Close the previous mapping of a list, and open the next one under its position.

    Args:
        path: (indent, key) of the mappings that are open; changed in place.
        items: position of the last mapping of each list; changed in place.
        indent: columns before the hyphen.
    """
    while path[-1][0] > indent or path[-1] == (indent, str(items.get(_key(path[:-1])))):
        path.pop()
    key = _key(path)
    items[key] = items.get(key, -1) + 1
    path.append((indent, str(items[key])))


def _key(path: Sequence[tuple[int, str]]) -> str:
    """The dotted key of open mappings."""
    return ".".join(name for _, name in path)


def _text(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("\n").removesuffix("\n...")
