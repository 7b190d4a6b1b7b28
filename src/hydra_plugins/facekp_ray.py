"""The launcher of `hydra/launcher=ray`. Hydra finds plug-ins only in the package hydra_plugins.

Every Hydra program imports this module when it starts, so the work is done in `facekp.runs.sweeps.ray_tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from facekp.runs.sweeps.ray_tasks import RayTasks


class RayLauncher(Launcher):
    """Trains each job as a task of Ray. A search calls `launch` from several threads.

    Args:
        ray: arguments of ``ray.init`` (``init``) and of each task (``remote``).
    """

    config: DictConfig
    tasks: RayTasks

    def __init__(self, ray: DictConfig) -> None:
        self.ray = ray

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from facekp.runs.sweeps.ray_tasks import RayTasks

        self.config, self.loader = config, hydra_context.config_loader
        settings = OmegaConf.to_container(self.ray, resolve=True)
        assert isinstance(settings, dict)
        self.tasks = RayTasks(hydra_context, task_function, settings["init"], settings["remote"])

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from facekp.runs.sweeps.ray_tasks import run_ray_jobs

        configs = [self._config(overrides, initial_job_idx + i) for i, overrides in enumerate(job_overrides)]
        return run_ray_jobs(self.tasks, configs, self.config.plugins)

    def _config(self, overrides: Sequence[str], number: int) -> DictConfig:
        """The config of a job, with its number."""
        config = self.loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"job_{number}", number
        return config

    def stop(self) -> None:
        """End the jobs that other threads have launched; `launch` then raises KeyboardInterrupt there."""
        self.tasks.stop()
