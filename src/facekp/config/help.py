"""``--help`` of a command: what it does, its groups with their choices, its keys with default and meaning."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping

from facekp.config.catalog import Catalog

MAX_WIDTH = 120


def render_help(catalog: Catalog, program: str, choices: Mapping[str, str | None] | None = None) -> str:
    """The help text.

    Args:
        catalog: groups and keys of the command.
        program: what was called, e.g. ``facekp train``.
        choices: of groups, as the command line gives them; the keys of these are shown.
    """
    width = min(shutil.get_terminal_size((100, 24)).columns, MAX_WIDTH)
    chosen = {name: (choices or {}).get(name, group.default) for name, group in catalog.groups.items()}
    summary = catalog.summary
    usage = " ".join(filter(None, ["usage:", program, catalog.plain_arguments, "[key=value ...] [options]"]))
    lines = [usage, "", textwrap.fill(summary[:1].upper() + summary[1:], width)]
    if catalog.groups:
        lines += ["", "Groups (GROUP=NAME; * is chosen now):"]
        for name, group in catalog.groups.items():
            words = [f"*{choice}" if choice == chosen[name] else choice for choice in group.choices]
            several = f"; several: {name}=[A,B]" if group.several else ""
            lines += _columns(name, ", ".join(words) + several, width, indent=18)
    entries = catalog.entries(choices)
    lines += ["", "Settings (key=default):"]
    last = ""
    for key, entry in entries.items():
        head = key.split(".")[0] if key.split(".")[0] in catalog.groups else ""
        if head != last:
            lines.append("")
            last = head
        lines += _columns(f"{key}={entry.default}", entry.meaning, width, indent=42)
    lines += ["", *(line for line in OPTIONS if catalog.has_sweep or "--multirun" not in line)]
    return "\n".join(lines)


OPTIONS = (
    "Options:",
    "  -h, --help         this text; with GROUP=NAME it shows the keys of that choice",
    "  -m, --multirun     a sweep: one job for each combination of key=a,b",
    "  --config-dir=DIR   your config files, e.g. DIR/data/mine.yaml for data=mine",
    "  --cfg job          print the composed config and stop",
    "  debug=true         show the traceback of an error",
    "  plugins=[MODULE]   import modules that register networks, losses and so on",
)


def _columns(left: str, right: str, width: int, indent: int) -> list[str]:
    """A term and its text beside it, or below it where the term is long."""
    text = textwrap.wrap(right, max(width - indent, 30)) or [""]
    pad = " " * indent
    term = f"  {left}"
    if len(term) + 1 > indent and text != [""]:
        return [term, *(f"{pad}{line}".rstrip() for line in text)]
    return [f"{term:<{indent}}{text[0]}".rstrip(), *(f"{pad}{line}" for line in text[1:])]
