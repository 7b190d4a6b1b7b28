"""Command lines of the documentation: found in Markdown, checked against conf/, and run at a small scale."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from facekp.__main__ import COMMANDS, FORMER
from facekp.config.catalog import Catalog
from facekp.config.location import CONF_DIR
from tests.conftest import REPOSITORY, TINY

SMALL = {  # what makes a command quick, unless it sets the key itself
    "train": [override for override in TINY if not override.startswith(("data=", "trainer.max_epochs"))],
    "calibrate": ["data.rows=120"],
    "evaluate": ["data.rows=60"],
    "export": ["data.rows=40", "check=8", "force=true", "decoder=argmax"],  # other rules take twice as long to trace
    "report": ["faces=2", "resamples=100"],
    "data.synthetic": ["data.rows=20", "test_rows=3"],
    "submit": ["refine=false"],  # these networks are unsure of every face, and would search each at four angles
}


def command_lines(page: Path, languages: str = "bash") -> list[str]:
    """Lines of a page's code blocks that call facekp, without comments and with continued lines joined."""
    blocks = re.findall(rf"^```(?:{languages})\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    calls = [re.sub(r"\s+# .*$", "", line).strip() for line in lines]
    return [call for call in calls if call.startswith(("python -m facekp.", "facekp "))]


def name_and_arguments(command: str) -> tuple[str, list[str]]:
    """``python -m facekp.train lr=1`` or ``facekp train lr=1`` as ``train`` and its arguments."""
    words = shlex.split(command)
    if words[0] == "facekp":
        return words[1], words[2:]
    return words[2].removeprefix("facekp."), words[3:]


def small(command: str) -> tuple[str, list[str]]:
    """The command with settings that make it quick; a sweep has two values of each key."""
    name, arguments = name_and_arguments(command)
    more = [] if any(argument.startswith("resume=") for argument in arguments) else list(SMALL.get(name, []))
    if name == "train" and more and not any("max_epochs" in argument for argument in arguments):
        more.append("trainer.max_epochs=1")
    if "hparams_search=optuna" in arguments:
        more.append("hparams_search.trials=2")
    arguments = [re.sub(r"^([^=]+=[^,\[(]+,[^,]+),.*", r"\1", argument) for argument in arguments]  # not more values
    given = {argument.split("=")[0] for argument in arguments}
    return name, [*arguments, *(one for one in more if one.split("=")[0] not in given or "rows" in one)]


def problems(command: str) -> Iterator[str]:
    """What is wrong with a command line, by the config files alone: its name, its choices, its keys."""
    if "\\" in command:
        yield "a backslash that does not end a line"
    name, arguments = name_and_arguments(command)
    if name.startswith("-"):
        return
    if name not in COMMANDS and name not in FORMER:
        yield f"there is no command {name}"
        return
    if any(argument.startswith(("plugins=", "--config-dir")) for argument in arguments):
        return  # other choices and keys than conf/'s
    catalog = Catalog(FORMER.get(name, name).removeprefix("data."), [CONF_DIR])
    keys = {*catalog.all_keys(), *catalog.groups}
    groups = {key.rpartition(".")[0] for key in keys}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key.startswith(("-", "hydra")) or "._target_" in key:
            continue
        if key not in keys and key not in groups and not any(key.startswith(f"{known}.") for known in keys):
            yield f"there is no key {key}"
        if key in catalog.groups and not re.search(r"[\[\]A-Z]", value):
            yield from (
                f"{key} has no choice {one}" for one in value.split(",") if one not in catalog.groups[key].choices
            )


def pages() -> list[Path]:
    """README, CONTRIBUTING and every written page of docs/."""
    generated = ("_build", "settings", "api", "_ext")
    found = sorted(path for path in (REPOSITORY / "docs").rglob("*.md") if not {*path.parts} & {*generated})
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *found]
