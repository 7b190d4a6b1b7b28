"""Calls of the W&B client: start a run online or on disk, send rows, faces and files, stop the client's process.

Nothing here starts a thread or catches what fails: `facekp.training.loggers.wandb_callback` calls it in the background.
"""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from facekp.config.arguments import key_of
from facekp.core.console import values_text
from facekp.functional.metrics import MAIN
from facekp.reporting.wandb_account import has_account
from facekp.runs.folder import NO_CHECKOUT, RunFolder
from facekp.runs.sweep_folder import SweepFolder
from facekp.training.logger_settings import LoggerSettings
from facekp.training.loggers.background import first_line
from facekp.training.loggers.base import flat_figures
from facekp.training.loggers.sample_faces import SampleFace

log = logging.getLogger(__name__)

MAIN_CURVE = f"val/{MAIN}"  # what a run shows first
SERVER_TIMEOUT = 3.0  # seconds for the server's first response
MAX_NAME = 128  # characters of a run's name and its group; W&B's server refuses the run of a longer one
INIT_TIMEOUT = 60.0  # seconds for the server to accept a run; after that the run stays on disk
NOT_IN_NAME = (
    "--config-dir",
    "out",
    "overwrite",
    "debug",
    "plugins",
    "logger",
    "callbacks.progress",
)  # overrides that are left out of a run's name


class WandbRun:
    """A run of the W&B client, online or on disk.

    Args:
        settings: project, tags and so on.
        config: settings of the training as plain values.
        folder: of the run. Its wandb.yaml keeps id and group, so that a resumed run continues the same W&B run.

    Raises:
        Exception: whatever the client raises.
    """

    def __init__(self, settings: LoggerSettings, config: Mapping[str, Any], folder: RunFolder) -> None:
        self.settings, self.config, self.folder = settings, config, folder
        self.identity = wandb_identity(folder)
        self.online = False
        self.run = self._start()
        self._define_metrics()

    def _define_metrics(self) -> None:
        """Epochs are the x axis; the RMSE comes first, and W&B plots no curve of each keypoint by itself."""
        self.run.define_metric("epoch", hidden=True)
        self.run.define_metric(MAIN_CURVE, step_metric="epoch", summary="min")
        for name in self.config["keypoints"]["names"]:
            self.run.define_metric(f"{MAIN_CURVE}/{name}", step_metric="epoch", hidden=True)
        for name in ("step", "minutes"):
            self.run.define_metric(name, step_metric="epoch", hidden=True)
        self.run.define_metric("*", step_metric="epoch")

    def _start(self) -> Any:
        import wandb  # imported here: it takes seconds

        reason = why_offline(self.settings)
        if reason is None:
            try:
                run = self._init("online")
                self.online = True
                log.info("W&B: %s", run.url)
                return run
            except wandb.Error as error:
                reason = f"no run online: {first_line(error)}"
        run = self._init("offline")
        log.info("W&B: on disk (%s); %s", reason, how_to_send(run))
        return run

    def _init(self, mode: Any) -> Any:
        import wandb

        return wandb.init(
            project=self.settings.project,
            dir=str(self.folder.path.absolute()),  # the client's process may have another working directory
            id=self.identity["id"],
            group=self.identity["group"] and _cut(self.identity["group"]),
            name=run_name(self.folder),
            tags=self.settings.tags,
            config={**with_subset_text(self.config), "git_revision": self.folder.read_revision() or NO_CHECKOUT},
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", init_timeout=INIT_TIMEOUT),
        )

    def log_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log rows of the curves; an epoch is a step.

        A resumed run online has its earlier epochs already, so they are skipped. On disk each part has all epochs.
        """
        for row in rows:
            if row["epoch"] >= self.run.starting_step:
                self.run.log(row, step=int(row["epoch"]), commit=True)

    def update_summary(self, figures: Mapping[str, Any]) -> None:
        self.run.summary.update(flat_figures(dict(figures)))

    def log_faces(self, faces: Sequence[SampleFace]) -> None:
        """Log a table of sample faces with their pictures."""
        import wandb

        rows = [asdict(face) for face in faces]
        cells: list[Any] = [
            [wandb.Image(cell) if isinstance(cell, np.ndarray) else cell for cell in row.values()] for row in rows
        ]
        with _staging_folder(self.folder.wandb):
            self.run.summary["faces"] = wandb.Table(columns=list(rows[0]), data=cells)

    def upload_checkpoint(self, figures: Mapping[str, Any]) -> None:
        """Upload best.ckpt as an artifact; a run on disk keeps it in its folder only."""
        import wandb

        if self.online:
            model = wandb.Artifact(f"model-{self.run.id}", type="model", metadata=flat_figures(dict(figures)))
            model.add_file(figures["checkpoint"], name="best.ckpt", policy="immutable", skip_cache=True)
            self.run.log_artifact(model, aliases=["best"])

    def finish(self, exit_code: int) -> None:
        self.run.finish(exit_code=exit_code)


def wandb_identity(folder: RunFolder) -> dict[str, Any]:
    """Id and group of a folder's W&B run, from wandb.yaml; the first call creates the file.

    The id comes from the operating system's randomness, not from a seed that parallel runs may share.
    """
    identity = folder.read_wandb_identity()
    if identity is None:
        sweep = SweepFolder(folder.path.parent)
        identity = {
            "id": _agents_id() or uuid4().hex[:12],
            "group": sweep.path.name if sweep.settings.is_file() else None,
        }
        folder.write_wandb_identity(identity)
    return identity


def _agents_id() -> str | None:
    """The id that an agent of a W&B sweep has chosen, which the client would take in any case."""
    return os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None


def run_name(folder: RunFolder) -> str:
    """The overrides on the run's command line, or else the name of its folder.

    If the overrides of a sweep's job are too long for W&B, the run gets the folder's name, too. Jobs' folders are named
    by the settings that differ, so the names of a sweep's runs stay different.
    """
    changed = [override for override in folder.read_overrides() if not key_of(override).startswith(NOT_IN_NAME)]
    name = " ".join(changed)
    is_job = SweepFolder(folder.path.parent).settings.is_file()
    return _cut(folder.path.name if not name or (is_job and len(name) > MAX_NAME) else name)


def _cut(name: str) -> str:
    """A name without its middle if it is too long for W&B."""
    half = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[: half - 1]}…{name[-half:]}"


def why_offline(settings: LoggerSettings) -> str | None:
    """Why a run stays on disk; None if there is an API key and the server responds."""
    import wandb

    mode = os.environ.get("WANDB_MODE", "online")
    if settings.offline or mode != "online":
        return "logger.offline=true" if settings.offline else f"WANDB_MODE={mode}"
    client = wandb.setup().settings
    if not has_account(client):
        return "no API key; wandb login stores one"
    try:
        urllib.request.urlopen(client.base_url, timeout=SERVER_TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # an error status is a response too
    except (OSError, ValueError) as error:
        return f"{client.base_url} can't be reached: {error}"
    return None


def how_to_send(run: Any) -> str:
    """The command that sends a run from disk to the server."""
    path = Path(run.settings.sync_dir)
    return f"send it with: wandb sync {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"


def tear_down() -> None:
    """Give up the client's own process; the next W&B run of this process starts another."""
    import wandb

    wandb.teardown()


def kill_service() -> None:
    """Kill the client's own process. The client has no public function for it."""
    from wandb.sdk import wandb_setup

    singleton: Any = wandb_setup._singleton
    singleton._connection._proc._process.kill()


@contextmanager
def _staging_folder(folder: Path) -> Iterator[None]:
    """Let the client stage files, such as a table's pictures, in a folder instead of the user's home."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before


def with_subset_text(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with a subset of training rows as one text, as W&B groups runs by single values only.

    Example:
        >>> with_subset_text({"lr": 1e-3, "subset": {"pose": ["large", "normal"]}})
        {'lr': 0.001, 'subset': 'pose: large or normal'}
    """
    subset = config.get("subset")
    return {**config, "subset": values_text(subset)} if isinstance(subset, Mapping) else dict(config)
