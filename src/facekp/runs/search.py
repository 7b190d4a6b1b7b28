"""Searches: `python -m facekp.train -m hparams_search=optuna 'lr=tag(log, interval(1e-4, 1e-2))' …`.

Overrides as Hydra writes sweeps go in; jobs come out, a few at a time, whose values Optuna draws. They are jobs of a
sweep (`facekp.runs.sweep`), by whatever launcher, and a trial is a job's folder:

`search`      in the process of the sweep: asks the study for trials, has their jobs run, tells it what became of them
`PruningCallback`    in a job's own process: reports every epoch's RMSE, and ends a job that the study gives no hope
study.log     Optuna's journal in the sweep's folder, which both open; trials know their folder by its name

What a folder's status.json says decides, so a search that was killed loses nothing: trials that were interrupted are
gone on with, and finished ones are told that the study hasn't heard of.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Sweep
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from facekp.config.command import one_line
from facekp.core.errors import UserError
from facekp.runs import sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial, Trial

log = logging.getLogger(__name__)
AGAIN = "again"  # attribute of a trial that repeats a failed one, outside the budget

DIGITS = 4  # of a number drawn from an interval, so that names and commands stay readable

ENDED = ("ok", "pruned", "failed")


class SearchSpace:
    """What each key of a search may be, and the command line of what was drawn.

    Args:
        overrides: of the search, ``key=value``; values as Hydra writes sweeps: ``a,b``, ``choice(a,b)``,
            ``range(1,9)``, ``interval(0,1)``, ``int(interval(1,64))``, and with ``tag(log, …)`` drawn by logarithm.

    Raises:
        UserError: nothing is to be searched, or a range can't be.
    """

    def __init__(self, overrides: Iterable[Override]) -> None:
        self.parts: dict[str, str | BaseDistribution] = {}  # by key, in the order given: an override, or what to draw
        for override in overrides:
            key = override.get_key_element()
            searched = override.is_sweep_override()
            if override.key_or_group.split(".")[0] != sweep.SEARCH:
                self.parts[key] = distribution(override) if searched else str(override.input_line)
            elif searched:
                raise UserError(f"{override.input_line}: says how to search, and can't be searched itself")
        self.drawn: dict[str, Any] = {key: part for key, part in self.parts.items() if not isinstance(part, str)}
        if not self.drawn:
            raise UserError(
                f"{sweep.SEARCH}=optuna: there is nothing to search; give a key several values, "
                "as in optimizer=sgd,adam or 'lr=tag(log, interval(1e-4, 1e-2))'"
            )

    def overrides(self, values: dict[str, Any]) -> list[str]:
        """A job's own.

        Args:
            values: by key, one of each that is drawn.
        """
        return [
            part if isinstance(part, str) else f"{key}={_written(values[key], part)}"
            for key, part in self.parts.items()
        ]

    def corners(self) -> list[list[str]]:
        """Jobs in which every choice is found at least once."""
        every: dict[str, Any] = {key: getattr(part, "choices", None) or (part.low,) for key, part in self.drawn.items()}
        first = {key: values[0] for key, values in every.items()}
        return [self.overrides({**first, key: value}) for key, values in every.items() for value in values]


def distribution(override: Override) -> BaseDistribution:
    """What Optuna draws from where Hydra's sweep stands.

    Both ends of an interval belong to it; of a range the second does not, as in Hydra.

    Raises:
        UserError: it is empty, has a tag other than ``log``, or is to be drawn by logarithm and can't.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values, line = override.value(), override.input_line
    tags = values.tags if isinstance(values, Sweep) else set()
    if tags - {"log"} or (tags and override.is_choice_sweep()):
        raise UserError(f"{line}: the tag {sorted(tags)[-1]} can't be followed; there is only log, of numbers")
    if override.is_choice_sweep():
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    try:
        low, high, step = _bounds(values)
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log="log" in tags, step=int(step or 1))
        return FloatDistribution(low, high, log="log" in tags, step=step)
    except (IndexError, ValueError) as error:
        raise UserError(f"{line}: nothing can be drawn from it: {str(error).rstrip('.')}") from error


def _bounds(values: Any) -> tuple[float, float, float | None]:
    """Lowest and highest value of a range or an interval, and the step of a range."""
    if isinstance(values, IntervalSweep):
        return values.start or 0, values.end or 0, None
    grid = sorted(values.range())
    return grid[0], grid[-1], abs(values.step)


def _written(value: Any, part: Any) -> str:
    """A drawn value as an override has it; of an interval with few digits, and within it."""
    if not isinstance(value, float):
        return str(value)
    if part.step is not None:
        return f"{value:.10g}"
    return str(min(max(float(f"{value:.{DIGITS}g}"), part.low), part.high))


class PruningCallback(Checkpoint):
    """Reports a trial's RMSE after every epoch, and ends its training when the study gives it no hope.

    A `Checkpoint` so that Lightning calls it after the one that writes last.ckpt: no epoch is reported twice.

    Args:
        trial: of the job.
        percentile: words for the message.
    """

    def __init__(self, trial: Trial, percentile: float | None) -> None:
        self.trial, self.percentile = trial, percentile
        self.message = ""  # why the trial was ended

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score, epochs = trainer.callback_metrics["val/rmse"].item(), trainer.current_epoch + 1
        self.trial.report(score, epochs)
        if epochs != trainer.max_epochs and self.trial.should_prune():
            self.message = (
                f"after epoch {epochs} its RMSE was above percentile {self.percentile:g} of the finished trials"
            )
            trainer.should_stop = True


def open_study(folder: Path, settings: dict[str, Any]) -> Study:
    """The study of a sweep, a new one where there is none.

    Args:
        folder: of the sweep, which gives the study its name.
        settings: ``hparams_search``.

    Raises:
        UserError: Optuna is not installed, or the storage can't be opened.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError as error:
        raise UserError(f"{sweep.SEARCH}=optuna: {error}; pip install 'facekp[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url, prune, journal = settings["storage"], settings["prune"], folder / "study.log"
    lock = FileLock(folder / ".study.lock")  # Optuna's own locks outlive a process that is killed
    try:
        return optuna.create_study(
            storage=url or JournalStorage(JournalFileBackend(str(journal), lock)),  # type: ignore[arg-type]
            study_name=folder.name,
            load_if_exists=True,
            direction="minimize",
            pruner=_pruner(**prune),
        )
    except Exception as error:  # of SQLAlchemy, its drivers, the file system, a damaged journal
        raise UserError(f"{sweep.SEARCH}.storage={url or journal}: {one_line(error)}") from error


def _pruner(percentile: float | None, trials: int, epochs: int) -> BasePruner:
    from optuna.pruners import NopPruner, PercentilePruner

    if percentile is None:
        return NopPruner()
    return PercentilePruner(percentile, n_startup_trials=trials, n_warmup_steps=epochs)


def watch(folder: Path) -> list[PruningCallback]:
    """What a job's training needs beside it: nothing where the job belongs to no search, or its trial is over.

    Args:
        folder: of the job.
    """
    from optuna.trial import Trial, TrialState

    settings = sweep.read_search(folder.parent)
    if settings is None:
        return []
    study = open_study(folder.parent, settings)
    running = study.get_trials(states=(TrialState.RUNNING,))
    found = [trial for trial in running if trial.user_attrs.get("folder") == folder.name]
    return [PruningCallback(Trial(study, trial._trial_id), settings["prune"]["percentile"]) for trial in found[:1]]


def search(arguments: list[str], config: DictConfig, loader: ConfigLoader, launcher: Launcher) -> None:
    """Train trials until the budget is used.

    Args:
        arguments: overrides of the sweep.
        config: of the sweep, Hydra's part included.
        loader: composes a job's config.
        launcher: runs jobs.

    Raises:
        UserError: the search is not what it must be.
    """
    folder = Path(config.hydra.sweep.dir)
    settings: Any = OmegaConf.to_container(config[sweep.SEARCH], resolve=True)
    study = open_study(folder, settings)
    space = SearchSpace(OverridesParser.create(loader).parse_overrides(arguments))

    def name_of(overrides: list[str]) -> str:
        return str(loader.load_sweep_config(config, overrides).hydra.sweep.subdir)

    for overrides in space.corners():
        name_of(overrides)  # a choice that does not exist is told before the first job
    _take_up(study, folder)
    at_a_time = settings["parallel"] or _places(config)
    while trials := _next(study, space, settings, at_a_time, name_of):
        jobs = {}  # by folder: values that were drawn twice are trained once
        for trial in trials:
            name = trial.user_attrs["folder"]
            if AGAIN in trial.user_attrs or sweep.read_status(folder / name)["status"] not in ENDED:
                jobs[name] = space.overrides(trial.params)
        if jobs:
            launcher.launch(list(jobs.values()), initial_job_idx=trials[0].number)
        for trial in trials:
            _tell(study, trial.number, folder / trial.user_attrs["folder"])


def _take_up(study: Study, folder: Path) -> None:
    """Make ready for going on a study that was stopped: what had failed is tried again.

    Raises:
        UserError: the study is another sweep's.
    """
    from optuna.trial import TrialState

    last: dict[str, FrozenTrial] = {}
    for trial in study.get_trials():
        if "folder" in trial.user_attrs:
            last[trial.user_attrs["folder"]] = trial
        elif trial.state == TrialState.RUNNING:  # the search was killed while it was drawn
            study.tell(trial.number, state=TrialState.FAIL)
    for name, trial in last.items():
        if trial.state.is_finished() and not (folder / name).is_dir():
            raise UserError(
                f"{sweep.SEARCH}.storage: its study {folder.name!r} is another sweep's; choose another hydra.sweep.dir"
            )
        if trial.state == TrialState.FAIL:
            study.enqueue_trial(trial.params, user_attrs={"folder": name, AGAIN: True})


def _next(
    study: Study, space: SearchSpace, settings: dict[str, Any], at_a_time: int, name_of: Callable[[list[str]], str]
) -> list[FrozenTrial]:
    """Trials to be run: interrupted ones, then new ones while there is budget.

    What is drawn depends on the seed, the trial's place and those before it only, so that a search that was stopped
    draws what it would have drawn.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    running = (TrialState.RUNNING,)
    if not study.get_trials(states=running):
        for _ in range(at_a_time):
            counted = sum("folder" in t.user_attrs and AGAIN not in t.user_attrs for t in study.get_trials())
            if counted >= settings["trials"] and not study.get_trials(states=(TrialState.WAITING,)):
                break
            address = np.random.SeedSequence((settings["seed"], counted)).generate_state(1)
            study.sampler = TPESampler(n_startup_trials=settings["random"], seed=int(address[0]))
            asked = study.ask(space.drawn)
            asked.set_user_attr("folder", name_of(space.overrides(asked.params)))
    return study.get_trials(states=running)[:at_a_time]


def _places(config: DictConfig) -> int:
    """Jobs that the launcher runs at once, where it says: a number, or joblib's -1 for all cores."""
    jobs = OmegaConf.select(config, "hydra.launcher.n_jobs", default=1)
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)


def _tell(study: Study, number: int, folder: Path) -> None:
    from optuna.trial import TrialState

    status = sweep.read_status(folder)["status"]
    if status == "ok":
        study.tell(number, json.loads((folder / "metrics.json").read_text())["rmse"])
    else:
        study.tell(number, state=TrialState.PRUNED if status == "pruned" else TrialState.FAIL)
    log.info("trial %d: %s, %s", number, status, folder)
