"""Jobs of a sweep as tasks of Ray. A worker that is killed costs only its own job, which is tried again once.

Ray is started when the launcher is set up: on this machine, or the process joins a running cluster. Workers keep the
working directory of the sweep, because paths of a command line are relative to it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from facekp.config.command import one_line
from facekp.core.errors import UserError
from facekp.core.signals import INTERRUPTED, NOTICES, TERMINATED
from facekp.runs.folder import RunFolder
from facekp.runs.sweeps.arguments import resume_sweep_text
from facekp.runs.sweeps.killed_workers import LOCK_TIMEOUT, mark_interrupted, mark_killed, placeholder_result

log = logging.getLogger(__name__)
VARIABLES = {
    "RAY_DEDUP_LOGS": "0",  # Ray would drop lines of a table that another job has printed
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's developers
}
RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # Ray's names of what a job may ask for


class WorkerKilled(Exception):
    """The process that trained a job was killed, or its machine was lost."""


class Tasks(Protocol):
    """Trains jobs in other processes."""

    def start(self, config: DictConfig) -> Future[Any]: ...

    def result(self, job: Future[Any]) -> JobReturn: ...

    def cancel(self, jobs: Sequence[Future[Any]]) -> None: ...


def run_ray_jobs(tasks: Tasks, configs: Sequence[DictConfig], plugins: Sequence[str] = ()) -> list[JobReturn]:
    """Train jobs, also if workers are killed.

    Args:
        tasks: trains a job.
        configs: of each job, with Hydra's part.
        plugins: modules that the sweep needs again when it is resumed.

    Returns:
        a result per job; an empty one where the worker was killed twice. Its status.json says so.

    Raises:
        UserError: a worker can't run a job.
        SystemExit: a job ended with an error of its command line, or a signal came.
        KeyboardInterrupt: Ctrl+C, or another thread has stopped the tasks.
    """
    runs = [RunFolder(f"{config.hydra.sweep.dir}/{config.hydra.sweep.subdir}") for config in configs]
    results = [placeholder_result() for _ in configs]
    running: dict[Future[Any], int] = {}
    tried_again: set[int] = set()
    try:
        for i, config in enumerate(configs):
            running[tasks.start(config)] = i
        while running:
            ended = wait(running, return_when=FIRST_COMPLETED).done
            for job in ended:
                i = running.pop(job)
                try:
                    results[i] = tasks.result(job)
                except WorkerKilled as reason:
                    if i not in tried_again:
                        log.warning("%s: %s; the job is tried again", runs[i].path.name, reason)
                        tried_again.add(i)
                        running[tasks.start(configs[i])] = i
                    elif runs[i].known_status().status in ("", "running", "interrupted"):
                        mark_killed(runs[i])
    except BaseException:
        tasks.cancel(list(running))
        for run in runs:
            mark_interrupted(run)
        log.warning("sweep stopped; continue with %s", resume_sweep_text(runs[0].path.parent, plugins))
        raise
    return results


class RayTasks:
    """Trains jobs as tasks of Ray, which it starts. Several threads may use it; the main thread makes it.

    Args:
        context: of Hydra.
        task: trains a job.
        init: arguments of ``ray.init``; those that are None are left out.
        remote: arguments of ``ray.remote``, likewise.

    Raises:
        UserError: Ray can't be started or reached with these arguments, or does not have what a job asks for.
    """

    def __init__(
        self, context: HydraContext, task: TaskFunction, init: Mapping[str, Any], remote: Mapping[str, Any]
    ) -> None:
        for name, value in VARIABLES.items():
            os.environ.setdefault(name, value)  # before Ray is imported, which reads them
        import ray

        self._context, self._task = context, task
        self._references: dict[Future[Any], Any] = {}  # of jobs that have not ended
        self._stopped = False
        _start_ray(_given(init))
        if init.get("address") == "local":
            _check_resources(_given(remote), ray.cluster_resources())
        try:
            self._train = ray.remote(**{**_given(remote), "max_retries": 0})(train_in_worker)
        except (TypeError, ValueError) as error:
            raise UserError(f"hydra.launcher.ray.remote={_given(remote)}: {one_line(error)}") from error

    def start(self, config: DictConfig) -> Future[Any]:
        """Submit a job to Ray.

        Raises:
            KeyboardInterrupt: the tasks were stopped.
        """
        if self._stopped:
            raise KeyboardInterrupt
        reference = self._train.remote(self._context, self._task, config, Singleton.get_state(), str(Path.cwd()))
        job: Future[Any] = reference.future()  # Python's own wait keeps the exit code of a signal, ray.wait does not
        self._references[job] = reference
        return job

    def result(self, job: Future[Any]) -> JobReturn:
        """The result of a job that has ended.

        Raises:
            WorkerKilled: the process that trained it was killed.
            UserError: the worker can't run jobs.
            SystemExit: the job ended with an exit code.
            KeyboardInterrupt: the tasks were stopped.
        """
        from ray import exceptions

        del self._references[job]
        error = job.exception()
        if error is None:
            if isinstance(result := job.result(), JobReturn):
                return result
            raise SystemExit(result)
        if self._stopped:
            raise KeyboardInterrupt
        if isinstance(error, exceptions.OutOfMemoryError):
            raise WorkerKilled("its worker was killed because memory ran out")
        lost = (exceptions.NodeDiedError, exceptions.LocalRayletDiedError, exceptions.ObjectLostError)
        if isinstance(error, (exceptions.WorkerCrashedError, *lost)):
            raise WorkerKilled("its worker was killed")
        raise UserError(
            f"hydra/launcher=ray: a worker can't run a job: {one_line(getattr(error, 'cause', None) or error)}; "
            "install the same versions on all machines"
        ) from error

    def cancel(self, jobs: Sequence[Future[Any]]) -> None:
        """End these jobs: each writes that it was interrupted, or is killed after `LOCK_TIMEOUT`."""
        import ray

        references = dict(self._references)  # other threads remove those of jobs that have ended
        for job in jobs:
            if job in references:
                ray.cancel(references[job])
        for job in wait(jobs, timeout=LOCK_TIMEOUT).not_done:
            if job in references:
                ray.cancel(references[job], force=True)

    def stop(self) -> None:
        """End all jobs; threads that wait for them get KeyboardInterrupt."""
        self._stopped = True
        self.cancel(list(self._references))


def _start_ray(arguments: Mapping[str, Any]) -> None:
    """Start Ray, or join a running one. Signals keep their handlers, which Ray replaces.

    Raises:
        UserError: Ray can't be started or reached with these arguments.
    """
    import ray

    handlers = {number: signal.getsignal(number) for number in (*NOTICES, signal.SIGINT)}
    try:
        ray.init(logging_level=logging.ERROR, ignore_reinit_error=True, **arguments)
    except (TypeError, ValueError, RuntimeError, ConnectionError) as error:
        raise UserError(f"hydra.launcher.ray.init={dict(arguments)}: {one_line(error)}") from error
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _check_resources(asked: Mapping[str, Any], known: Mapping[str, float]) -> None:
    """Refuse jobs that Ray could never start.

    Raises:
        UserError: a job asks for more than Ray has, so it would never start.
    """
    for name, resource in RESOURCES.items():
        if asked.get(name, 0) > known.get(resource, 0):
            raise UserError(
                f"hydra.launcher.ray.remote.{name}={asked[name]}: Ray has {known.get(resource, 0):g} on this machine; "
                "give less, or another hydra.launcher.ray.init.address"
            )


def train_in_worker(
    context: HydraContext, task: TaskFunction, config: DictConfig, state: dict[Any, Any], folder: str
) -> Any:
    """Train a job in this process.

    Args:
        context: of Hydra.
        task: trains the job.
        config: of the job.
        state: of Hydra's singletons.
        folder: working directory of the sweep.

    Returns:
        the job's result, or the exit code where its command line is not valid.

    Raises:
        SystemExit: a signal stopped the job. Then this process ends, too.
    """
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    try:
        return run_job(
            hydra_context=context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except SystemExit as stop:
        if stop.code in (INTERRUPTED, TERMINATED):
            raise
        return stop.code


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are not None.

    Example:
        >>> _given({"num_cpus": 1, "num_gpus": None})
        {'num_cpus': 1}
    """
    return {name: value for name, value in arguments.items() if value is not None}
