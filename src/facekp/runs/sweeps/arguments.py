"""``sweep.resume=DIR`` on a command line: the stopped sweep's own arguments take its place.

Every training reads its command line through this module, so it imports nothing heavy.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from facekp.config.arguments import key_of
from facekp.config.plugins import named_plugins
from facekp.config.trust import names_code
from facekp.core.errors import UserError
from facekp.core.outputs import exclusive
from facekp.core.settings import parse
from facekp.runs.resume_arguments import DATA_PATHS, MOVED, TEACHER, resume_text
from facekp.runs.settings import SweepSettings
from facekp.runs.sweep_folder import SweepFolder

SWEEP_RESUME = "sweep.resume="
BUDGET = "hparams_search.trials"  # a resumed search may have more trials
MAY_CHANGE = ("debug", "plugins", BUDGET, *MOVED)  # keys that may be given with sweep.resume=
MAY_DIFFER = (BUDGET, "plugins", "--config-dir")  # may differ from what the sweep was started with
CONFIG_DIR = ("--config-dir", "-cd")  # options of Hydra whose value may be an argument of its own
SWEEP_DIR = "hydra.sweep.dir"


def resume_sweep_text(folder: object, plugins: Sequence[str]) -> str:
    """The arguments that resume a sweep, for messages; those that its file can't give are among them.

    Example:
        >>> resume_sweep_text("outputs/s", ["mine"])
        'sweep.resume=outputs/s plugins=[mine]'
    """
    again = [shlex.quote(text) for text in _needed_again(SweepFolder(str(folder)))]
    return " ".join([f"sweep.{resume_text(folder, plugins)}", *again])


def _needed_again(folder: SweepFolder) -> list[str]:
    try:
        stored = folder.read_overrides()
    except UserError:
        return []
    return [text for text in stored if names_code(text) and key_of(text) not in ("plugins", SWEEP_DIR)]


def sweeper_params(config: DictConfig) -> list[str]:
    """The overrides of ``hydra.sweeper.params`` in a config file, which come before those of the command line.

    Args:
        config: of the sweep, with Hydra's part.
    """
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [f"{key}={'null' if value is None else value}" for key, value in params.items()]


def rewrite_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace ``sweep.resume=DIR`` by the arguments the sweep was started with.

    The folder may be untrusted. So options, settings of Hydra and what names code are not taken from its
    file: the user gives them again (`facekp.config.trust.names_code`).

    Args:
        arguments: of the command line; without ``sweep.resume=`` they are returned unchanged.

    Raises:
        UserError: there is no sweep, a given key can't be changed, or an argument must be given again.
    """
    folders = [argument.removeprefix(SWEEP_RESUME) for argument in arguments if argument.startswith(SWEEP_RESUME)]
    if not folders or folders[-1] == "null":
        return list(arguments)
    folder = SweepFolder(str(parse(SweepSettings, {"resume": folders[-1]}, "sweep").resume))
    given = [argument for argument in arguments if not argument.startswith(SWEEP_RESUME)]
    given = [argument for argument in given if argument not in ("-m", "--multirun")]
    try:
        stored = folder.read_overrides()
    except UserError as error:
        raise UserError(f"{SWEEP_RESUME}{folder}: {error}") from error
    _check_given(folder, given, stored)
    _check_plugins(folder, named_plugins(stored), named_plugins(given))
    _check_again(folder, given)
    given = [text for text in given if text not in stored or key_of(text) in CONFIG_DIR]  # the others keep their place
    directory = folder.read_directory()
    from_here = [_from_here(text, directory) for text in stored]
    moved = {key_of(text): text for text in (*from_here, *given) if text not in stored and key_of(text) in MOVED}
    if moved:
        stored = _with_moved(folder, stored, moved)
        given = [text for text in given if text not in stored]
    given_keys = {*map(key_of, given), *CONFIG_DIR, SWEEP_DIR}
    kept = [override for override in stored if key_of(override) not in given_keys]
    return ["-m", *given, *kept, f"{SWEEP_DIR}={folder}"]


def _from_here(override: str, directory: Path) -> str:
    """An override of a sweep as it is given in this directory: relative paths are those from where the sweep started.

    A list of paths, and a path that does not exist there, stay as they are.
    """
    key, _, value = override.partition("=")
    path = directory / value.strip("'\"")
    if key_of(key) not in (*DATA_PATHS, TEACHER) or directory == Path.cwd() or not path.exists():
        return override
    return f"{key}={path}"


def _with_moved(folder: SweepFolder, stored: Sequence[str], moved: Mapping[str, str]) -> list[str]:
    """Write the new paths and settings of the machine into sweep.yaml; all overrides of the sweep.

    Args:
        folder: of the sweep.
        stored: its overrides so far.
        moved: override by key, each with one value.
    """
    new = [text for key, text in moved.items() if key not in map(key_of, stored)]
    overrides = [*new, *(moved.get(key_of(text), text) for text in stored)]
    with exclusive(folder.path, SWEEP_RESUME.removesuffix("=")):
        folder.write_settings(overrides, folder.read_search())
    return overrides


def _check_given(folder: SweepFolder, given: Sequence[str], stored: Sequence[str]) -> None:
    for before, argument in zip(["", *given], given, strict=False):
        is_option = argument.startswith("-") or before in CONFIG_DIR
        if not is_option and key_of(argument) not in MAY_CHANGE and argument not in stored:
            of_trainer = "give settings of the machine alone, such as trainer.accelerator=cpu"
            advice = of_trainer if key_of(argument) == "trainer" else "leave it out or start a new sweep"
            raise UserError(f"{SWEEP_RESUME}{folder}: {argument} can't be changed when a sweep is resumed; {advice}")
        if key_of(argument) in MOVED:
            swept = [text for text in (*stored, argument) if key_of(text) == key_of(argument) and is_swept(text)]
            if swept:
                raise UserError(
                    f"{SWEEP_RESUME}{folder}: {argument} can't be changed, as {swept[0]} has several values; leave it "
                    "out or start a new sweep"
                )


def is_swept(override: str) -> bool:
    """Whether an override has several values, of which each job gets one; a list is one value.

    Example:
        >>> is_swept("lr=1e-3,1e-4"), is_swept("trainer.devices=[0,1]")
        (True, False)
    """
    try:
        return bool(OverridesParser.create().parse_override(override).is_sweep_override())
    except OverrideParseException:
        return False


def _check_again(folder: SweepFolder, given: Sequence[str]) -> None:
    """Refuse arguments that a resumed sweep can't repeat.

    Raises:
        UserError: the sweep was started with an argument that its file can't give.
    """
    has_config_dir = any(key_of(argument) in CONFIG_DIR for argument in given)
    for text in _needed_again(folder):
        if text not in given and not (key_of(text) in CONFIG_DIR and has_config_dir):
            raise UserError(
                f"{SWEEP_RESUME}{folder}: the sweep needs {shlex.quote(text)}; such arguments are not taken from a "
                "file, so add it to the command line if you trust it"
            )


def _check_plugins(folder: SweepFolder, needed: Sequence[str], given: Sequence[str]) -> None:
    """Code that a file names is never imported by itself."""
    if set(needed) - set(given):
        raise UserError(
            f"{SWEEP_RESUME}{folder}: the sweep needs plugins=[{','.join(needed)}]; plug-ins that a file names are "
            "not imported, so add this to the command line"
        )
