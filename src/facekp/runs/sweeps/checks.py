"""What a sweep is refused for before its first job: settings with another meaning there, and lists without a value."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf

from facekp.config.arguments import key_of
from facekp.config.references import masked, with_references
from facekp.core.errors import UserError, first_line
from facekp.runs.resume_arguments import RERUN, RESUME
from facekp.runs.searches.space import SEARCH
from facekp.runs.settings import SearchSettings
from facekp.runs.sweeps.arguments import SWEEP_DIR
from facekp.runs.sweeps.job_names import short_value

KNOWN_TO_JOBS = re.compile(r"\$\{(now:[^}]*|hydra[.:]job\.(num|id))\}")  # a search names a trial before its job starts


def check_command_line(config: DictConfig, task_overrides: Sequence[str]) -> None:
    """Refuse settings that have another meaning in a sweep.

    Raises:
        UserError: a setting has another meaning in a sweep.
    """
    if config.hydra.job.chdir:
        raise UserError("hydra.job.chdir=true: jobs find their files from the working directory; leave it out")
    if "/" in str(subdir_of(config)):
        raise UserError(f"hydra.sweep.subdir={subdir_of(config)}: must be the name of one folder, without /")
    for key in ("out", "overwrite"):
        if any(key_of(text) == key for text in task_overrides):
            raise UserError(f"{key}: is for one run; with -m, {SWEEP_DIR}=DIR names the folder of all jobs")
    instead = {
        RESUME: "resumes one run, without -m; sweep.resume=DIR resumes a sweep",
        RERUN: "repeats one run, without -m",
    }
    for text in task_overrides:
        if key_of(text) in instead and not text.endswith("=null"):
            raise UserError(f"{text}: {instead[key_of(text)]}")


def check_values(overrides: Sequence[Override]) -> None:
    """Refuse lists of values that are empty: the sweep would have no jobs.

    Raises:
        UserError: a key has no value.
    """
    for override in overrides:
        if not override.is_sweep_override() or isinstance(override.value(), IntervalSweep):
            continue
        try:
            is_empty = next(override.sweep_string_iterator(), None) is None
        except ValueError as error:  # range(0,2,0)
            raise UserError(f"{override.input_line}: {first_line(error)}") from error
        if is_empty:
            raise UserError(f"{override.input_line}: stands for no value, so there is nothing to train; change it")


def check_ranges(overrides: Sequence[Override]) -> None:
    """Refuse ranges to draw from in a sweep of all combinations.

    Raises:
        UserError: a key has a range to draw from, which a sweep of all combinations can't do.
    """
    for override in overrides:
        values = override.value()
        if isinstance(values, IntervalSweep):
            key = override.get_key_element()
            ends = ",".join(short_value(str(end or 0)) for end in (values.start, values.end))
            raise UserError(
                f"{override.input_line}: a range needs a search, e.g. {SEARCH}=optuna; or list values, {key}={ends}"
            )


def check_numbers(config: DictConfig) -> None:
    """Refuse numbers of jobs for which Hydra or joblib would end with a traceback.

    Raises:
        UserError: the sweeper or the launcher has such a number, or there is no Slurm.
    """
    at_once = OmegaConf.select(config, "hydra.sweeper.max_batch_size")
    if at_once is not None and at_once < 1:
        raise UserError(f"hydra.sweeper.max_batch_size={at_once}: must be at least 1, or null for no limit")
    if OmegaConf.select(config, "hydra.launcher.n_jobs") == 0:
        raise UserError("hydra.launcher.n_jobs=0: must be at least 1, or -1 for all cores")
    if config.hydra.launcher._target_.endswith(".SlurmLauncher") and shutil.which("srun") is None:
        raise UserError(
            "hydra/launcher=submitit_slurm: srun was not found; start the sweep on a machine of the Slurm cluster, or "
            "choose hydra/launcher=submitit_local"
        )


def check_trial_names(config: DictConfig) -> None:
    """Refuse folders of a search that are named by what only a job knows.

    Raises:
        UserError: the folders are named by the number of a job, or by the time.
    """
    if unknown := KNOWN_TO_JOBS.search(str(subdir_of(config))):
        raise UserError(
            f"hydra.sweep.subdir={subdir_of(config)}: a search names its jobs by their settings, not by "
            f"{unknown.group()}; leave it out"
        )


def check_storage(search: SearchSettings | None) -> None:
    """Refuse a password in the URL of a search's database.

    Raises:
        UserError: sweep.yaml would hold a password.
    """
    storage = "" if search is None else str(with_references({"storage": search.storage}, SEARCH)["storage"])
    if masked(storage) != storage:
        raise UserError(
            f"{SEARCH}.storage={masked(storage)}: holds a password, which sweep.yaml would keep; put the URL into a "
            f"variable of the environment, and give {SEARCH}.storage='${{oc.env:NAME}}'"
        )


def subdir_of(config: DictConfig) -> Any:
    """How the jobs' folders are named, as it was written."""
    plain: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return plain["subdir"]
