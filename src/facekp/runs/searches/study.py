"""Optuna's study of a search: opened by the sweep, which draws trials, and by each job, which reports its epochs.

The study is in a journal in the sweep's folder, or in a database that may hold studies of other sweeps
(``hparams_search.storage``). Then study.yaml in the sweep's folder has the study's name, and a mark of the sweep, which
the study has, too. So a folder that is renamed keeps its study, and no sweep takes over the study of another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock

from facekp.config.command import one_line
from facekp.config.references import masked
from facekp.core.errors import UserError
from facekp.core.files import write_yaml
from facekp.core.plain_files import read_yaml
from facekp.runs.file_checks import mapping, reading, texts
from facekp.runs.settings import PruneSettings, SearchSettings
from facekp.runs.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner

FOLDER = "folder"  # attribute of a trial: the name of its job's folder
RETRY = "again"  # attribute of a trial that repeats a failed one, so that it does not count for the budget
USED_BY = "used by "  # and the mark of a sweep: attribute of a study in a database, true for the sweep that uses it


def open_study(folder: SweepFolder, settings: SearchSettings) -> Study:
    """The study of a sweep; a new one if there is none.

    Args:
        folder: of the sweep; its name is that of a new study.
        settings: name, database and sampler of the study.

    Raises:
        UserError: Optuna is not installed, the storage can't be opened, or study.yaml is damaged.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError as error:
        raise UserError(f"hparams_search=optuna: {error}; pip install 'facekp[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = FileLock(folder.journal_lock)  # Optuna's locks outlive a process that is killed
    name, _ = _read_record(folder) or (folder.path.name, "")
    try:
        storage: Any = settings.storage
        if storage is None:
            storage = JournalStorage(JournalFileBackend(str(folder.journal), lock))  # type: ignore[arg-type]
            name = _name_in_journal(storage, folder.path.name)
        return optuna.create_study(
            storage=storage,
            study_name=name,
            load_if_exists=True,
            direction="minimize",
            pruner=_pruner(settings.prune),
        )
    except Exception as error:  # of SQLAlchemy, its drivers, the file system, a damaged journal
        shown = masked(settings.storage or str(folder.journal))
        raise UserError(f"hparams_search.storage={shown}: {one_line(error)}") from error


def claim_study(study: Study, folder: SweepFolder) -> None:
    """Note in a study of a database which sweep uses it, and in the sweep's folder which study that is.

    Args:
        study: of `open_study`.
        folder: of the sweep.

    Raises:
        UserError: another sweep uses the study.
    """
    record = _read_record(folder)
    mark = uuid4().hex if record is None else record[1]
    _check_claims(study, mark)
    if record is None:
        finished = [trial for trial in study.get_trials() if trial.state.is_finished() and FOLDER in trial.user_attrs]
        if not all(folder.job(trial.user_attrs[FOLDER]).path.is_dir() for trial in finished):
            raise _study_of_another(study)  # of an older version, which left no mark
        write_yaml(_record(folder), {"name": study.study_name, "mark": mark})
    study.set_user_attr(f"{USED_BY}{mark}", True)
    try:
        _check_claims(study, mark)  # again: of two searches that start at the same moment, at most one passes
    except UserError:
        study.set_user_attr(f"{USED_BY}{mark}", False)
        if record is None:
            _record(folder).unlink()
        raise


def _study_of_another(study: Study) -> UserError:
    """The error of a study in a database that belongs to another sweep."""
    return UserError(
        f"hparams_search.storage: its study {study.study_name!r} is another sweep's; choose another hydra.sweep.dir, "
        "or delete the study if that sweep is gone"
    )


def _check_claims(study: Study, mark: str) -> None:
    """Refuse a study that another sweep uses.

    Raises:
        UserError: a sweep with another mark uses the study.
    """
    used = [key for key, value in study.user_attrs.items() if key.startswith(USED_BY) and value]
    if any(key != f"{USED_BY}{mark}" for key in used):
        raise _study_of_another(study)


def _record(folder: SweepFolder) -> Path:
    """The file that names a sweep's study in a database."""
    return folder.path / "study.yaml"


def _read_record(folder: SweepFolder) -> tuple[str, str] | None:
    """Name of a sweep's study in a database, and mark of the sweep; None before it is claimed.

    Raises:
        UserError: the file is damaged.
    """
    path = _record(folder)
    if not path.is_file():
        return None
    with reading(path):
        record = mapping(read_yaml(path))
        name, mark = texts([record["name"], record["mark"]])
        return name, mark


def _name_in_journal(storage: Any, default: str) -> str:
    """Name of the study in a sweep's own journal, which the folder had when the search began.

    Older versions began a second study in a folder that was renamed; the last one is continued.
    """
    from optuna.study import get_all_study_names

    names = get_all_study_names(storage)
    return default if default in names or not names else names[-1]


def _pruner(settings: PruneSettings) -> BasePruner:
    from optuna.pruners import NopPruner, PercentilePruner

    if settings.percentile is None:
        return NopPruner()
    return PercentilePruner(settings.percentile, n_startup_trials=settings.trials, n_warmup_steps=settings.epochs)
