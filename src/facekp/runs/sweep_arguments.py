"""``sweep.resume=DIR`` on a command line: the stopped sweep's own arguments take its place.

Every training reads its command line through this module, so it imports nothing heavy.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from facekp.config.arguments import key_of
from facekp.config.plugins import named_plugins
from facekp.config.trust import names_code
from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.runs.resume_arguments import DATA_PATHS, MACHINE, TEACHER, resume_text
from facekp.runs.settings import SweepSettings
from facekp.runs.sweep_folder import SweepFolder

SWEEP_RESUME = "sweep.resume="
BUDGET = "hparams_search.trials"  # a resumed search may have more trials
OF_PLACE = (*DATA_PATHS, TEACHER, *MACHINE)  # keys that change when a sweep is moved
MAY_CHANGE = ("debug", "plugins", BUDGET, *OF_PLACE)  # keys that may be given with sweep.resume=
MAY_DIFFER = (BUDGET, "plugins", "--config-dir", *OF_PLACE)  # may differ from what the sweep was started with
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
    given = [text for text in given if text not in stored or names_code(text)]  # the others keep their place
    given_keys = {*map(key_of, given), *CONFIG_DIR, SWEEP_DIR}
    kept = [override for override in stored if key_of(override) not in given_keys]
    return ["-m", *given, *kept, f"{SWEEP_DIR}={folder}"]


def _check_given(folder: SweepFolder, given: Sequence[str], stored: Sequence[str]) -> None:
    for before, argument in zip(["", *given], given, strict=False):
        is_option = argument.startswith("-") or before in CONFIG_DIR
        if not is_option and key_of(argument) not in MAY_CHANGE and argument not in stored:
            raise UserError(
                f"{SWEEP_RESUME}{folder}: {argument} can't be changed when a sweep is resumed; leave it out or start "
                "a new sweep"
            )
        swept = next((text for text in stored if key_of(text) == key_of(argument) and "," in text), argument)
        if key_of(argument) in OF_PLACE and swept != argument:
            raise UserError(
                f"{SWEEP_RESUME}{folder}: {argument} can't be changed, as the jobs have several ({swept}); leave it "
                "out or start a new sweep"
            )


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
