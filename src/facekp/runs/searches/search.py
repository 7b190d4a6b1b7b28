"""Searches: `python -m facekp.train -m hparams_search=optuna lr='tag(log, interval(1e-4, 1e-2))' …`

A search is a sweep (`facekp.runs.sweeps.sweep`) whose values Optuna draws; any launcher may run the jobs. As soon as a
trial ends, the next one is drawn: it does not wait for others that run at the same time. A trial is a job's folder.
status.json of the folder decides what became of a trial, so a search that was killed loses nothing: interrupted trials
are resumed, and trials that finished unnoticed are reported to the study.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from facekp.core.errors import UserError
from facekp.runs.searches.space import SEARCH, SearchSpace
from facekp.runs.searches.study import FOLDER, RETRY, claim_study, open_study
from facekp.runs.searches.worker_threads import WorkerThreads
from facekp.runs.settings import SearchSettings, parse_search
from facekp.runs.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)
NOT_RUN_AGAIN = ("ok", "pruned", "failed")  # statuses of jobs that are not run again


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

    names: dict[str, list[str]] = {}
    for overrides in space.corners():
        name = name_of(overrides)  # refuses a choice that does not exist
        for first, second in zip(names.setdefault(name, overrides), overrides, strict=True):
            if first != second:
                raise UserError(f"hydra.sweep.subdir={name}: {first} and {second} would share it; leave it out")
    _prepare(study, folder, settings)
    at_a_time = _jobs_at_a_time(settings, config, launcher)
    trials = _Trials(study, space, settings, at_a_time, folder, name_of)
    if at_a_time == 1:  # in this thread, which Hydra's own launcher needs
        for trial in iter(trials.next, None):
            trials.run(trial, launcher)
            trials.report(trial)
    else:
        _run_in_threads(trials, launcher)


def _run_in_threads(trials: _Trials, launcher: Launcher) -> None:
    """Keep as many trials running as may run at a time, until the budget is used."""
    threads = WorkerThreads()
    running: dict[str, list[FrozenTrial]] = {}  # by folder: values that are drawn twice are trained once
    try:
        while True:
            while sum(map(len, running.values())) < trials.at_a_time and (trial := trials.next()):
                same = running.setdefault(trial.user_attrs[FOLDER], [])
                same.append(trial)
                if len(same) == 1:
                    threads.start(trial.user_attrs[FOLDER], partial(trials.run, trial, launcher))
            if not running:
                return
            for trial in running.pop(threads.next_finished()):
                trials.report(trial)
    except BaseException:  # a signal, or an error of a launcher
        stop = getattr(_innermost(launcher), "stop", None)  # of launchers whose jobs end with this process
        if stop is not None:
            stop()
            threads.join()
        raise


def _read_settings(config: DictConfig) -> SearchSettings:
    settings = parse_search(OmegaConf.to_container(config[SEARCH], resolve=True))
    if settings is None:
        raise UserError(f"{SEARCH}=none: a search needs {SEARCH}=optuna")
    return settings


def _prepare(study: Study, folder: SweepFolder, settings: SearchSettings) -> None:
    """Make a study that was stopped ready to continue: failed trials and those of removed folders are queued again.

    Raises:
        UserError: the study belongs to another sweep.
    """
    from optuna.trial import TrialState

    trials = study.get_trials()
    last = {trial.user_attrs[FOLDER]: trial for trial in trials if FOLDER in trial.user_attrs}
    if settings.storage is not None:
        claim_study(study, folder)
    for trial in trials:
        if FOLDER not in trial.user_attrs and trial.state == TrialState.RUNNING:  # killed while it was drawn
            study.tell(trial.number, state=TrialState.FAIL)
    for name, trial in last.items():
        removed = trial.state.is_finished() and not folder.job(name).path.is_dir()
        if trial.state == TrialState.FAIL or removed:
            study.enqueue_trial(trial.params, user_attrs={FOLDER: name, RETRY: True})


@dataclass
class _Trials:
    """The trials of a search: draws, runs and reports them.

    The values of a trial depend only on the seed, the number of trials before it and the results that are known. A
    search that was stopped therefore draws the same values as one that was not, if one trial runs at a time.

    Attributes:
        study: knows the trials.
        space: that values are drawn from.
        settings: budget, sampler and pruning of the search.
        at_a_time: trials that run at a time.
        folder: folder of the sweep.
        name_of: the name of a job's folder, from its overrides.
    """

    study: Study
    space: SearchSpace
    settings: SearchSettings
    at_a_time: int
    folder: SweepFolder
    name_of: Callable[[list[str]], str]

    def __post_init__(self) -> None:
        from optuna.trial import TrialState

        interrupted = self.study.get_trials(states=(TrialState.RUNNING,))
        self.interrupted = iter(interrupted)  # of a search that was stopped

    def next(self) -> FrozenTrial | None:
        """The next trial: an interrupted one, or a new one while the budget lasts; None: all have been run."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        if (trial := next(self.interrupted, None)) is not None:
            return trial
        counted = sum(FOLDER in t.user_attrs and RETRY not in t.user_attrs for t in self.study.get_trials())
        if counted >= self.settings.trials and not self.study.get_trials(states=(TrialState.WAITING,)):
            return None
        seed = np.random.SeedSequence((self.settings.seed, counted)).generate_state(1)
        self.study.sampler = TPESampler(
            n_startup_trials=self.settings.random,
            seed=int(seed[0]),
            constant_liar=self.at_a_time > 1,  # keeps away from the values of trials that still run
        )
        drawn = self.study.ask(self.space.drawn)
        drawn.set_user_attr(FOLDER, self.name_of(self.space.overrides(drawn.params)))
        return self.study.get_trials()[drawn.number]

    def run(self, trial: FrozenTrial, launcher: Launcher) -> None:
        """Run a trial's job, unless an earlier trial with the same values has ended."""
        job = self.folder.job(trial.user_attrs[FOLDER])
        if RETRY in trial.user_attrs or job.known_status().status not in NOT_RUN_AGAIN:
            launcher.launch([self.space.overrides(trial.params)], initial_job_idx=trial.number)

    def report(self, trial: FrozenTrial) -> None:
        """Tell the study what became of a trial."""
        from optuna.trial import TrialState

        job = self.folder.job(trial.user_attrs[FOLDER])
        status = job.known_status().status
        rmse = job.read_metrics().get("rmse") if status == "ok" else None
        if status == "ok" and rmse is None:
            log.warning("trial %d: no validation row has a label, so it can't be compared: %s", trial.number, job)
        if rmse is not None:
            self.study.tell(trial.number, rmse)
        else:
            self.study.tell(trial.number, state=TrialState.PRUNED if status == "pruned" else TrialState.FAIL)
        log.info("trial %d: %s, %s", trial.number, status, job)


def _jobs_at_a_time(settings: SearchSettings, config: DictConfig, launcher: Launcher) -> int:
    """Trials that run at a time: ``hparams_search.parallel``, or the jobs of the launcher.

    Raises:
        UserError: the launcher runs jobs in this process, one after another.
    """
    if (settings.parallel or 1) > 1 and isinstance(_innermost(launcher), BasicLauncher):
        raise UserError(
            f"{SEARCH}.parallel={settings.parallel}: jobs run one after another here; add a launcher, such as "
            "hydra/launcher=joblib"
        )
    return settings.parallel or _jobs_of_launcher(config)


def _innermost(launcher: Launcher) -> Launcher:
    """The launcher that the user chose; a resumed sweep has another one around it."""
    return getattr(launcher, "launcher", launcher)


def _jobs_of_launcher(config: DictConfig) -> int:
    """Jobs that the launcher runs at a time: ``n_jobs``, or 1 if it has none; -1 means all cores, as in joblib."""
    jobs: Any = OmegaConf.select(config, "hydra.launcher.n_jobs", default=1)
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)
