"""Sweeps: `python -m facekp.train -m lr=1e-3,5e-4 …` trains a network a job; here is what Hydra lacks for it.

Jobs get names, a failed one ends no other, all of them end in one table, and a killed sweep can be gone on with. It
works by Hydra's own hooks (a callback, a resolver, the task), so any sweeper and any launcher may run the jobs.

sweep.yaml           what the command line was, which ``sweep.resume=`` reads, and how is searched (facekp.runs.search)
sweep.csv            a row a job, sorted by RMSE
NAME/                a job's run, named by what differs between the jobs
NAME/status.json     ok, pruned, failed, running or interrupted; the message of a failure; what differs
NAME/traceback.txt   of a job that failed
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd
import yaml
from filelock import FileLock, Timeout
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from rich.table import Table

from facekp.config.command import key_of, leave, one_line
from facekp.config.rules import check
from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import write_csv, write_json, write_text, write_yaml
from facekp.core.keypoints import Keypoints
from facekp.runs.folder import RunFolder

log = logging.getLogger(__name__)
RESUME = "sweep.resume="

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's place for keys that name no folder

SEARCH = "hparams_search"

BUDGET = f"{SEARCH}.trials"  # may grow on the way

GOOD = ("ok", "pruned")

UNTOLD = ("debug", "hydra.mode", "hydra.sweep.dir")  # overrides that make no other sweep

LONGEST_NAME = 160  # characters; file systems take 255 bytes

TAIL = 100  # lines of a job's own process that are kept for its traceback.txt


class Pruned(Exception):
    """A job was ended early, as its search gave it no hope."""


def reword(arguments: list[str]) -> list[str]:
    """The command line that ``sweep.resume=DIR`` stands for: the sweep's own one, in its own folder.

    Args:
        arguments: of the command line; without ``sweep.resume=`` they stay as they are.

    Raises:
        UserError: there is no sweep, or more is given than ``debug=`` and a search's budget.
    """
    given = [argument.removeprefix(RESUME) for argument in arguments if argument.startswith(RESUME)]
    if not given or given[-1] == "null":
        return arguments
    folder = Path(given[-1])
    check({"sweep": {"resume": str(folder)}})
    beside = [one for one in arguments if not one.startswith(RESUME) and one not in ("-m", "--multirun")]
    for argument in beside:
        if not argument.startswith(("-", "debug=", f"{BUDGET}=")):
            raise UserError(f"{RESUME}{folder}: {argument} can't be changed on the way; leave it out or start anew")
    given_keys = {key_of(argument) for argument in beside}
    own = [override for override in _read_overrides(folder) if key_of(override) not in given_keys]
    return ["-m", *beside, *own, f"hydra.sweep.dir={folder}"]


def _read_overrides(folder: Path) -> list[str]:
    path = folder / "sweep.yaml"
    try:
        overrides = yaml.safe_load(path.read_text())["overrides"]
    except FileNotFoundError as error:
        raise UserError(f"{RESUME}{folder}: {path} does not exist; name the folder of a sweep") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise UserError(f"{RESUME}{folder}: {path} is not what a sweep wrote; start a new one") from error
    return [str(override) for override in overrides]


def read_search(folder: Path) -> dict[str, Any] | None:
    """``hparams_search`` of a sweep's folder; None where every combination is trained."""
    return yaml.safe_load((folder / "sweep.yaml").read_text()).get("search")


class Sweep(Callback):
    """What is done before the first and after the last job."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            begin(config)
        except UserError as error:  # Hydra would make a warning of it
            leave(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        scheme: Any = OmegaConf.to_container(config.keypoints, resolve=True)
        if not finish(Path(config.hydra.sweep.dir), Keypoints.from_dict(scheme).source_names):
            sys.exit(1)


def begin(config: DictConfig) -> None:
    """Write what the sweep is, and have its jobs named by what differs.

    Args:
        config: of the multirun, Hydra's part included; told which keys name no folder.

    Raises:
        UserError: the folder holds another sweep, or two jobs would get one name.
    """
    folder, given = Path(config.hydra.sweep.dir), config.hydra.overrides
    as_written: Any = OmegaConf.to_container(given, resolve=False)  # one may refer to what only a job has
    overrides = [one for one in (*as_written["task"], *as_written["hydra"]) if key_of(one) not in UNTOLD]
    if any(folder.glob("*/status.json")) and _unbudgeted(_read_overrides(folder)) != _unbudgeted(overrides):
        raise UserError(
            f"hydra.sweep.dir={folder}: holds another sweep; choose another, or go on with {RESUME}{folder}"
        )
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(as_written["task"])
    excluded = [*config.hydra.job.config.override_dirname.exclude_keys, *_constant(parsed)]
    search: Any = OmegaConf.to_container(config[SEARCH], resolve=True)
    check({SEARCH: search})
    searched = {} if search["name"] == "none" else {"search": search}
    write_yaml(folder / "sweep.yaml", {"overrides": overrides, **searched})
    with read_write(config):
        given.hydra.append(f"{EXCLUDED}=[{','.join(excluded)}]")


def _unbudgeted(overrides: list[str]) -> list[str]:
    return [override for override in overrides if key_of(override) != BUDGET]


def _constant(overrides: Iterable[Override]) -> list[str]:
    """Keys that are the same for all jobs.

    Raises:
        UserError: values of a key differ only in characters that a folder's name can't have.
    """
    constant = []
    last = {key_of(override.input_line or ""): override for override in overrides}  # of a key given twice
    for key, override in last.items():
        if override.is_sweep_override() and not override.is_discrete_sweep():
            continue  # a range that a sampler draws from
        values = set(override.sweep_string_iterator()) if override.is_sweep_override() else {""}
        if len({_safe(_short(value)) for value in values}) < len(values):
            raise UserError(f"{override.input_line}: two of the values would name one folder; sweep them apart")
        constant += [key] if len(values) == 1 else []
    return constant


def differing(overrides: Iterable[str], excluded: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """What makes a job another than its neighbours.

    Args:
        overrides: of the job, ``key=value``.
        excluded: keys that all jobs share.
        taken: keys that no other may be shortened to.

    Returns:
        value by key; a dotted key is its last part, unless two would be the same.
    """
    values = {key_of(override): _short(override.partition("=")[2]) for override in overrides}
    values = {key: value for key, value in values.items() if key not in excluded}
    last = {key: key.rsplit(".", 1)[-1] for key in values}
    short = [*last.values(), *taken]
    return {key if "." in key and short.count(last[key]) > 1 else last[key]: values[key] for key in values}


def job_name(differs: dict[str, str]) -> str:
    """A folder's name, such as ``optimizer-sgd_lr-1e-3``; ``run`` where nothing differs."""
    name = "_".join(f"{_safe(key)}-{_safe(value)}" for key, value in differs.items()) or "run"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}-{crc32(name.encode()):08x}"


def _short(value: str) -> str:
    """Small numbers as 1e-3, however they were given (Hydra hands on 0.001 and 1e-05)."""
    if not re.fullmatch(r"0?\.00\d+|\d(\.\d+)?e-\d+", value):
        return value
    digits, power = f"{float(value):.15e}".split("e")
    return f"{float(digits):.10g}e{int(power)}"


def _safe(text: str) -> str:
    return "-".join(re.findall(r"[A-Za-z0-9._+-]+", text))


def _differs(hydra: HydraConf, config: DictConfig) -> dict[str, str]:
    """`differing` of a job's overrides, by Hydra's part of its config and the whole."""
    return differing(hydra.overrides.task, hydra.job.config.override_dirname.exclude_keys, [str(key) for key in config])


# at import: a launcher's worker imports this module with the callback, and names its job itself
OmegaConf.register_new_resolver("job_name", lambda *, _root_: job_name(_differs(_root_.hydra, _root_)), replace=True)


def perform(folder: Path, cfg: DictConfig, train: Callable[[bool], dict[str, Any]]) -> dict[str, Any] | None:
    """Run a job and write how it stands; its failure is told and ends no other job.

    Args:
        folder: of the job. One that is finished is kept, one that has begun is gone on with.
        cfg: of the job.
        train: takes whether to go on; gives back the figures.

    Returns:
        the figures; None of a job that failed, or was pruned just now.
    """
    with _alone_in(folder):
        return _perform(folder, cfg, train)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for the process that trains the job already: a launcher's workers may outlive a killed sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")  # the system lets go of it where the process is killed
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("%s: another process trains it; waiting for its end", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _perform(folder: Path, cfg: DictConfig, train: Callable[[bool], dict[str, Any]]) -> dict[str, Any] | None:
    differs = _differs(HydraConfig.get(), cfg)

    def tell(status: str, message: str = "") -> None:
        write_json(folder / "status.json", {"status": status, "message": message, "differs": differs})

    if read_status(folder)["status"] in GOOD:
        log.info("kept: %s, finished before", folder)
        return json.loads((folder / "metrics.json").read_text())
    tell("running")
    (folder / "traceback.txt").unlink(missing_ok=True)
    try:
        figures = train((folder / "config.yaml").is_file())
    except (KeyboardInterrupt, SystemExit):
        tell("interrupted")
        log.warning("sweep stopped; go on with %s%s", RESUME, folder.parent)
        sys.exit(130)
    except Pruned as end:
        tell("pruned", str(end))
        return None
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        write_text(folder / "traceback.txt", told)
        tell("failed", one_line(error))
        if cfg.debug is True:
            sys.stderr.write(told)
        print(f"facekp: error: {folder.name}: {one_line(error)}", file=sys.stderr)
        return None
    tell("ok")
    return figures


def read_status(folder: Path) -> dict[str, Any]:
    """status.json of a job's folder; its status is empty where there is none."""
    path = folder / "status.json"
    return json.loads(path.read_text()) if path.is_file() else {"status": ""}


def train_apart(folder: Path, overrides: list[str], resume: bool) -> dict[str, Any]:
    """Train in a process of its own, whose command distributed processes can be started with again.

    Args:
        folder: of the job.
        overrides: of the job.
        resume: go on.

    Returns:
        the figures.

    Raises:
        UserError: it failed; what it printed last is a note of the error.
    """
    sources = HydraConfig.get().runtime.config_sources
    own = [f"--config-dir={one.path}" for one in sources if one.provider == "command-line"]
    arguments = [*own, f"resume={folder}"] if resume else [*own, *overrides, f"out={folder}"]
    command = [sys.executable, "-m", "facekp.train", *arguments]
    printed: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            sys.stderr.write(line)
            printed.append(line)
    if process.returncode:
        last = printed[-1].strip().removeprefix("facekp: error: ") if printed else "nothing was printed"
        error = UserError(f"{last} (exit code {process.returncode})")
        error.add_note("".join(printed))
        raise error
    return json.loads((folder / "metrics.json").read_text())


def finish(folder: Path, sources: list[str]) -> bool:
    """Tell of all jobs, on the terminal and in sweep.csv.

    Args:
        folder: of the sweep.
        sources: names of the labelling conventions.

    Returns:
        whether all jobs went well.
    """
    jobs = read_jobs(folder, sources)
    write_csv(folder / "sweep.csv", jobs)
    show(sweep_table(jobs, str(folder)))
    best = jobs.loc[jobs["status"] == "ok", "folder"].head(1)
    for name in best:
        command = yaml.safe_load((folder / name / "overrides.yaml").read_text())
        log.info("best: python -m facekp.train %s", shlex.join(command))
    failed = jobs.loc[~jobs["status"].isin(GOOD), "folder"]
    if len(failed):
        told = [folder / name / "traceback.txt" for name in failed]
        log.warning("%d of %d jobs failed: %s", len(failed), len(jobs), ", ".join(map(str, told)))
        log.warning("%s%s tries them again", RESUME, folder)
    return failed.empty


def read_jobs(folder: Path, sources: list[str]) -> pd.DataFrame:
    """A row a job, the lowest RMSE first; behind them those that were pruned, then those that failed.

    Args:
        folder: of the sweep.
        sources: names of the labelling conventions.

    Returns:
        what differs, ``rmse`` and those of the sources in pixels (of a failed job its best epoch's), ``minutes``,
        ``status``, ``message``, ``folder``; NaN where there is no such figure.
    """
    figures = ["rmse", *(f"rmse/{source}" for source in sources), "minutes"]
    rows = []
    for path in sorted(folder.glob("*/status.json")):
        status = read_status(path.parent)
        run = RunFolder(path.parent)
        found = run.read_metrics() if run.metrics.is_file() else {}
        row = {**status["differs"], **{name: found.get(name) for name in figures}}
        rows.append({**row, "status": status["status"], "message": status["message"], "folder": path.parent.name})
    ranked = pd.DataFrame(rows).sort_values("rmse", na_position="last", kind="stable")
    places = {"ok": 0, "pruned": 1}
    return ranked.sort_values("status", key=lambda s: s.map(places).fillna(2), kind="stable", ignore_index=True)


def sweep_table(jobs: pd.DataFrame, title: str) -> Table:
    """The jobs of `read_jobs`, without their long cells."""
    table = Table(title=f"validation RMSE in pixels, {title}")
    narrow = jobs.drop(columns=["message", "folder"])
    numbers = [name for name in narrow if name == "minutes" or str(name).startswith("rmse")]
    for name in narrow:
        table.add_column(str(name).removeprefix("rmse/"), justify="right" if name in numbers else "left")
    for _, job in narrow.iterrows():
        table.add_row(*(_cell(value, name in numbers) for name, value in job.items()))
    return table


def _cell(value: Any, is_number: bool) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if is_number else str(value)
