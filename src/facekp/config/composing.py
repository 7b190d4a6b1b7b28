"""A config loader for Hydra that composes a command's config once, and takes subsets of the command line as they are.

Hydra composes it twice: first to read ``hydra.mode``, then to run. Once its modules are imported, a command spends most
of its start on composing.

A mapping on the command line is merged with that of a config file by Hydra. The names in `SUBSETS` are names in the
data, so ``data.only={pose: large}`` must not keep those of an experiment's file.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from facekp.config.arguments import key_of

SUBSETS = ("subset", "data.only", "data.held_out")  # keys whose values are mappings of names in the data
RUN = f"hydra.mode={RunMode.RUN.name}"  # Hydra adds it to the overrides if no config sets the mode


class SingleCompositionLoader(ConfigLoaderImpl):
    """Keeps the config (or the error) of the first composition, and returns (or raises) it instead of a second one.

    A sweep is composed as Hydra does it. Threads of a search compose one after another, as Hydra has global state.
    """

    _composing = threading.RLock()  # of the class, so that the loader can be sent to other processes

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._kept: tuple[str | None, list[str], DictConfig | Exception] | None = None
        self._replaced: list[str] = []  # keys of `SUBSETS` that the command line gives

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        with self._composing:
            given = {key_of(override): override.partition("=")[2] for override in overrides}
            self._replaced = [key for key in SUBSETS if given.get(key, "").startswith("{")]
            return self._load(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)

    def _load(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, from_shell: bool, validate: bool
    ) -> DictConfig:
        kept, self._kept = self._kept, None
        if kept is not None and run_mode == RunMode.RUN and kept[:2] == (config_name, _without_mode(overrides)):
            return _with_mode(kept[2], overrides)
        reads_mode = from_shell and not validate
        if not reads_mode or _is_sweep(overrides):
            return super().load_configuration(config_name, overrides, run_mode, from_shell, validate)
        result: DictConfig | Exception
        try:
            result = super().load_configuration(config_name, overrides, RunMode.RUN)
        except Exception as error:  # Hydra ignores it while it reads the mode
            result = error
        self._kept = config_name, list(overrides), result
        return _with_mode(result, [])

    def _compose_config_from_defaults_list(self, *args: Any, **kwargs: Any) -> DictConfig:
        """The config of the files, to which Hydra then applies the overrides."""
        cfg = super()._compose_config_from_defaults_list(*args, **kwargs)
        for key in self._replaced:
            if OmegaConf.is_config(OmegaConf.select(cfg, key)):
                OmegaConf.update(cfg, key, None)
        return cfg


def _without_mode(overrides: Sequence[str]) -> list[str]:
    return list(overrides[:-1] if overrides and overrides[-1] == RUN else overrides)


def _with_mode(result: DictConfig | Exception, overrides: Sequence[str]) -> DictConfig:
    """The config, with the mode if the overrides set it; an error is raised."""
    if isinstance(result, Exception):
        raise result
    if overrides and overrides[-1] == RUN:
        result.hydra.mode = RunMode.RUN
        result.hydra.overrides.hydra.append(RUN)
    return result


def _is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a key has several values.

    Raises:
        OverrideParseException: an override can't be read.
    """
    return any(override.is_sweep_override() for override in OverridesParser.create().parse_overrides(list(overrides)))
