"""``resume=DIR`` and ``rerun=DIR`` on a command line: a run's settings are kept; what may differ is listed here.

The paths of the data and of the teacher may differ. A resumed run may also change its number of epochs and the settings
of the machine, so that its folder can be copied to another machine. Every training reads its command line through this
module, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, OmegaConf

from facekp.config.arguments import key_of
from facekp.core.errors import UserError
from facekp.core.settings import flatten
from facekp.runs.folder import RunFolder, command_line

RESUME, RERUN = "resume", "rerun"
AUTO = "auto"  # resume=auto out=DIR: continue the run in DIR, or start it
LISTS = ("data.box_list", "data.attribute_list", "data.partition_list")  # of CelebA
DATA_FILES = ("data.dir", "data.images", "data.labels", *LISTS)  # where the data are
DATA_PATHS = (*DATA_FILES, "data.cache", "data.anywhere")
TEACHER = "teacher.ckpt"
RUN_DIR = "hydra.run.dir"
JOB_FOLDER = "FACEKP_JOB_FOLDER"  # in the environment of a job's own process: its folder, which the sweep has locked
OF_MACHINE = "accelerator devices num_nodes strategy precision channels_last compile cuda_graph fast_cpu"
MACHINE = tuple(f"trainer.{key}" for key in OF_MACHINE.split())
# What may change when a folder is moved to another place or machine. Another precision gives other results.
MOVED = (*DATA_PATHS, TEACHER, *(key for key in MACHINE if key != "trainer.precision"))
CLASS = re.compile(r"(callbacks|logger)\.\w+\._target_")  # names code, so no file may give it
CHANGEABLE = {  # of the run's settings
    RESUME: ("trainer.max_epochs", *MACHINE, *DATA_PATHS, TEACHER),
    RERUN: ("callbacks.progress", *DATA_PATHS, TEACHER, "init_from"),
}
NOT_SETTINGS = {  # of this command, not of the run
    RESUME: (RESUME, "debug", "plugins"),
    RERUN: (RERUN, "debug", "plugins", "out", "overwrite"),
}


def allow_keys_of_the_run(arguments: Sequence[str]) -> list[str]:
    """Beside ``resume=`` or ``rerun=``, write ``data.images=DIR`` with ``++``.

    Hydra composes the default reader there, which may lack this key.

    Example:
        >>> allow_keys_of_the_run(["resume=outputs/first", "data.images=photos"])
        ['resume=outputs/first', '++data.images=photos']
    """
    of_run = any(key_of(text) in (RESUME, RERUN) and not text.endswith("=null") for text in arguments)
    return [f"++{text.lstrip('+')}" if of_run and key_of(text) in DATA_PATHS else text for text in arguments]


def check_run_dir(arguments: Sequence[str]) -> None:
    """Refuse ``hydra.run.dir=``, except in the process of a job: nothing would protect the files of that folder.

    Raises:
        UserError: a folder is named in this way.
    """
    for text in arguments:
        folder = text.partition("=")[2].strip("'\"")
        # Lightning gives "." or the job's folder to the processes that it starts.
        if key_of(text) == RUN_DIR and folder not in (".", os.environ.get(JOB_FOLDER)):
            key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(arguments) else "out"
            raise UserError(f"{text}: name the folder by {key}={folder}")


def is_repeated(key: str) -> bool:
    """Whether an argument is given again when its run is resumed, because no file may name code.

    Example:
        >>> is_repeated("callbacks.mine._target_"), is_repeated("callbacks.patience")
        (True, False)
    """
    return key == "plugins" or CLASS.fullmatch(key) is not None


def resume_text(folder: object, plugins: Sequence[str]) -> str:
    """The arguments that resume a run, for messages; plug-ins and classes of callbacks and loggers must be given again.

    Example:
        >>> resume_text("outputs/first", ["mine"])
        'resume=outputs/first plugins=[mine]'
    """
    return " ".join([f"resume={folder}", *([f"plugins=[{','.join(plugins)}]"] if plugins else []), *_classes(folder)])


def _classes(folder: object) -> list[str]:
    """The arguments of a run that name classes of callbacks and loggers."""
    try:
        return [text.lstrip("+") for text in RunFolder(str(folder)).read_overrides() if CLASS.fullmatch(key_of(text))]
    except UserError:
        return []


def changed_settings(folder: str, cfg: DictConfig, overrides: Sequence[str], key: str = RESUME) -> dict[str, Any]:
    """What a run's settings are changed to, by dotted key; ``logger`` is a whole group.

    A class that the run has already is no change.

    Args:
        folder: of the run.
        cfg: what Hydra composed of the command line.
        overrides: overrides of the command line.
        key: ``resume`` or ``rerun``.

    Raises:
        UserError: a setting can't be changed when a run is resumed or repeated.
    """
    keys: list[str] = []
    known = set(_classes(folder))
    for name, text in ((key_of(text), text.lstrip("+")) for text in overrides):
        if text in known:
            continue
        if name.split(".")[0] == "logger":
            keys.append("logger")
        elif name == "trainer" and key == RESUME:
            keys += MACHINE
        elif name in CHANGEABLE[key]:
            keys.append(name)
        elif name not in NOT_SETTINGS[key] and not is_repeated(name):
            done = "resumed" if key == RESUME else "repeated"
            raise UserError(
                f"{key}={folder}: {name} can't be changed when a run is {done}; leave it out, or start a new run"
            )
    return {name: _plain(OmegaConf.select(cfg, name)) for name in keys}


def may_change(overrides: Sequence[str]) -> list[str]:
    """Those overrides that may be given with ``resume=``.

    Example:
        >>> may_change(["lr=1e-3", "trainer=gpu", "trainer.max_epochs=20", "logger=wandb"])
        ['trainer=gpu', 'trainer.max_epochs=20', 'logger=wandb']
    """
    allowed = ("trainer", "debug", "plugins", *CHANGEABLE[RESUME])
    return [text for text in overrides if (key := key_of(text)) in allowed or key.split(".")[0] == "logger"]


def moved_keys(folder: RunFolder, overrides: Sequence[str]) -> list[str]:
    """Keys of `MOVED` that a resumed run must be given again; it keeps its other settings. Its paths are absolute.

    Args:
        folder: of the run.
        overrides: of this command line.

    Returns:
        keys of the machine among the overrides; keys of paths that the run did not have, or that do not exist any more.
    """
    try:
        config, before = flatten(folder.read_config()), folder.read_overrides()
    except UserError:  # reported when the run is resumed
        return list(MOVED)
    paths = (*DATA_PATHS, TEACHER)
    given = [key_of(text) for text in overrides if key_of(text) not in paths or text not in before]
    return [key for key in MOVED if key in given or (key in paths and not _exists(config.get(key)))]


def _exists(value: Any) -> bool:
    """Whether all paths of a setting exist; true for a setting that holds no path."""
    paths = value if isinstance(value, list) else [value]
    return all(os.path.exists(path) for path in paths if isinstance(path, str))


def first_difference(folder: RunFolder, ignored: Sequence[str]) -> str | None:
    """The first setting by which this command line differs from that of the run in a folder; None: none does.

    Args:
        folder: folder of the run.
        ignored: keys that may differ.

    Raises:
        UserError: the run's command line can't be read.

    Returns:
        ``lr: 1e-3; here: 5e-4``.
    """
    before, now = ({k: v for k, v in _values(each).items() if k not in ignored} for each in _command_lines(folder))
    for key in (*before, *now):
        if before.get(key) != now.get(key):
            return f"{key}: {before.get(key, 'not given')}; here: {now.get(key, 'not given')}"
    return None


def _command_lines(folder: RunFolder) -> tuple[list[str], list[str]]:
    return folder.read_overrides(), command_line()


def _values(overrides: Sequence[str]) -> dict[str, str]:
    """Value by key of overrides."""
    return {key_of(override): override.partition("=")[2].strip("'\"") for override in overrides}


def with_changes(config: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested values, with others at some dotted keys.

    Raises:
        UserError: the values lack the group of a key.

    Example:
        >>> with_changes({"trainer": {"devices": 1, "max_epochs": 3}}, {"trainer.max_epochs": 5})
        {'trainer': {'devices': 1, 'max_epochs': 5}}
    """
    new: dict[str, Any] = deepcopy(dict(config))
    for key, value in changed.items():
        *path, name = key.split(".")
        group: Any = new
        for part in path:
            group = group.get(part)
            if not isinstance(group, dict):
                raise UserError(f"{key}: the run's config.yaml lacks the settings {part}; a training did not write it")
        group[name] = value
    return new


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
