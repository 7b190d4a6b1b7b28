"""One job of a sweep: trained by one process at a time, with its status in status.json.

A job that fails ends no other job. A job that was interrupted is resumed, and a finished one is kept. The run of other
settings in a job's folder is refused, so no sweep reports another one's results.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from facekp.config.command import one_line
from facekp.config.references import masked
from facekp.core.errors import UserError
from facekp.core.signals import exit_code, stop_behind
from facekp.runs.child_command import wait_for_command
from facekp.runs.file_checks import DamagedRunFile
from facekp.runs.folder import RunFolder, RunStatus, config_dir_options
from facekp.runs.resume_arguments import JOB_FOLDER, MOVED, first_difference
from facekp.runs.sequence import resume_arguments
from facekp.runs.sweeps.arguments import MAY_DIFFER, resume_sweep_text
from facekp.runs.sweeps.job_names import job_settings
from facekp.runs.sweeps.orphans import job_of_worker

log = logging.getLogger(__name__)
SUCCESSFUL = ("ok", "pruned")
LINES_KEPT = 100  # of the output of a job's own process, for traceback.txt


class Pruned(Exception):
    """A search ended a job early. The message says why."""


def run_job(folder: RunFolder, cfg: DictConfig, train: Callable[[bool], dict[str, Any]]) -> dict[str, Any] | None:
    """Train a job, and keep its status.

    Args:
        folder: where the job is written.
        cfg: the job's config.
        train: trains the job and returns its metrics; its argument says whether the job is resumed.

    Returns:
        the metrics; None if the job failed or was pruned just now.

    Raises:
        UserError: the folder holds the run of another job.
        SystemExit: a signal came; the exit code is 130 after Ctrl+C, 143 after SIGTERM.
    """
    with job_of_worker(), folder.locked():
        successful = folder.known_status().status in SUCCESSFUL  # with a damaged status it is run again
        try:
            if successful or folder.has_begun():
                _check_same_settings(folder)
            if successful:
                metrics = folder.read_metrics()
                log.info("skipped: %s is already finished", folder)
                return metrics
        except DamagedRunFile as error:  # the other jobs go on
            print(f"facekp: error: {error}; remove the job's folder to train it anew", file=sys.stderr)
            return None
        return _train(folder, cfg, train)


def _check_same_settings(folder: RunFolder) -> None:
    """Refuse to continue a job in the folder of another one.

    Raises:
        UserError: the run in the folder was started with other settings than this job.
    """
    if difference := first_difference(folder, (*MAY_DIFFER, *MOVED, "debug")):
        raise UserError(f"{folder}: holds the run of another job ({difference}); choose another hydra.sweep.dir")


def _train(folder: RunFolder, cfg: DictConfig, train: Callable[[bool], dict[str, Any]]) -> dict[str, Any] | None:
    settings = job_settings(HydraConfig.get(), cfg)

    def set_status(status: str, message: str = "") -> None:
        folder.write_status(RunStatus(status, message, settings))

    set_status("running")
    folder.remove_traceback()
    try:
        metrics = train(folder.has_begun())
    except Pruned as reason:
        set_status("pruned", str(reason))
        return None
    except BaseException as error:  # also of a plug-in, which may call sys.exit
        if (stop := stop_behind(error)) is not None:
            set_status("interrupted")
            log.warning("sweep stopped; continue with %s", resume_sweep_text(folder.path.parent, cfg.plugins))
            sys.exit(exit_code(stop))
        message = f"sys.exit was called: {error}" if isinstance(error, SystemExit) else one_line(error)
        text = masked("".join(traceback.format_exception(error)))
        folder.write_traceback(text)
        set_status("failed", message)
        if cfg.debug is True:
            sys.stderr.write(text)
        print(f"facekp: error: {folder.path.name}: {message}", file=sys.stderr)
        return None
    set_status("ok")
    return metrics


def train_in_new_process(folder: RunFolder, overrides: Sequence[str], resume: bool) -> dict[str, Any]:
    """Train a job by a command of its own, which distributed training can start again for every device.

    Args:
        folder: where the job is written.
        overrides: overrides of the job.
        resume: whether to continue the training in the folder.

    Returns:
        the metrics.

    Raises:
        UserError: the command failed. The last lines of its output are attached to the error as a note.
    """
    arguments = resume_arguments(folder, overrides) if resume else overrides
    options = [*config_dir_options(HydraConfig.get()), *arguments, "hydra.mode=RUN", f"hydra.run.dir={folder}"]
    command = [sys.executable, "-m", "facekp.train", *options]
    printed: deque[str] = deque(maxlen=LINES_KEPT)

    def print_and_keep(line: str) -> None:
        sys.stderr.write(line)
        printed.append(line)

    code = wait_for_command(command, print_and_keep, {JOB_FOLDER: str(folder)})
    if code:
        last = printed[-1].strip().removeprefix("facekp: error: ") if printed else "nothing was printed"
        killed = f"its process was killed by signal {-code}, perhaps because memory ran out"
        error = UserError(killed if code < 0 else f"{last} (exit code {code})")
        error.add_note("".join(printed))
        raise error
    return folder.read_metrics()
