"""Options of a command line, such as ``--cfg job`` and ``-m``, checked before Hydra's parser reads them.

That parser prints many lines of usage, takes abbreviations, and ends some mistakes with a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facekp.config.arguments import key_of
from facekp.config.catalog import Catalog
from facekp.core.errors import UserError
from facekp.core.settings import nearest, one_of


@dataclass(frozen=True)
class Option:
    """One option of Hydra.

    Attributes:
        short: its short name; empty: none.
        example: of its value; empty: it takes no value.
        choices: its values; empty: any value.
        is_mode: whether it says what is done, so that only one such option can be given.
    """

    short: str = ""
    example: str = ""
    choices: tuple[str, ...] = ()
    is_mode: bool = False
    needs_value: bool = True


INFOS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
OPTIONS = {
    "--help": Option("-h"),
    "--version": Option("-V"),
    "--multirun": Option("-m", is_mode=True),
    "--run": Option("-r", is_mode=True),
    "--config-dir": Option("-cd", "DIR"),
    "--cfg": Option("-c", "job", ("job", "hydra", "all"), is_mode=True),
    "--resolve": Option(),
    "--package": Option("-p", "KEY"),
    "--info": Option("-i", "defaults", INFOS, is_mode=True, needs_value=False),
    "--hydra-help": Option(),
    "--shell-completion": Option("-sc", is_mode=True),
}
OTHER_CONFIG = "a command has one config; put your own files into a folder, and name it by --config-dir=DIR"
REFUSED = {
    "--config-name": OTHER_CONFIG,
    "--config-path": OTHER_CONFIG,
    "--experimental-rerun": "runs the code that the file holds; use resume=DIR",
}
LONG = {option.short: name for name, option in OPTIONS.items() if option.short}
LONG |= {"-cn": "--config-name", "-cp": "--config-path"}
VALUE_OPTIONS = tuple(name for name, option in OPTIONS.items() if option.example)
VALUE_OPTIONS += tuple(short for short, name in LONG.items() if name in VALUE_OPTIONS)
SHELLS = ("bash", "fish", "zsh")


def has_option(arguments: Sequence[str], name: str) -> bool:
    """Whether an option without a value is among the arguments."""
    return any(LONG.get(argument, argument) == name for argument in arguments)


def check_options(arguments: Sequence[str], catalog: Catalog) -> None:
    """Refuse unknown options, missing values, options that exclude each other, and sweeps of commands without one.

    Args:
        arguments: of the command line, without those after ``--``.
        catalog: groups and keys of the command.

    Raises:
        UserError: names the option, and says what to write instead.
    """
    given = []
    for argument, value in _options(arguments):
        name = LONG.get(argument.partition("=")[0], argument.partition("=")[0])
        if name in REFUSED:
            raise UserError(f"{name}: {REFUSED[name]}")
        if name not in OPTIONS:
            raise UserError(f"{argument}: unknown option{_hint(argument, catalog)}")
        _check_value(argument, OPTIONS[name], value)
        given.append(name)
    _check_combination(given)
    _check_completion(given, arguments)
    _check_sweep(given, arguments, catalog)


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each option with its value; None: it has none."""
    before = ""
    for argument, after in zip(arguments, [*arguments, "-"][1:], strict=True):
        name, equals, value = argument.partition("=")
        if argument.startswith("-") and before not in VALUE_OPTIONS:
            follows = after if name in VALUE_OPTIONS and not after.startswith("-") else None
            yield argument, value if equals else follows
            before = argument
        else:
            before = ""


def _check_value(argument: str, option: Option, value: str | None) -> None:
    name = argument.partition("=")[0]
    if not option.example and value is not None:
        raise UserError(f"{argument}: takes no value; write {name}")
    if option.example and value is None and not option.needs_value:
        return
    if option.example and not value:
        raise UserError(f"{name}: needs a value; write {name} {option.example}")
    if option.choices and value not in option.choices:
        raise UserError(f"{name} {value}: {one_of(option.choices, value)}")


def _hint(argument: str, catalog: Catalog) -> str:
    """What was meant by an unknown option: a setting, or another option.

    Example:
        >>> from facekp.config.location import CONF_DIR
        >>> train = Catalog("train", [CONF_DIR])
        >>> [_hint(argument, train) for argument in ("--batch-size=8", "--lr", "--hlep", "-v")]
        ['; write data.batch_size=8', '; write lr=VALUE', '; did you mean --help?', '; --help lists the options']
    """
    name, equals, value = argument.partition("=")
    key = name.lstrip("-").replace("-", "_")
    keys = [*catalog.groups, *catalog.all_keys()]
    meant = key if key in keys else None
    if meant is None and (option := nearest(name, OPTIONS)):
        return f"; did you mean {option}?"
    meant = meant or nearest(key, keys) or (key if equals else None)
    if meant:
        return f"; write {meant}={value if equals else 'VALUE'}"
    names = "; a name that begins with - comes after --" if catalog.plain_arguments else ""
    return f"; --help lists the options{names}"


def _check_combination(given: Sequence[str]) -> None:
    modes = list(dict.fromkeys(name for name in given if OPTIONS[name].is_mode))
    if len(modes) > 1:
        raise UserError(f"{' '.join(modes)}: can't be combined; give one of them")
    if "--resolve" in given and "--cfg" not in given:
        raise UserError("--resolve: belongs to --cfg; write --cfg job --resolve")


def _check_completion(given: Sequence[str], arguments: Sequence[str]) -> None:
    """Hydra's completion takes ``install=SHELL``, ``uninstall=SHELL`` or ``query=SHELL``."""
    commands = [argument for argument in arguments if key_of(argument) in ("install", "uninstall", "query")]
    if "--shell-completion" in given and [text.partition("=")[2] in SHELLS for text in commands] != [True]:
        raise UserError(
            f"{' '.join(['--shell-completion', *commands])}: needs one shell; write install=SHELL or uninstall=SHELL "
            f"with one of {', '.join(SHELLS)}"
        )


def _check_sweep(given: Sequence[str], arguments: Sequence[str], catalog: Catalog) -> None:
    if catalog.has_sweep:
        return
    modes = [text for text in arguments if key_of(text) == "hydra.mode" and text.upper().endswith("=MULTIRUN")]
    for text in (*(["--multirun"] if "--multirun" in given else []), *modes):
        raise UserError(f"{text}: {catalog.command} has no sweep; leave it out, and start the command once per setting")
