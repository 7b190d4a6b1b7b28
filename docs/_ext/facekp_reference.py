"""Pages that are generated: each command and config group with its settings, and each package with its modules.

The settings come from the comments in conf/, which ``--help`` shows as well; the modules come from their docstrings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

from facekp.__main__ import COMMANDS
from facekp.config.catalog import Catalog, Entry
from facekp.config.location import CONF_DIR, PACKAGE

PACKAGES = ("training", "reporting", "photos", "runs", "models", "data", "networks", "functional", "config", "core")
CONFIG_NAMES = {f"data.{name}": name for name in ("synthetic", "inspect", "convert")}


def write_pages(app: Sphinx) -> None:
    """Write the generated pages below reference/, where files of the last build are replaced."""
    folder = Path(app.srcdir) / "reference"
    pages = {**settings_pages(), **api_pages()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text() != text:  # unchanged pages are not built again
            path.write_text(text)
    for old in [*folder.glob("settings/*.md"), *folder.glob("api/*.md")]:
        if f"{old.parent.name}/{old.stem}" not in pages:
            old.unlink()


def settings_pages() -> dict[str, str]:
    """A page for each command, a page for each group with all its choices, and an index."""
    catalogs = {name: Catalog(CONFIG_NAMES.get(name, name), [CONF_DIR]) for name in COMMANDS}
    groups = {group: catalog for catalog in catalogs.values() for group in catalog.groups}
    pages = {f"settings/{name.replace('.', '_')}": command_page(name, catalog) for name, catalog in catalogs.items()}
    pages |= {f"settings/group_{group}": group_page(group, catalog) for group, catalog in groups.items()}
    commands = [f"{name} <{name.replace('.', '_')}>" for name in catalogs]
    chosen = [f"{group} <group_{group}>" for group in groups]
    pages["settings/index"] = "\n\n".join(
        [
            "# Settings",
            "Every value is given as `key=value` on the command line. The command line overrides the experiment, which "
            "overrides the group's file. `--help` of a command shows the same text.",
            _toctree("Commands", commands),
            _toctree("Groups", chosen),
        ]
    )
    return pages


def command_page(name: str, catalog: Catalog) -> str:
    """The groups and the command's own keys."""
    lines = [f"# facekp {name}", "", catalog.summary[:1].upper() + catalog.summary[1:], ""]
    if catalog.groups:
        lines += ["| group | choices (the default is bold) |", "|---|---|"]
        for group in catalog.groups.values():
            words = [f"**{choice}**" if choice == group.default else choice for choice in group.choices]
            lines.append(f"| [{group.name}](group_{group.name}.md) | {', '.join(words)} |")
        lines.append("")
    own = {key: entry for key, entry in catalog.entries().items() if key.split(".")[0] not in catalog.groups}
    return "\n".join([*lines, *_table(own)]) + "\n"


def group_page(group: str, catalog: Catalog) -> str:
    """Every choice of a group with its keys."""
    lines = [f"# {group}", ""]
    for choice in catalog.groups[group].choices:
        entries = catalog.choice(group, choice)
        lines += [f"## {group}={choice}", "", _summary(group, choice), ""]
        lines += _table({f"{group}.{key}": entry for key, entry in entries.items()}) if entries else []
        lines.append("")
    return "\n".join(lines)


def _summary(group: str, choice: str) -> str:
    """The comment at the top of a choice's file."""
    text = (CONF_DIR / group / f"{choice}.yaml").read_text(encoding="utf-8")
    comments = []
    for line in text.splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        comments.append(line.lstrip("# "))
    return _escaped(" ".join(comments))


def _table(entries: dict[str, Entry]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for key, entry in entries.items():
        default = f"`{entry.default}`".replace("|", "\\|") if entry.default else ""
        yield f"| `{key}` | {default} | {_escaped(entry.meaning)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")


def api_pages() -> dict[str, str]:
    """A page for each package, with every public module that has a docstring of its own."""
    pages = {}
    for package in PACKAGES:
        modules = [_module_name(path) for path in sorted((PACKAGE / package).rglob("*.py")) if _is_public(path)]
        parts = [f"# facekp.{package}", _package_summary(package)]
        parts += [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```" for name in modules]
        pages[f"api/{package}"] = "\n\n".join(part for part in parts if part) + "\n"
    pages["api/index"] = "\n\n".join(
        [
            "# Python API",
            "`facekp.KeypointPredictor` is what most programs need. The packages are listed from top to bottom: each "
            "uses only those below it.",
            _toctree("", list(PACKAGES)),
        ]
    )
    return pages


def _package_summary(package: str) -> str:
    return ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text())) or ""


def _is_public(path: Path) -> bool:
    return not path.name.startswith("_")


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _toctree(caption: str, entries: list[str]) -> str:
    options = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":maxdepth: 1", *options, "", *entries, "```"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
