"""Searches: `python -m facekp.train -m hparams_search=optuna lr='tag(log, interval(1e-4, 1e-2))' …`

A search is a sweep (`facekp.runs.sweep`) whose values Optuna draws, a few jobs at a time; any launcher may run them.
A trial is a job's folder. status.json of the folder decides what became of a trial, so a search that was killed loses
nothing: interrupted trials are resumed, and trials that finished unnoticed are reported to the study.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from facekp.core.errors import UserError
from facekp.runs.search_space import SEARCH, SearchSpace
from facekp.runs.settings import SearchSettings, parse_search
from facekp.runs.study import FOLDER, REPEATED, open_study
from facekp.runs.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)
ENDED = ("ok", "pruned", "failed")  # statuses of jobs that are not run again


def search(arguments: Sequence[str], config: DictConfig, loader: ConfigLoader, launcher: Launcher) -> None:
    """Train trials until the budget is used.

    Args:
        arguments: overrides of the sweep.
        config: of the sweep, with Hydra's part.
        loader: composes a job's config.
        launcher: runs jobs.

    Raises:
        UserError: settings are not valid, nothing is to be searched, or the study can't be opened.
    """
    folder = SweepFolder(config.hydra.sweep.dir)
    settings = _read_settings(config)
    study = open_study(folder, settings)
    space = SearchSpace(OverridesParser.create(loader).parse_overrides(list(arguments)))

    def name_of(overrides: list[str]) -> str:
        return str(loader.load_sweep_config(config, overrides).hydra.sweep.subdir)

    for overrides in space.corners():
        name_of(overrides)  # refuses a choice that does not exist, before the first job
    _prepare(study, folder)
    at_a_time = settings.parallel or _jobs_of_launcher(config)
    while trials := _next_trials(study, space, settings, at_a_time, name_of):
        jobs = {}  # by folder: values that are drawn twice are trained once
        for trial in trials:
            name = trial.user_attrs[FOLDER]
            if REPEATED in trial.user_attrs or folder.job(name).known_status().status not in ENDED:
                jobs[name] = space.overrides(trial.params)
        if jobs:
            launcher.launch(list(jobs.values()), initial_job_idx=trials[0].number)
        for trial in trials:
            _report(study, trial.number, folder, trial.user_attrs[FOLDER])


def _read_settings(config: DictConfig) -> SearchSettings:
    settings = parse_search(OmegaConf.to_container(config[SEARCH], resolve=True))
    if settings is None:
        raise UserError(f"{SEARCH}=none: a search needs {SEARCH}=optuna")
    return settings


def _prepare(study: Study, folder: SweepFolder) -> None:
    """Make a study that was stopped ready to continue: trials that failed are queued again.

    Raises:
        UserError: the study belongs to another sweep.
    """
    from optuna.trial import TrialState

    last: dict[str, FrozenTrial] = {}
    for trial in study.get_trials():
        if FOLDER in trial.user_attrs:
            last[trial.user_attrs[FOLDER]] = trial
        elif trial.state == TrialState.RUNNING:  # the search was killed while it was drawn
            study.tell(trial.number, state=TrialState.FAIL)
    for name, trial in last.items():
        if trial.state.is_finished() and not folder.job(name).path.is_dir():
            raise UserError(
                f"{SEARCH}.storage: its study {folder.path.name!r} is another sweep's; choose another hydra.sweep.dir"
            )
        if trial.state == TrialState.FAIL:
            study.enqueue_trial(trial.params, user_attrs={FOLDER: name, REPEATED: True})


def _next_trials(
    study: Study, space: SearchSpace, settings: SearchSettings, at_a_time: int, name_of: Callable[[list[str]], str]
) -> list[FrozenTrial]:
    """Trials to run: interrupted ones, or new ones while the budget lasts.

    The values of a trial depend only on the seed, the number of trials before it and their results. A search that was
    stopped therefore draws the same values as one that was not.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    running = (TrialState.RUNNING,)
    if not study.get_trials(states=running):
        for _ in range(at_a_time):
            counted = sum(FOLDER in t.user_attrs and REPEATED not in t.user_attrs for t in study.get_trials())
            if counted >= settings.trials and not study.get_trials(states=(TrialState.WAITING,)):
                break
            seed = np.random.SeedSequence((settings.seed, counted)).generate_state(1)
            study.sampler = TPESampler(n_startup_trials=settings.random, seed=int(seed[0]))
            trial = study.ask(space.drawn)
            trial.set_user_attr(FOLDER, name_of(space.overrides(trial.params)))
    return study.get_trials(states=running)[:at_a_time]


def _jobs_of_launcher(config: DictConfig) -> int:
    """Jobs that the launcher runs at a time: ``n_jobs``, or 1 if it has none; -1 means all cores, as in joblib."""
    jobs: Any = OmegaConf.select(config, "hydra.launcher.n_jobs", default=1)
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)


def _report(study: Study, number: int, folder: SweepFolder, name: str) -> None:
    """Tell the study what became of a trial."""
    from optuna.trial import TrialState

    job = folder.job(name)
    status = job.known_status().status
    rmse = job.read_metrics().get("rmse") if status == "ok" else None
    if status == "ok" and rmse is None:
        log.warning("trial %d: no validation row has a label, so it can't be compared: %s", number, job)
    if rmse is not None:
        study.tell(number, rmse)
    else:
        study.tell(number, state=TrialState.PRUNED if status == "pruned" else TrialState.FAIL)
    log.info("trial %d: %s, %s", number, status, job)
