"""Every entry point's frame: Hydra composes the config, mistakes become one line, exit codes mean something.

0 good; 2 a user's mistake, in one line on stderr (``debug=true`` shows the traceback); 1 anything else.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facekp.conf import CONF_DIR
from facekp.errors import UserError
from facekp.settings import check

PLACES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
MISTAKES = (UserError, HydraException, OmegaConfBaseException, *PLACES)


def run(config_name: str, task: Callable[[DictConfig], Any], reword: Callable[[list[str]], list[str]] = list) -> None:
    """Compose conf/<config_name>.yaml with the command line, call ``task`` with it and leave with the right exit code.

    Args:
        config_name: the primary config of the entry point.
        task: takes the composed config; its result is not used.
        reword: takes the command line's arguments, gives back those that Hydra is to read.
    """
    OmegaConf.register_new_resolver("run_dir", lambda resume, out: out if resume is None else ".", replace=True)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing and leaving with 1
    _set_up_messages()
    try:
        sys.argv[1:] = reword(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)(_framed(task))()
    except MISTAKES as error:  # of composing; those of the task never reach Hydra, which would add lines of its own
        leave(error)
    except KeyboardInterrupt:  # where a sweep waits for its launcher's processes
        sys.exit(130)


def _set_up_messages() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for library in ("pytorch_lightning", "lightning_fabric"):  # their tips and device lists
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Plain arguments, and what Hydra is to read: key=value and options, up to the first ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    settings = [one for one in arguments[:end] if "=" in one or one.startswith("-")]
    plain = [one for one in arguments[:end] if one not in settings]
    return [*plain, *arguments[end + 1 :]], settings


def _framed(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """The task with its mistakes told, and silent in all processes but the first."""

    @wraps(task)
    def framed(cfg: DictConfig) -> Any:
        _set_up_messages()  # a launcher's process never was in `run`
        if is_child_process():
            logging.getLogger().setLevel(logging.ERROR)
        try:
            return task(cfg)
        except MISTAKES as error:
            leave(error)

    return framed


def leave(error: Exception) -> NoReturn:
    """One line, the traceback before it if asked for, and out."""
    if any(argument.lower() in ("debug=true", "+debug=true") for argument in sys.argv):
        traceback.print_exception(error)
    print(f"facekp: error: {one_line(error)}", file=sys.stderr)
    sys.exit(2)


def one_line(error: BaseException) -> str:
    """The message without line breaks, as terse as it allows."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    parts = [line.strip() for line in text.splitlines()]
    drop = ("full_key:", "object_type=", "Set the environment variable", "To append to your config", "Check that")
    return " ".join(part for part in parts if part and not part.startswith(drop))


def key_of(override: str) -> str:
    """What an override ``key=value`` is about, without Hydra's signs for adding and removing."""
    return override.split("=")[0].lstrip("+~")


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain dictionaries and values, every reference resolved.

    Raises:
        UserError: a mandatory value is missing, or one is not what it must be.
    """
    missing = OmegaConf.missing_keys(cfg)
    if missing:
        raise UserError(f"{sorted(missing)[0]} is needed; give it as {sorted(missing)[0]}=VALUE")
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    config = {str(key): value for key, value in values.items()}
    check(config)
    return config


def is_child_process() -> bool:
    """Whether a distributed launcher started this process beside a first one."""
    return bool(getattr(rank_zero_only, "rank", 0))
