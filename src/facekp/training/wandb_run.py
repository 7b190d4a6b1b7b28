"""A run told to Weights & Biases, online or on disk. Whatever happens there, the training goes on unharmed.

Every call of the client is made by one thread in the background, in the order it was asked for: a slow one makes nobody
wait, a failed one switches all later ones off with one warning, and the end of the run waits a limited time.

In W&B: the resolved config with the code's revision, overrides as the name, the sweep's folder as the group, tags, the
rows of metrics.csv as history, metrics.json's figures as summary, a table of faces, best.ckpt as an artifact (online),
and the machine's own figures, which the client records by itself.
"""

from __future__ import annotations

import logging
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from facekp.config.command import key_of
from facekp.core.files import write_yaml
from facekp.data.table import FaceTable
from facekp.models.keypoint_model import KeypointModel
from facekp.reporting.pictures import draw_faces, draw_heatmaps, pixels, spread_out
from facekp.training.validation_results import ValidationResults

if TYPE_CHECKING:
    from facekp.training.callbacks import MetricsCsv

log = logging.getLogger(__name__)
REACH = 3.0  # seconds the server has for its first word

INIT = 60.0  # seconds it has to accept a run; then the run stays on disk

KILLED = 10.0  # seconds the background thread has to end once the client's own process was killed

UNTOLD = ("out", "debug", "logger", "callbacks.progress")  # overrides that are no part of the name

Call = Callable[[], None]


class BackgroundCaller:
    """Makes calls in a background thread, in their order; after one that fails, none.

    Args:
        end: called in that thread after the first failed call.
    """

    def __init__(self, end: Call) -> None:
        self.end = end
        self.failed = False
        self.calls: SimpleQueue[Call | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="wandb", daemon=True)  # never keeps the process alive
        self.thread.start()

    def send(self, call: Call) -> None:
        self.calls.put(call)

    def wait(self, seconds: float) -> bool:
        """Take no more calls; whether those so far were over in time. Otherwise what they end in is not told."""
        self.calls.put(None)
        self.thread.join(seconds)
        self.failed |= self.thread.is_alive()
        return not self.thread.is_alive()

    def _work(self) -> None:
        while (call := self.calls.get()) is not None and not self.failed:
            try:
                call()
            except BaseException as error:  # the client also leaves by SystemExit
                if not self.failed:
                    log.warning("W&B: %s; the run goes on without it", first_line(error))
                self.failed = True
                _quietly(self.end)


class WandbCallback(Checkpoint):
    """The run's messenger, in the first process.

    A `Checkpoint` so that Lightning calls it after `ValidationResults`, whose figures it tells.

    Args:
        config: resolved; ``logger`` holds ``project``, ``offline``, ``tags``, ``faces``, ``patience``.
        folder: of the run; its wandb.yaml keeps the W&B run's id and group, so that a resumed run is the same one.
        curves: what it holds is told as history.
        interim: what it holds is told as summary.
    """

    def __init__(self, config: dict[str, Any], folder: Path, curves: MetricsCsv, interim: ValidationResults) -> None:
        self.config, self.settings, self.folder = config, config["logger"], folder
        self.curves, self.interim = curves, interim
        self.courier: BackgroundCaller | None = None  # none before the training starts, and in other processes
        self.run: Any = None  # the client's; the courier's thread alone touches it
        self.online = False
        self.told = 0  # rows of the curves
        self.exit_code = 1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.courier = BackgroundCaller(end=_teardown)
            self.courier.send(self._begin)
            self._tell_curves()  # of the epochs before, where the run is resumed

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tell_curves()
        self._tell_summary(self.interim.figures)

    def tell_end(self, figures: dict[str, Any], model: KeypointModel, table: FaceTable, points: np.ndarray) -> None:
        """The finished run's figures, sample faces and, online, its checkpoint.

        Args:
            figures: of metrics.json.
            model: the best checkpoint's.
            table: N validation rows.
            points: (N, K, 2) predictions for them.
        """
        if self.courier is None:
            return
        self.exit_code = 0
        self._tell_summary(figures)
        faces = sample_faces(model, table, points, self.settings["faces"])
        if faces:
            self.courier.send(lambda: self._log_faces(faces))
        self.courier.send(lambda: self._keep_checkpoint(figures))

    def close(self) -> None:
        """End the W&B run, waiting ``logger.patience`` seconds for what is still to be sent."""
        if self.courier is None:
            return
        self.courier.send(self._finish)
        if not self.courier.wait(self.settings["patience"]):
            left = "nothing was told" if self.run is None else f"the rest is on disk; {_way_to_send(self.run)}"
            log.warning("W&B: not done after logger.patience=%s s, %s", self.settings["patience"], left)
            _quietly(_kill_service)  # a blocked call returns, and nothing is waited for when the process leaves
            self.courier.wait(KILLED)
        self.courier = None

    def _tell_curves(self) -> None:
        rows = self.curves.rows[self.told :]
        self.told = len(self.curves.rows)
        if self.courier is not None:
            self.courier.send(lambda: self._log(rows))

    def _tell_summary(self, figures: dict[str, Any]) -> None:
        flat = summary_of(figures)
        if self.courier is not None:
            self.courier.send(lambda: self.run.summary.update(flat))

    # Below: in the courier's thread.

    def _begin(self) -> None:
        import wandb  # here, as it takes seconds

        identity = keep_identity(self.folder)
        reason = why_offline(self.settings)
        if reason is None:
            try:
                self.run, self.online = self._init("online", identity), True
                log.info("W&B: %s", self.run.url)
            except wandb.Error as error:
                reason = f"no run online: {first_line(error)}"
        if reason is not None:
            self.run = self._init("offline", identity)
            log.info("W&B: on disk (%s); %s", reason, _way_to_send(self.run))
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")

    def _init(self, mode: Any, identity: dict[str, Any]) -> Any:
        import wandb

        settings = wandb.Settings(silent=True, console="off", init_timeout=INIT)
        return wandb.init(
            project=self.settings["project"],
            dir=str(self.folder.absolute()),  # a process above may keep the client's own process, elsewhere
            id=identity["id"],
            group=identity["group"],
            name=name_of(self.folder),
            tags=self.settings["tags"],
            config={**self.config, "git_revision": (self.folder / "git.txt").read_text().strip()},
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )

    def _log(self, rows: list[dict[str, float]]) -> None:
        """An epoch is a step: online, those that the resumed run has are not told again; on disk each part has all."""
        for row in rows:
            if row["epoch"] >= self.run.starting_step:
                self.run.log(row, step=int(row["epoch"]), commit=True)

    def _log_faces(self, faces: list[dict[str, Any]]) -> None:
        import wandb

        rows: list[Any] = [
            [wandb.Image(cell) if isinstance(cell, np.ndarray) else cell for cell in face.values()] for face in faces
        ]
        with staged_in(self.folder / "wandb"):
            self.run.summary["faces"] = wandb.Table(columns=list(faces[0]), data=rows)

    def _keep_checkpoint(self, figures: dict[str, Any]) -> None:
        import wandb

        if self.online:
            model = wandb.Artifact(f"model-{self.run.id}", type="model", metadata=summary_of(figures))
            model.add_file(figures["checkpoint"], name="best.ckpt", policy="immutable", skip_cache=True)
            self.run.log_artifact(model, aliases=["best"])

    def _finish(self) -> None:
        self.run.finish(exit_code=self.exit_code)


def keep_identity(folder: Path) -> dict[str, Any]:
    """Id and group of a folder's W&B run: wandb.yaml's, or new ones, written there.

    The id comes from the system's randomness, not from seeds, which parallel runs may share.
    """
    path = folder / "wandb.yaml"
    if path.is_file():
        return yaml.safe_load(path.read_text())
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    group = Path(hydra.sweep.dir).name if hydra is not None and hydra.mode == RunMode.MULTIRUN else None
    identity = {"id": uuid4().hex[:12], "group": group}
    write_yaml(path, identity)
    return identity


def name_of(folder: Path) -> str:
    """What the run's command line changed; the folder's name where that is nothing."""
    overrides = yaml.safe_load((folder / "overrides.yaml").read_text())
    told = [one for one in overrides if not key_of(one).startswith(UNTOLD)]
    return " ".join(told) or folder.name


def summary_of(figures: dict[str, Any]) -> dict[str, Any]:
    """metrics.json on one level, ``mean_face/rmse`` and the like, without the error curves."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name == "mean_face":
            flat |= {f"{name}/{inner}": one for inner, one in summary_of(value).items()}
        elif name != "curve":
            flat[name] = value
    return flat


def sample_faces(model: KeypointModel, table: FaceTable, points: np.ndarray, faces: int) -> list[dict[str, Any]]:
    """Rows of the table of faces: row, source, RMSE in pixels, and two pictures, uint8 (h, w, 4)."""
    cells = []
    for i in spread_out(table.source, faces) if faces else ():
        one = table.take(np.array([i]))
        cells.append(
            {
                "row": int(table.row[i]),
                "source": table.keypoints.source_names[table.source[i]],
                "rmse": float(np.sqrt(np.nanmean((points[i] - table.points[i]) ** 2))),
                "points": pixels(draw_faces(one, points[[i]])),
                "heatmaps": pixels(draw_heatmaps(model, one)),
            }
        )
    return cells


def why_offline(settings: dict[str, Any]) -> str | None:
    """Why a run stays on disk; None where there is a key, and a server that answers."""
    import wandb

    mode = os.environ.get("WANDB_MODE", "online")
    if settings["offline"] or mode != "online":
        return "logger.offline=true" if settings["offline"] else f"WANDB_MODE={mode}"
    client = wandb.setup().settings
    if not has_account(client):
        return "no API key; wandb login stores one"
    try:
        urllib.request.urlopen(client.base_url, timeout=REACH).close()
    except urllib.error.HTTPError:
        pass  # an answer all the same
    except (OSError, ValueError) as error:
        return f"{client.base_url} can't be reached: {error}"
    return None


def has_account(client: Any) -> bool:
    """Whether the client, by its settings, knows an API key."""
    from wandb.sdk.lib import wbauth

    return client.api_key is not None or wbauth.read_netrc_auth(host=client.base_url) is not None


@contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """Keep what the client stages, as a table's pictures, in a folder and not in the user's home."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _way_to_send(run: Any) -> str:
    path = Path(run.settings.sync_dir)
    return f"send it with: wandb sync {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"


def _quietly(call: Call) -> None:
    try:
        call()
    except BaseException as error:
        log.debug("W&B: %s", error)


def _teardown() -> None:
    """Give up on the client's own process; the next run of this process starts another."""
    import wandb

    wandb.teardown()


def _kill_service() -> None:
    """Kill the client's own process. It has no public name; where the client keeps it elsewhere, nothing happens."""
    from wandb.sdk import wandb_setup

    singleton: Any = wandb_setup._singleton
    singleton._connection._proc._process.kill()
