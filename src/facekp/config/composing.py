"""Hydra's loader of configs, which composes once where Hydra composes twice: to find its mode, and to run.

A composition is most of the time in which a command starts, once everything is imported.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

RUN = f"hydra.mode={RunMode.RUN.name}"  # Hydra adds it to the overrides if no config sets the mode


class SingleCompositionLoader(ConfigLoaderImpl):
    """Keeps what came of composing when Hydra looks for its mode, for when it composes to run."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._kept: tuple[str | None, list[str], DictConfig | Exception] | None = None

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        kept, self._kept = self._kept, None
        if kept is not None and run_mode == RunMode.RUN and kept[:2] == (config_name, _without_mode(overrides)):
            return _with_mode(kept[2], overrides)
        looks_for_mode = from_shell and not validate_sweep_overrides
        if not looks_for_mode or _is_sweep(overrides):
            return super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        found: DictConfig | Exception
        try:
            found = super().load_configuration(config_name, overrides, RunMode.RUN)
        except Exception as error:  # which Hydra ignores here
            found = error
        self._kept = config_name, list(overrides), found
        return _with_mode(found, [])


def _without_mode(overrides: Sequence[str]) -> list[str]:
    return list(overrides[:-1] if overrides and overrides[-1] == RUN else overrides)


def _with_mode(found: DictConfig | Exception, overrides: Sequence[str]) -> DictConfig:
    """The config with Hydra's own override, if that was given; an error is raised."""
    if isinstance(found, Exception):
        raise found
    if overrides and overrides[-1] == RUN:
        found.hydra.mode = RunMode.RUN
        found.hydra.overrides.hydra.append(RUN)
    return found


def _is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a key has several values.

    Raises:
        OverrideParseException: an override can't be read.
    """
    return any(override.is_sweep_override() for override in OverridesParser.create().parse_overrides(list(overrides)))
