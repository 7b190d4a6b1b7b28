"""The frame of every command: help, plug-ins, composing by Hydra, mistakes in one line, exit codes.

Exit codes: 0 success; 2 a user's mistake or a file that can't be written, one line on stderr (``debug=true`` shows the
traceback); 130 interrupted; 143 terminated; 1 anything else.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from facekp.config.arguments import add_keys_of_swept_groups, check_launcher, key_of, quoted
from facekp.config.catalog import Catalog, config_folders
from facekp.config.choices import check_choices, with_quoted_choices, without_null_choices
from facekp.config.help import render_help
from facekp.config.hydra_errors import explained
from facekp.config.location import CONF_DIR
from facekp.config.options import VALUE_OPTIONS, check_options, has_option
from facekp.config.plugins import (
    import_plugins,
    named_plugins,
    plugin_choices,
    store_choices,
    with_plugin_lists,
    without_files,
)
from facekp.config.references import (
    MaskingFilter,
    command_line_overrides,
    masked,
    register_env_resolver,
    remember_references,
)
from facekp.config.trust import use_checked_loader
from facekp.core.console import discard_stdout
from facekp.core.errors import UserError
from facekp.core.files import HINTS
from facekp.core.settings import Settings, flatten, parse
from facekp.core.signals import INTERRUPTED, stop_at_signals, stop_before_errors

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)
FILE_ERRORS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
USER_ERRORS = (UserError, HydraException, OmegaConfBaseException, *FILE_ERRORS)
DATA_COMMANDS = ("synthetic", "inspect", "convert")  # python -m facekp.data.NAME
# callbacks.NAME._target_=CLASS, callbacks.NAME={_target_: CLASS}, +trainer.KEY=VALUE
ADDED_KEY = re.compile(r"\+?(callbacks|logger)\.\w+(\.|=\{)|\+\w+\.")


class CommandSettings(Settings):
    """What the settings of every command have.

    Attributes:
        debug: show the traceback of an error.
        plugins: modules that were imported first.
    """

    debug: bool = False
    plugins: list[str] = Field(default_factory=list)


@stop_at_signals()
def run_command(
    config_name: str, task: Callable[[DictConfig], Any], rewrite: Callable[[list[str]], list[str]] = list
) -> None:
    """Compose conf/<config_name>.yaml with the command line, call the task, and exit with the right code.

    Args:
        config_name: the command's primary config.
        task: takes the composed config; its result is not used.
        rewrite: takes the arguments of the command line and returns those that Hydra reads.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors instead of printing them and exiting with 1
    if os.environ.get("MPLBACKEND", "").startswith("module://"):  # of the notebook that started this, whose packages
        del os.environ["MPLBACKEND"]  # may not be installed here
    if isinstance(sys.stdout, io.TextIOWrapper):  # as stderr: a terminal's or a file's encoding may lack a character
        sys.stdout.reconfigure(errors="backslashreplace")
    _set_up_logging()
    folders, catalog = config_folders(sys.argv[1:]), None
    try:
        with stop_before_errors():
            if has_option(_before_dashes(sys.argv[1:]), "--help"):
                print(help_text(config_name, sys.argv[1:]), flush=True)
                return
            if has_option(_before_dashes(sys.argv[1:]), "--version"):
                print(f"facekp {version('facekp')}")
                return
            arguments = options_first(rewrite(sys.argv[1:]))
            folders = config_folders(arguments)  # a resumed sweep knows its --config-dir
            _check_folders(folders)
            catalog = _load_plugins(config_name, arguments, folders)
            check_options(_before_dashes(arguments), catalog)
            arguments = with_plugin_lists(without_null_choices(catalog, arguments))
            check_choices(catalog, _before_dashes(arguments))
            check_launcher(arguments)
            arguments = with_quoted_choices(catalog, arguments)
            sys.argv[1:] = quoted(add_or_set(add_keys_of_swept_groups(arguments, catalog)))
            use_checked_loader()
            register_env_resolver()
            hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)(
                _with_error_handling(task)
            )()
    except USER_ERRORS as error:  # of composing; those of the task never reach Hydra, which would print more lines
        exit_with_error(explained(error, catalog or Catalog(config_name, folders)))
    except BrokenPipeError:
        _exit_if_output_is_unread()
        raise
    except OSError as error:
        exit_with_error(_disk_error(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def help_text(config_name: str, arguments: Sequence[str]) -> str:
    """What ``--help`` prints; choices among the arguments (``model=simcc``) decide whose keys are shown."""
    catalog = _load_plugins(config_name, arguments, config_folders(arguments))
    given = dict(argument.split("=", 1) for argument in arguments if re.match(r"\w+=", argument))
    chosen: dict[str, str | None] = {
        name: value
        for name, value in given.items()
        if value in (catalog.groups[name].choices if name in catalog.groups else ())
    }
    return render_help(catalog, f"python -m facekp.{_module(config_name)}", chosen)


def _module(config_name: str) -> str:
    return f"data.{config_name}" if config_name in DATA_COMMANDS else config_name


def _before_dashes(arguments: Sequence[str]) -> list[str]:
    """The arguments before ``--``."""
    return list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)


def _load_plugins(config_name: str, arguments: Sequence[str], folders: Sequence[Path]) -> Catalog:
    """Import plug-ins, make them choices of Hydra's groups, and list what can be chosen."""
    plugins = named_plugins(arguments)
    import_plugins(plugins)
    choices = without_files(plugin_choices(plugins), folders)
    store_choices(choices)
    return Catalog(config_name, folders, choices)


def _check_folders(folders: Sequence[Path]) -> None:
    missing = next((folder for folder in folders if not folder.is_dir()), None)
    if missing is not None:
        raise UserError(f"--config-dir={missing}: there is no such folder; name one that exists")


def _set_up_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, _QuietLightning) for known in handler.filters):
            handler.addFilter(_QuietLightning())
            handler.addFilter(MaskingFilter())
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")


class _QuietLightning(logging.Filter):
    """Keeps Lightning's tips and device lists out; its loggers get their level when it is imported, which is later."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or not record.name.startswith(("pytorch_lightning", "lightning"))


def split_arguments(config_name: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate plain arguments, such as names of photos, from what Hydra reads.

    Hydra reads options with their values, key=value, and ``~KEY`` of a group or key of the command. A file such as
    ``date=2024/a.jpg`` is plain, unless ``date`` is such a key. After ``--`` everything is plain.

    Example:
        >>> split_arguments("predict", ["a.jpg", "draw=false", "--config-dir", "mine", "~out", "--", "b=c.jpg"])
        (['a.jpg', 'b=c.jpg'], ['--config-dir', 'mine', 'draw=false', '~out'])
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, others = _split_options(arguments[:end])
    unclear = [text for text in others if (_is_path(text) if "=" in text else text.startswith("~"))]
    catalog = Catalog(config_name, [CONF_DIR]) if unclear else None
    keys = {part for key in (*catalog.groups, *catalog.all_keys()) for part in _parents(key)} if catalog else set()
    overrides = [text for text in others if (key_of(text) in keys if text in unclear else "=" in text)]
    return [*(text for text in others if text not in overrides), *arguments[end + 1 :]], [*options, *overrides]


def _is_path(argument: str) -> bool:
    return argument.startswith(("/", ".")) or os.path.exists(argument)


def _parents(key: str) -> list[str]:
    """A dotted key and the mappings that hold it.

    Example:
        >>> _parents("smooth.beta")
        ['smooth', 'smooth.beta']
    """
    return list(accumulate(key.split("."), "{}.{}".format))


def options_first(arguments: Sequence[str]) -> list[str]:
    """Options before key=value arguments: Hydra's parser refuses options between them.

    Example:
        >>> options_first(["lr=1e-3,1e-4", "-m", "seed=0"])
        ['-m', 'lr=1e-3,1e-4', 'seed=0']
    """
    options, others = _split_options(arguments)
    return [*options, *others]


def _split_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options with their values, and the other arguments."""
    options: list[str] = []
    others: list[str] = []
    for argument, before in zip(arguments, ["", *arguments], strict=False):
        (options if argument.startswith("-") or before in VALUE_OPTIONS else others).append(argument)
    return options, others


def add_or_set(arguments: Sequence[str]) -> list[str]:
    """Write arguments that may add a key with ``++``: Hydra's ``+`` refuses keys that exist.

    Keys without a dot stay as they are, because ``+experiment=NAME`` adds to the defaults list.

    Example:
        >>> add_or_set(["+trainer.devices=2", "callbacks.mine._target_=Mine", "+experiment=cpu", "lr=1"])
        ['++trainer.devices=2', '++callbacks.mine._target_=Mine', '+experiment=cpu', 'lr=1']
    """
    return [f"++{text.lstrip('+')}" if ADDED_KEY.match(text) else text for text in arguments]


def _with_error_handling(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A task that reports user errors in one line."""

    @wraps(task)
    def run_task(cfg: DictConfig) -> Any:
        _set_up_logging()  # a launcher's process never was in `run_command`
        try:
            with stop_at_signals():  # also in a launcher's process
                import_plugins(cfg.get("plugins") or ())
                return task(cfg)
        except USER_ERRORS as error:
            exit_with_error(error)
        except OSError as error:
            exit_with_error(_disk_error(error))
        except RuntimeError as error:
            exit_with_error(_home_error(error))

    return run_task


def _disk_error(error: OSError) -> UserError:
    """A full disk, a limit or a read-only folder in one line; another error of the system is raised again."""
    if error.errno not in (*HINTS, errno.EROFS):
        raise error
    advice = HINTS.get(error.errno, "choose another path")
    return UserError(f"{error.filename or 'a file'}: {error.strerror}; {advice}")


def _home_error(error: RuntimeError) -> UserError:
    """The error of a path with ~ whose home directory can't be determined; any other error is raised again."""
    if str(error) != "Could not determine home directory.":  # of Path.expanduser
        raise error
    given = " ".join(text for text in sys.argv[1:] if "~" in text) or "~"
    return UserError(f"{given}: can't determine the home directory; give an absolute path, or set HOME")


def _exit_if_output_is_unread() -> None:
    """Exit with code 1 if the program that read the output, such as ``head``, has ended."""
    try:
        print(flush=True)
    except BrokenPipeError:
        discard_stdout()  # Python flushes once more when it exits
        sys.exit(1)


def exit_with_error(error: BaseException) -> NoReturn:
    """Print one line, and the traceback before it if it was asked for, and exit with code 2."""
    if any(argument.lower() in ("debug=true", "+debug=true") for argument in sys.argv):
        sys.stderr.write(masked("".join(traceback.format_exception(error))))
    print(f"facekp: error: {one_line(error)}", file=sys.stderr)
    sys.exit(2)


def one_line(error: BaseException) -> str:
    """The message without line breaks, Hydra's advice, passwords in URLs and values of the environment."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    parts = [line.strip() for line in text.splitlines()]
    drop = ("full_key:", "object_type=", "Set the environment variable", "To append to your config", "Check that")
    message = " ".join(part for part in parts if part and not part.startswith(drop))
    if isinstance(error, OmegaConfBaseException) and error.full_key and error.full_key not in message:
        message = f"{error.full_key}: {message}"  # of an interpolation that can't be resolved
    return masked(message)


def plain_values(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain dictionaries and values, every reference resolved.

    Raises:
        UserError: a mandatory value is missing, or a part of checkpoints refers to the environment.
    """
    given = OmegaConf.to_container(cfg)  # unresolved, as a value may refer to a missing one
    assert isinstance(given, dict)
    missing = sorted(key for key, value in flatten({str(k): v for k, v in given.items()}).items() if value == MISSING)
    if missing:
        raise UserError(f"{missing[0]} is needed; give it as {missing[0]}=VALUE")
    remember_references(cfg)
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "hydra"}


def read_settings(cfg: DictConfig, model: type[S]) -> S:
    """The composed config as a typed object.

    Args:
        cfg: what Hydra composed.
        model: the command's settings.

    Raises:
        UserError: a mandatory value is missing, a key is unknown or a value is not valid.
    """
    return parse(model, plain_values(cfg))


def warn_of_unused(keys: Collection[str], reason: str) -> None:
    """Warn of settings on the command line that the command does not use.

    Args:
        keys: that it does not use.
        reason: what it does instead.
    """
    given = command_line_overrides(HydraConfig.get()) if HydraConfig.initialized() else []
    below = tuple(f"{key}." for key in keys)
    if unused := [text for text in given if key_of(text) in keys or key_of(text).startswith(below)]:
        log.warning("%s: has no effect here; %s", " ".join(unused), reason)
