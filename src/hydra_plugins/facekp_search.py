"""The sweeper of `hparams_search=optuna`. Hydra finds plug-ins only in the package hydra_plugins.

Every Hydra program imports this module when it starts, so the work is done in `facekp.runs.searches.search`.
"""

from __future__ import annotations

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Lets a launcher run the trials of an Optuna study.

    Args:
        params: overrides of a config file, ``hydra.sweeper.params``; those of the command line count more.
    """

    config: DictConfig
    hydra_context: HydraContext
    launcher: Launcher

    def __init__(self, params: DictConfig | None = None) -> None:
        pass  # read from the config

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from facekp.runs.searches.search import search
        from facekp.runs.sweeps.arguments import sweeper_params

        search([*sweeper_params(self.config), *arguments], self.config, self.hydra_context.config_loader, self.launcher)
