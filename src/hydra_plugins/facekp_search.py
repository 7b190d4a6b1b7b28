"""The sweeper behind `hparams_search=optuna`, at the place where alone Hydra takes plugins from.

Every start of every Hydra program imports this module, so that what it does stands in `facekp.runs.search`.
"""

from __future__ import annotations

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Has a launcher run the trials of an Optuna study."""

    config: DictConfig
    hydra_context: HydraContext
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from facekp.runs.search import search

        search(arguments, self.config, self.hydra_context.config_loader, self.launcher)
