"""The launcher of `hydra/launcher=joblib` in sweeps. Hydra finds plug-ins only in the package hydra_plugins.

Every Hydra program imports this module when it starts, so the work is done in `facekp.runs.sweeps.killed_workers`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import open_dict

try:
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
except ModuleNotFoundError:  # the extra is not installed
    pass
else:

    class FaultTolerantJoblibLauncher(JoblibLauncher):
        """Continues with the other jobs where a worker was killed, for example because memory ran out."""

        joblib: dict[str, Any]

        def __init__(self, **settings: Any) -> None:
            from facekp.runs.sweeps.killed_workers import LaunchLock

            super().__init__(**settings)
            self._lock, self._stopped = LaunchLock(), False

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            from facekp.runs.sweeps.killed_workers import run_joblib_jobs

            assert self.config is not None
            names = [self._folder(job, number) for number, job in enumerate(job_overrides, initial_job_idx)]
            return run_joblib_jobs(self._launch, job_overrides, initial_job_idx, names, self.config.plugins)

        def _folder(self, overrides: Sequence[str], number: int) -> str:
            """The folder of a job, which may be named by the job's number."""
            assert self.hydra_context is not None
            hydra = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides)).hydra
            with open_dict(hydra):  # as joblib's launcher does it
                hydra.job.id, hydra.job.num = f"{hydra.job.name}_{number}", number
            return f"{hydra.sweep.dir}/{hydra.sweep.subdir}"

        def _launch(self, jobs: Sequence[Sequence[str]], first: int, alone: bool) -> Sequence[JobReturn]:
            from facekp.runs.sweeps.orphans import SWEEP

            os.environ[SWEEP] = str(os.getpid())
            launcher = copy(self)
            if alone:
                launcher.joblib = {**self.joblib, "n_jobs": 2}  # with 1, joblib would use this process
            with self._lock.acquired(alone):
                if self._stopped:
                    raise KeyboardInterrupt
                try:
                    return JoblibLauncher.launch(launcher, jobs, first)
                except Exception:
                    if self._stopped:
                        raise KeyboardInterrupt from None
                    raise

        def stop(self) -> None:
            """End the jobs that other threads have launched; `launch` then raises KeyboardInterrupt there."""
            from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

            self._stopped = True
            get_reusable_executor(reuse=True).shutdown(kill_workers=True)
