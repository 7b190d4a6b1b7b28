"""Sweeps: `python -m facekp.train -m lr=1e-3,5e-4 …` trains a network per job; here is what Hydra lacks for it.

Jobs are named by the settings that differ, all of them end in one table, and a killed sweep can be resumed. This works
through a callback of Hydra, so any sweeper and any launcher may run the jobs. Every training imports this module, so it
imports nothing heavy.
"""

from __future__ import annotations

import atexit
import logging
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from facekp.config.arguments import key_of
from facekp.config.command import exit_with_error
from facekp.config.references import masked, remember_references, with_references
from facekp.core.errors import UserError, first_line
from facekp.core.files import remove_parts, write_csv
from facekp.core.outputs import exclusive, output_folder
from facekp.core.settings import NewPath, Settings, parse
from facekp.core.signals import stop_before_errors
from facekp.runs.folder import config_dir_options
from facekp.runs.resume_arguments import RERUN, RESUME, RUN_DIR, check_run_dir
from facekp.runs.searches.space import SEARCH
from facekp.runs.settings import SearchSettings, parse_search
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.arguments import MAY_DIFFER, SWEEP_DIR, SWEEP_RESUME, resume_sweep_text, sweeper_params
from facekp.runs.sweeps.job import SUCCESSFUL
from facekp.runs.sweeps.job_names import constant_keys, register_job_name, short_value

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
SHARED_KEYS = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's key for overrides that name no folder
MODE = "hydra.mode"
NOT_KEPT = ("debug", MODE, "hydra.sweep.dir")  # keys that change nothing about the jobs
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
FAULT_TOLERANT_JOBLIB = "hydra_plugins.facekp_joblib.FaultTolerantJoblibLauncher"  # takes its place

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
RESUMING_SWEEPER = "hydra_plugins.facekp_resume.ResumingSweeper"  # takes its place in a sweep that is resumed
RESUMING = "hydra_plugins.facekp_resume.ResumingLauncher"  # around the launcher of a sweep that is resumed
NAMED_BY_SETTINGS = "${job_name:}"


class _SweepDir(Settings):
    dir: NewPath


class Sweep(Callback):
    """Hydra calls it before a run, and before the first and after the last job of a sweep.

    In between, the sweep holds its folder's lock.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # launchers send the callback to their workers; the lock stays here

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _errors_end_the_command():
            check_run_dir([f"{RUN_DIR}={config.hydra.run.dir}"])  # again, as a config file may set it

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        register_job_name()
        with _errors_end_the_command():
            self._held = begin_sweep(config)
        atexit.register(self._held.close)  # Hydra does not call the end of a sweep that is stopped

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from facekp.core.keypoints import Keypoints  # imported here, as it needs NumPy

        with _errors_end_the_command():
            scheme: Any = OmegaConf.to_container(config.keypoints, resolve=True)
            sources = Keypoints.from_dict(scheme).source_names
            by_option = MODE in map(key_of, _typed(config)["hydra"])  # Hydra adds it for -m
            options = [] if by_option else [f"{MODE}=RUN"]  # a config file sets the mode, for the best job, too
            successful = finish_sweep(SweepFolder(config.hydra.sweep.dir), sources, config.plugins, options)
        self._held.close()
        if not successful:
            sys.exit(1)


@contextmanager
def _errors_end_the_command() -> Iterator[None]:
    """Exit with 2 after a mistake and with 1 after another error. Hydra would print a warning and exit with 0."""
    try:
        with stop_before_errors():
            yield
    except UserError as error:
        exit_with_error(error)
    except Exception:  # also of a plug-in
        traceback.print_exc()
        sys.exit(1)


def _typed(config: DictConfig) -> dict[str, list[str]]:
    """The overrides of the command line, unresolved: one may refer to what only a job has."""
    typed: Any = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    return typed


def begin_sweep(config: DictConfig) -> ExitStack:
    """Write sweep.yaml, and name the jobs by the settings that differ.

    Args:
        config: of the multirun with Hydra's part, where the keys that all jobs share are noted.

    Returns:
        what holds the folder's lock until it is closed, so that no other sweep uses the folder.

    Raises:
        UserError: the folder holds something else, another process writes to it, two jobs would get one name, or a
            setting is not valid.
    """
    remember_references(config)

    typed = _typed(config)
    task = [*sweeper_params(config), *typed["task"]]
    _check_command_line(config, task)
    _check_numbers(config)
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(task)
    _check_values(parsed)
    shared = [*config.hydra.job.config.override_dirname.exclude_keys, *constant_keys(parsed)]
    search = parse_search(OmegaConf.to_container(config[SEARCH], resolve=True))
    _check_storage(search)
    if config.hydra.sweeper._target_ == BASIC_SWEEPER:
        _check_ranges(parsed)

    # the folder
    overrides = [text for text in (*typed["task"], *typed["hydra"]) if key_of(text) not in NOT_KEPT]
    arguments = [*config_dir_options(config.hydra), *overrides]
    named = any(key_of(text) == SWEEP_DIR for text in typed["hydra"])
    with ExitStack() as stack:
        folder = stack.enter_context(_claimed(str(config.hydra.sweep.dir), named, arguments))
        remove_parts(folder.path)
        folder.write_settings(arguments, search)
        held = stack.pop_all()
    _configure_hydra(config, folder, shared)
    return held


def _configure_hydra(config: DictConfig, folder: SweepFolder, shared: Sequence[str]) -> None:
    """Let Hydra write to the sweep's folder, and choose the launcher and the sweeper that it needs.

    Args:
        config: of the multirun; Hydra's part of it is changed.
        folder: of the sweep.
        shared: keys that all jobs share, which are not part of the jobs' names.
    """
    with read_write(config):
        hydra = config.hydra
        hydra.sweep.dir = str(folder)
        hydra.overrides.hydra += [f"{SWEEP_DIR}={folder}", f"{SHARED_KEYS}=[{','.join(shared)}]"]
        if hydra.launcher._target_ == JOBLIB:
            hydra.launcher._target_ = FAULT_TOLERANT_JOBLIB
        if folder.jobs() and _subdir(config) == NAMED_BY_SETTINGS:
            hydra.launcher = {
                "_target_": RESUMING,
                "_recursive_": False,
                "chosen": hydra.launcher,
                "shared": list(shared),
            }
            if hydra.sweeper._target_ == BASIC_SWEEPER:
                hydra.sweeper._target_ = RESUMING_SWEEPER


def _subdir(config: DictConfig) -> Any:
    """How the jobs' folders are named, as it was written."""
    plain: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return plain["subdir"]


def _check_storage(search: SearchSettings | None) -> None:
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


def _check_numbers(config: DictConfig) -> None:
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


def _check_values(overrides: Sequence[Override]) -> None:
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


def _check_ranges(overrides: Sequence[Override]) -> None:
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


def _check_command_line(config: DictConfig, task_overrides: Sequence[str]) -> None:
    """Refuse settings that have another meaning in a sweep.

    Raises:
        UserError: a setting has another meaning in a sweep.
    """
    if config.hydra.job.chdir:
        raise UserError("hydra.job.chdir=true: jobs find their files from the working directory; leave it out")
    if "/" in str(_subdir(config)):
        raise UserError(f"hydra.sweep.subdir={_subdir(config)}: must be the name of one folder, without /")
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


@contextmanager
def _claimed(path: str, named: bool, arguments: Sequence[str]) -> Iterator[SweepFolder]:
    """The sweep's folder: new or empty, or that of the same sweep, which is continued.

    Args:
        path: folder that the user or the config names.
        named: whether the user named it; else a suffix makes it new.
        arguments: arguments of the command that starts the sweep.

    Raises:
        UserError: the folder holds something else, or its path would have to be quoted in ``ckpt=`` and ``resume=``.
    """
    folder = SweepFolder(str(parse(_SweepDir, {"dir": path}, "hydra.sweep").dir))
    if named and folder.settings.is_file():
        with exclusive(folder.path, SWEEP_DIR):
            if folder.jobs() and _fixed(folder.read_overrides()) != _fixed(arguments):
                raise UserError(
                    f"{SWEEP_DIR}={folder}: holds another sweep; choose another folder, or resume it with "
                    f"{SWEEP_RESUME}{folder}"
                )
            yield folder
        return
    with output_folder(str(folder) if named else None, str(folder), key=SWEEP_DIR) as claimed:
        yield SweepFolder(claimed)


def _fixed(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if key_of(override) not in MAY_DIFFER]


def finish_sweep(
    folder: SweepFolder, sources: Sequence[str], plugins: Sequence[str] = (), options: Sequence[str] = ()
) -> bool:
    """Show all jobs in a table, write sweep.csv, and log the best configuration and its command.

    Jobs whose results can't be compared are logged, too.

    Args:
        folder: of the sweep.
        sources: names of the labelling conventions.
        plugins: modules that the sweep needs again when it is resumed.
        options: further arguments of the command that trains the best job again.

    Returns:
        whether no job failed.
    """
    from facekp.core.console import show  # imported here: these take seconds, and only the end of a sweep needs them
    from facekp.runs.sweeps.configurations import comparison_warnings, repeated_keys
    from facekp.runs.sweeps.table import read_jobs, sweep_table

    jobs = read_jobs(folder, sources)
    write_csv(folder.table, jobs)
    show(sweep_table(jobs, str(folder)))
    if repeated := repeated_keys(jobs):
        _log_best_configuration(folder, jobs, repeated, options)
    else:
        for name in jobs.loc[(jobs["status"] == "ok") & jobs["rmse"].notna(), "folder"].head(1):
            _log_best([*folder.job(name).read_overrides(), *options])
    for warning in comparison_warnings(folder, jobs):
        log.warning("%s", warning)
    failed = jobs.loc[~jobs["status"].isin(SUCCESSFUL), "folder"]
    if len(failed):
        runs = [folder.job(name) for name in failed]
        reasons = ", ".join(str(run.traceback if run.traceback.is_file() else run.status) for run in runs)
        log.warning("%d of %d jobs failed: %s", len(failed), len(jobs), reasons)
        log.warning("%s runs them again", resume_sweep_text(folder, plugins))
    return failed.empty


def _log_best_configuration(
    folder: SweepFolder, jobs: pd.DataFrame, repeated: Sequence[str], options: Sequence[str]
) -> None:
    """Show and write the configurations, and log the one with the lowest mean RMSE over folds and seeds."""
    from facekp.core.console import show
    from facekp.runs.sweeps.configurations import by_configuration, command_of, configurations_table, mean_and_deviation

    configurations = by_configuration(jobs)
    write_csv(folder.configurations, configurations)
    show(configurations_table(configurations, repeated))
    for _, best in configurations[configurations["rmse"].notna()].head(1).iterrows():
        pruned = int(best.get("pruned", 0))
        total = best["jobs"] + pruned
        of_several = f", mean and standard deviation of {total} jobs that differ in {' and '.join(repeated)}"
        of_pruned = f" ({pruned} of them pruned)" if pruned else ""
        log.info("best: RMSE %s px%s", mean_and_deviation(best), f"{of_several}{of_pruned}" if total > 1 else "")
        _log_best([*command_of(folder.job(best["folder"]).read_overrides(), repeated), *options])


def _log_best(arguments: Sequence[str]) -> None:
    log.info("best: python -m facekp.train %s", shlex.join(arguments))
