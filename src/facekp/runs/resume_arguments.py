"""``resume=DIR`` on a command line: a run keeps its settings; what may differ now is listed here.

The places of data and the machine may differ, so that a run's folder can be copied and resumed elsewhere. Every
training reads its command line through this module, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, OmegaConf

from facekp.config.command import key_of
from facekp.core.errors import UserError

NOT_SETTINGS = ("resume", "debug", "plugins")  # of this command, not of the run
PLACES = ("data.dir", "data.images", "data.labels", "data.cache")
MACHINE = tuple(
    f"trainer.{key}" for key in ("accelerator", "devices", "num_nodes", "strategy", "precision", "fast_cpu")
)
CHANGEABLE = ("trainer.max_epochs", *MACHINE, *PLACES)


def allow_keys_of_the_run(arguments: Sequence[str]) -> list[str]:
    """Beside ``resume=``, write ``data.images=DIR`` with ``++``, as the run's kind of data is not chosen again.

    Example:
        >>> allow_keys_of_the_run(["resume=outputs/first", "data.images=photos"])
        ['resume=outputs/first', '++data.images=photos']
    """
    resumed = any(key_of(argument) == "resume" and not argument.endswith("=null") for argument in arguments)
    return [f"++{text.lstrip('+')}" if resumed and key_of(text) in PLACES else text for text in arguments]


def resume_text(folder: object, plugins: Sequence[str]) -> str:
    """What continues a run, for messages; plug-ins must be given again.

    Example:
        >>> resume_text("outputs/first", ["mine"])
        'resume=outputs/first plugins=[mine]'
    """
    return " ".join([f"resume={folder}", *([f"plugins=[{','.join(plugins)}]"] if plugins else [])])


def changed_settings(folder: str, cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """What a resumed run's settings are changed to, by dotted key; ``logger`` is a whole group.

    Args:
        folder: of the run, for the message.
        cfg: what Hydra composed of the command line.
        overrides: of the command line.

    Raises:
        UserError: a key can't be changed when a run is resumed.
    """
    keys: list[str] = []
    for key in map(key_of, overrides):
        if key.split(".")[0] == "logger":
            keys.append("logger")
        elif key == "trainer":
            keys += MACHINE
        elif key in CHANGEABLE:
            keys.append(key)
        elif key not in NOT_SETTINGS:
            raise UserError(
                f"resume={folder}: {key} can't be changed when a run is resumed; leave it out, or start a new run"
            )
    return {key: _plain(OmegaConf.select(cfg, key)) for key in keys}


def with_changes(config: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested values, with others at some dotted keys.

    Example:
        >>> with_changes({"trainer": {"devices": 1, "max_epochs": 3}}, {"trainer.max_epochs": 5})
        {'trainer': {'devices': 1, 'max_epochs': 5}}
    """
    new: dict[str, Any] = deepcopy(dict(config))
    for key, value in changed.items():
        *path, name = key.split(".")
        group = new
        for part in path:
            group = group[part]
        group[name] = value
    return new


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
