"""The sweeper and the launcher of a resumed sweep. Hydra finds plug-ins only in the package hydra_plugins.

Every Hydra program imports this module when it starts, so the work is done in `facekp.runs.sweeps.finished_jobs`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, read_write


class ResumingSweeper(BasicSweeper):
    """Hydra's sweeper. It does not compose all jobs before the first one starts, as was done when the sweep began."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass


class ResumingLauncher(Launcher):
    """Lets another launcher run the jobs that are not finished.

    Args:
        chosen: config of the other one, Hydra's ``hydra.launcher``.
        shared: keys that are the same for all jobs and name no folder.
    """

    config: DictConfig
    launcher: Launcher

    def __init__(self, chosen: DictConfig, shared: Sequence[str]) -> None:
        self.chosen, self.shared = chosen, shared

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        with read_write(config):
            config.hydra.launcher = self.chosen
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from facekp.runs.sweeps.finished_jobs import launch_unfinished

        taken = [str(key) for key in self.config]
        return launch_unfinished(
            self.launcher.launch, job_overrides, initial_job_idx, self.config.hydra.sweep.dir, self.shared, taken
        )
