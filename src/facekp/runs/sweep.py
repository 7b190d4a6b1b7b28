"""Sweeps: `python -m facekp.train -m lr=1e-3,5e-4 …` trains a network per job; here is what Hydra lacks for it.

Jobs are named by the settings that differ, all of them end in one table, and a killed sweep can be resumed. This works
through a callback of Hydra, so any sweeper and any launcher may run the jobs. Every training imports this module, so it
imports nothing heavy.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from facekp.config.command import key_of, leave
from facekp.core.errors import UserError
from facekp.core.files import write_csv
from facekp.runs.job import SUCCESSFUL, config_dir_options
from facekp.runs.job_names import constant_keys, register_job_name
from facekp.runs.search_space import SEARCH
from facekp.runs.settings import parse_search
from facekp.runs.sweep_arguments import BUDGET, RESUME
from facekp.runs.sweep_folder import SweepFolder

log = logging.getLogger(__name__)
SHARED_KEYS = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's key for overrides that name no folder
NOT_KEPT = ("debug", "hydra.mode", "hydra.sweep.dir")  # keys that change nothing about the jobs
MAY_DIFFER = (BUDGET, "plugins")  # keys that may differ when a sweep is resumed


class Sweep(Callback):
    """Hydra calls it before the first and after the last job."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        register_job_name()
        try:
            begin_sweep(config)
        except UserError as error:  # Hydra would only print a warning
            leave(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from facekp.core.keypoints import Keypoints  # imported here, as it needs NumPy

        scheme: Any = OmegaConf.to_container(config.keypoints, resolve=True)
        sources = Keypoints.from_dict(scheme).source_names
        if not finish_sweep(SweepFolder(config.hydra.sweep.dir), sources, config_dir_options(config.hydra)):
            sys.exit(1)


def begin_sweep(config: DictConfig) -> None:
    """Write sweep.yaml, and name the jobs by the settings that differ.

    Args:
        config: of the multirun with Hydra's part, where the keys that all jobs share are noted.

    Raises:
        UserError: the folder holds another sweep, two jobs would get one name, or the search's settings are not valid.
    """
    folder, given = SweepFolder(config.hydra.sweep.dir), config.hydra.overrides
    as_written: Any = OmegaConf.to_container(given, resolve=False)  # an override may refer to what only a job has
    overrides = [text for text in (*as_written["task"], *as_written["hydra"]) if key_of(text) not in NOT_KEPT]
    if folder.jobs() and _fixed(folder.read_overrides()) != _fixed(overrides):
        raise UserError(
            f"hydra.sweep.dir={folder}: holds another sweep; choose another folder, or resume it with {RESUME}{folder}"
        )
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(as_written["task"])
    shared = [*config.hydra.job.config.override_dirname.exclude_keys, *constant_keys(parsed)]
    folder.write_settings(overrides, parse_search(OmegaConf.to_container(config[SEARCH], resolve=True)))
    with read_write(config):
        given.hydra.append(f"{SHARED_KEYS}=[{','.join(shared)}]")


def _fixed(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if key_of(override) not in MAY_DIFFER]


def finish_sweep(folder: SweepFolder, sources: Sequence[str], options: Sequence[str] = ()) -> bool:
    """Show all jobs in a table, write sweep.csv, and log the best job's command.

    Args:
        folder: of the sweep.
        sources: names of the labelling conventions.
        options: of the command line, without which the best job's command would not find its config files.

    Returns:
        whether no job failed.
    """
    from facekp.core.console import show  # imported here: these take seconds, and only the end of a sweep needs them
    from facekp.runs.sweep_table import read_jobs, sweep_table

    jobs = read_jobs(folder, sources)
    write_csv(folder.table, jobs)
    show(sweep_table(jobs, str(folder)))
    for name in jobs.loc[jobs["status"] == "ok", "folder"].head(1):
        log.info("best: python -m facekp.train %s", shlex.join([*options, *folder.job(name).read_overrides()]))
    failed = jobs.loc[~jobs["status"].isin(SUCCESSFUL), "folder"]
    if len(failed):
        tracebacks = ", ".join(str(folder.job(name).traceback) for name in failed)
        log.warning("%d of %d jobs failed: %s", len(failed), len(jobs), tracebacks)
        log.warning("%s%s runs them again", RESUME, folder)
    return failed.empty
