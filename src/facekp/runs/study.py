"""Optuna's study of a search: opened by the sweep, which draws trials, and by each job, which reports its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock

from facekp.config.command import one_line
from facekp.config.references import masked
from facekp.core.errors import UserError
from facekp.runs.settings import PruneSettings, SearchSettings
from facekp.runs.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner

FOLDER = "folder"  # attribute of a trial: the name of its job's folder
REPEATED = "again"  # attribute of a trial that repeats a failed one and does not count for the budget


def open_study(folder: SweepFolder, settings: SearchSettings) -> Study:
    """The study of a sweep; a new one if there is none.

    Args:
        folder: of the sweep, which gives the study its name.
        settings: of the search.

    Raises:
        UserError: Optuna is not installed, or the storage can't be opened.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError as error:
        raise UserError(f"hparams_search=optuna: {error}; pip install 'facekp[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = FileLock(folder.journal_lock)  # Optuna's locks outlive a process that is killed
    try:
        return optuna.create_study(
            storage=settings.storage or JournalStorage(JournalFileBackend(str(folder.journal), lock)),  # type: ignore[arg-type]
            study_name=folder.path.name,
            load_if_exists=True,
            direction="minimize",
            pruner=_pruner(settings.prune),
        )
    except Exception as error:  # of SQLAlchemy, its drivers, the file system, a damaged journal
        storage = masked(settings.storage or str(folder.journal))
        raise UserError(f"hparams_search.storage={storage}: {one_line(error)}") from error


def _pruner(settings: PruneSettings) -> BasePruner:
    from optuna.pruners import NopPruner, PercentilePruner

    if settings.percentile is None:
        return NopPruner()
    return PercentilePruner(settings.percentile, n_startup_trials=settings.trials, n_warmup_steps=settings.epochs)
