"""The folder of a run: the names of all its files, and how each is written and read.

`RunFolder` is the only place that knows these names. Every file is written atomically: a killed process leaves the old
file or the new one, never half of one.

config.yaml        the resolved settings; written last of the first files, and what a resumed run reads and may change
overrides.yaml     the command line's arguments: overrides, and --config-dir
git.txt            the revision of the code, where it runs from a git checkout
environment.yaml   versions, number of threads and instructions of the processor (`facekp.runs.environment`)
data.yaml          digests of the images and labels, and of the checkpoints that the training reads
split.csv          row, source, group, fold and set of every row; for photos also the photo's name
metrics.csv        the curves, one row per epoch; epochs are counted from 1
metrics.json       metrics of the best checkpoint on the validation rows, the mean-face baseline, and ``finished``
predictions.csv    every labelled validation point with its prediction (`facekp.runs.frames.predictions_frame`)
coco.json          of photos: the same predictions as COCO's JSON (`facekp.data.coco.writing`)
checkpoints/       best.ckpt and last.ckpt
pictures/          faces, heatmaps, curves; lr_find.png with ``lr=find``
reliability.json   expected and measured errors, once ``facekp.calibrate`` has calibrated the best checkpoint
corruptions.csv    figures for corrupted images, once ``facekp.evaluate corruptions=standard`` has measured them
corrupted_reliability.json  expected and measured errors for them, of a calibrated checkpoint
status.json        of a sweep's job: its status, an error message, and the settings that differ between the jobs
traceback.txt      of a sweep's job that failed
.lock              of a sweep's job: held by the process that trains it
wandb/             files of the W&B client; wandb.yaml: id and group of the W&B run
tensorboard/       event files of TensorBoard
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig

from facekp.config.migration import migrate
from facekp.config.references import command_line_overrides
from facekp.core.csv_cells import original_frame
from facekp.core.errors import UserError
from facekp.core.files import cannot_write, remove_parts, write_csv, write_json, write_text, write_yaml
from facekp.core.plain_files import read_json, read_text, read_yaml
from facekp.runs import file_checks
from facekp.runs.file_checks import CORRUPTION_COLUMNS, PREDICTION_NUMBERS, PREDICTION_TEXTS, reading
from facekp.runs.revision import git_revision

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from facekp.data.settings import DataSettings
    from facekp.data.table import FaceTable

log = logging.getLogger(__name__)

FIND = "find"  # lr=find searches for a learning rate
NEEDED = ("data", "model", "keypoints")  # keys that every run's config.yaml has
SPLIT_NUMBERS = ("row", "group", "fold")  # columns of split.csv that hold numbers
NO_CHECKOUT = "no checkout"  # content of git.txt where the code is not in a git checkout


@dataclass(frozen=True)
class RunStatus:
    """Content of status.json.

    Attributes:
        status: ``running``, ``ok``, ``pruned``, ``failed`` or ``interrupted``; empty: the job has not begun.
        message: why the job failed or was pruned.
        differs: the settings that differ between the jobs of the sweep, by their short names.
    """

    status: str = ""
    message: str = ""
    differs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Any) -> RunStatus:
        """The status of plain values.

        Raises:
            ValueError: a value has another type.
            TypeError: the values are not a mapping, or there is an unknown one.
        """
        status = cls(**values)
        differs = status.differs if isinstance(status.differs, dict) else {None: None}
        if not all(isinstance(text, str) for text in (status.status, status.message, *differs, *differs.values())):
            raise ValueError("a value is not a string")
        return status


class RunFolder:
    """The files of one run.

    Args:
        path: the folder; it need not exist.

    Example:
        >>> folder = RunFolder("outputs/mine")
        >>> folder.best_checkpoint.as_posix()
        'outputs/mine/checkpoints/best.ckpt'
        >>> folder.has_begun()
        False
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.overrides = self.path / "overrides.yaml"
        self.revision = self.path / "git.txt"
        self.environment = self.path / "environment.yaml"
        self.data = self.path / "data.yaml"
        self.split = self.path / "split.csv"
        self.curves = self.path / "metrics.csv"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.csv"
        self.coco = self.path / "coco.json"
        self.checkpoints = self.path / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.pictures = self.path / "pictures"
        self.rate_curve = self.pictures / "lr_find.png"
        self.reliability = self.path / "reliability.json"
        self.corruptions = self.path / "corruptions.csv"
        self.corrupted_reliability = self.path / "corrupted_reliability.json"
        self.status = self.path / "status.json"
        self.traceback = self.path / "traceback.txt"
        self.lock = self.path / ".lock"
        self.wandb = self.path / "wandb"
        self.wandb_identity = self.path / "wandb.yaml"
        self.tensorboard = self.path / "tensorboard"

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @classmethod
    def of_best_checkpoint(cls, checkpoint: Path) -> RunFolder | None:
        """The folder of the run whose best checkpoint this is; None for any other file."""
        folder = cls(checkpoint.parent.parent)
        return folder if checkpoint == folder.best_checkpoint and folder.metrics.is_file() else None

    # State of the run.

    def names_before_begin(self) -> list[str]:
        """Names of the files that a run writes before `has_begun` is true; one that was killed may leave them."""
        return [path.name for path in (self.overrides, self.revision, self.environment, self.data, self.split)]

    def has_begun(self) -> bool:
        """Whether a training has written its settings, so that it can be resumed."""
        return self.config.is_file()

    def is_trial(self) -> bool:
        """Whether the run tried a few batches only (``trainer.fast_dev_run``), so that its results mean nothing.

        Raises:
            UserError: config.yaml is missing or damaged.
        """
        trainer = self.read_config().get("trainer")
        return isinstance(trainer, dict) and bool(trainer.get("fast_dev_run"))

    def has_searched_lr(self) -> bool:
        """Whether the run was trained with ``lr=find``; config.yaml has the rate that was found."""
        return self.rate_curve.is_file()

    def completed_epochs(self) -> int:
        """The number of completed epochs, by metrics.csv and metrics.json.

        Raises:
            UserError: a file is damaged.
        """
        metrics = self._read_metrics() if self.metrics.is_file() else {}
        return max(len(self.read_curves()), metrics.get("epochs", 0))

    def minutes(self) -> float:
        """How long the run was trained so far; 0 before its first validation.

        Raises:
            UserError: a file is damaged.
        """
        return float(self.read_metrics().get("minutes", 0)) if self.metrics.is_file() else 0.0

    def clear(self) -> None:
        """Remove the files of an earlier run, if there is one, before another is written in its place.

        Raises:
            CannotWrite: the earlier checkpoints can't be removed.
        """
        if not all(path.is_file() for path in (self.overrides, self.revision, self.split)):
            return  # no run wrote what is here; config.yaml may be missing, where this was killed
        files = (self.config, self.metrics, self.curves, self.predictions, self.reliability, self.wandb_identity)
        for path in (*files, self.coco, self.corruptions, self.corrupted_reliability):
            path.unlink(missing_ok=True)
        for folder in (self.checkpoints, self.pictures, self.wandb, self.tensorboard):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise cannot_write(folder, error) from error

    def clear_evaluation(self) -> None:
        """Remove what an earlier evaluation in this folder wrote, which the next one may not write."""
        self.forget_evaluations()
        for path in (self.coco, *self.pictures.glob("corrupt*.png")):
            path.unlink(missing_ok=True)

    def forget_evaluations(self) -> None:
        """Remove what `facekp.calibrate` and `facekp.evaluate` wrote of a best checkpoint that has been replaced."""
        for path in (self.reliability, self.corruptions, self.corrupted_reliability):
            path.unlink(missing_ok=True)

    def is_finished(self) -> bool:
        """Whether the run has written its final metrics; a stopped training's metrics.json says that it is unfinished.

        Raises:
            UserError: metrics.json is damaged.
        """
        return self.metrics.is_file() and self._read_metrics().get("finished", True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, so that one process at a time trains the run.

        A launcher's workers may outlive a killed sweep. The operating system releases the lock of a killed process.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.lock)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                log.warning("%s: another process trains this run; waiting until it ends", self)
                lock.acquire()
        except OSError as error:
            raise cannot_write(self.lock, error) from error
        try:
            yield
        finally:
            lock.release()

    def remove_parts(self) -> None:
        """Delete what a killed process was writing; this process must hold the folder's lock."""
        for folder in (self.path, self.checkpoints, self.pictures):
            remove_parts(folder)

    # Written when the run starts.

    def write_start(self, config: dict[str, Any], split: pd.DataFrame) -> None:
        """The first files of a training; config.yaml comes last and marks that the run has begun.

        Args:
            config: the resolved settings as plain values.
            split: of `facekp.runs.frames.split_frame`.
        """
        self.write_origin()
        write_csv(self.split, split)
        self.write_config(config)

    def write_origin(self) -> None:
        """overrides.yaml and git.txt: the command line's arguments, and the revision of the code."""
        write_yaml(self.overrides, command_line())
        write_text(self.revision, f"{git_revision() or NO_CHECKOUT}\n")

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """environment.yaml, from `facekp.runs.environment.environment`."""
        write_yaml(self.environment, dict(environment))

    def read_environment(self) -> dict[str, Any]:
        """environment.yaml; empty where the file does not exist, as of a run of an older version.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_optional(self.environment)

    def write_data(self, digests: Mapping[str, str]) -> None:
        """data.yaml, from `facekp.training.resume.data_digests`."""
        write_yaml(self.data, dict(digests))

    def read_data(self) -> dict[str, Any]:
        """data.yaml; empty where the file does not exist, as of a run of an older version.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_optional(self.data)

    def _read_optional(self, path: Path) -> dict[str, Any]:
        if not path.is_file():
            return {}
        with reading(path):
            return file_checks.mapping(read_yaml(path))

    def write_config(self, config: dict[str, Any]) -> None:
        write_yaml(self.config, config)

    def update_config(self, config: dict[str, Any]) -> None:
        """Write config.yaml again if a resumed run's settings differ from it."""
        if self.read_config() != config:
            self.write_config(config)

    def read_config(self) -> dict[str, Any]:
        """config.yaml as plain values, with keys that older versions did not write filled in.

        Raises:
            UserError: the file does not exist, is damaged, or a run did not write it.
        """
        if not self.config.is_file():
            raise UserError(f"{self.config} does not exist; name the folder of a training")
        with reading(self.config):
            return migrate(file_checks.config(read_yaml(self.config), NEEDED))

    def read_overrides(self) -> list[str]:
        """The command line's arguments: overrides after options, so that they repeat the run.

        Raises:
            UserError: overrides.yaml does not exist, or a run did not write it.
        """
        with reading(self.overrides):
            return file_checks.texts(read_yaml(self.overrides))

    def read_revision(self) -> str | None:
        """The revision of the code; None where the code was not in a git checkout.

        Raises:
            UserError: git.txt does not exist.
        """
        with reading(self.revision):
            text = read_text(self.revision).strip()
        return None if text == NO_CHECKOUT else text

    def read_split(self) -> pd.DataFrame:
        """split.csv, as `facekp.runs.frames.split_frame` made it.

        Raises:
            UserError: the file can't be read.
        """
        import pandas as pd

        types = defaultdict(lambda: "str", dict.fromkeys(SPLIT_NUMBERS, "int64"))  # a name may be 0001 or NA, a flag 1
        with reading(self.split), file_checks.open_table(self.split) as file:
            return original_frame(pd.read_csv(file, dtype=types, keep_default_na=False))

    def read_groups(self) -> pd.Series | None:
        """The groups in split.csv by row: int64, equal for near-duplicates and faces of one photo.

        Returns:
            None where the file or its groups do not exist.

        Raises:
            UserError: the file is damaged.
        """
        import pandas as pd

        if not self.split.is_file():
            return None
        with reading(self.split), file_checks.open_table(self.split) as file:
            frame = pd.read_csv(file, usecols=lambda name: name in ("row", "group"))
            return file_checks.groups(frame) if "group" in frame else None

    # Written after each epoch.

    def write_curves(self, curves: pd.DataFrame) -> None:
        """metrics.csv: a row per epoch."""
        write_csv(self.curves, curves, within=self.path)

    def read_curves(self) -> pd.DataFrame:
        """metrics.csv: a row per epoch; no rows where the file does not exist.

        Raises:
            UserError: the file is damaged.
        """
        import pandas as pd

        if not self.curves.is_file():
            return pd.DataFrame(columns=["epoch"])
        with reading(self.curves):
            return file_checks.curves(pd.read_csv(self.curves))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json."""
        write_json(self.metrics, metrics, within=self.path)

    def read_metrics(self, curves: pd.DataFrame | None = None) -> dict[str, Any]:
        """metrics.json; its ``minutes`` are those of the curves, which include the time before a resume.

        Args:
            curves: of `read_curves`; None: they are read.

        Raises:
            UserError: metrics.json does not exist, or is damaged.
        """
        metrics = self._read_metrics()
        try:
            curves = self.read_curves() if curves is None else curves
        except UserError:  # the metrics are valid without them
            return metrics
        minutes = curves["minutes"].dropna().tolist() if "minutes" in curves else []
        return {**metrics, "minutes": minutes[-1]} if minutes else metrics

    def _read_metrics(self) -> dict[str, Any]:
        with reading(self.metrics):
            return file_checks.metrics(read_json(self.metrics))

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        """predictions.csv, from `facekp.runs.frames.predictions_frame`."""
        write_csv(self.predictions, predictions, within=self.path)

    def read_predictions(self) -> pd.DataFrame:
        """Columns row, source, keypoint, true_x, true_y, x, y and error; no rows where the file does not exist.

        Numbers are float32, and texts are categories, to save memory. Incomplete rows are dropped.

        Raises:
            UserError: the file is damaged, or lacks a column.
        """
        import pandas as pd

        columns = ["row", *PREDICTION_TEXTS, *PREDICTION_NUMBERS]
        types: dict[str, Any] = {
            **dict.fromkeys(PREDICTION_TEXTS, "category"),
            **dict.fromkeys(PREDICTION_NUMBERS, "float32"),
        }
        if not self.predictions.is_file():
            return pd.DataFrame(columns=columns)
        with reading(self.predictions):
            found = pd.read_csv(
                self.predictions,
                dtype=types,
                usecols=lambda column: column in columns,
                keep_default_na=False,  # a source or a point may have the name NA
                na_values=[""],
            )
            return file_checks.predictions(original_frame(found), columns)

    def write_coco(self, table: FaceTable, points: np.ndarray, confidence: np.ndarray, data: DataSettings) -> None:
        """coco.json, if the faces were cropped from photos.

        Args:
            table: N faces.
            points: (N, K, 2), predictions in pixels of the images.
            confidence: (N, K) from 0 to 1.
            data: settings of the reader.
        """
        from facekp.data.coco.writing import write_table_coco
        from facekp.data.settings import PhotoDataSettings

        if table.name is not None and isinstance(data, PhotoDataSettings):
            write_table_coco(self.coco, table, points, confidence, str(Path(data.images).expanduser().absolute()))

    # Of a sweep's job.

    def write_status(self, status: RunStatus) -> None:
        write_json(self.status, asdict(status))

    def read_status(self) -> RunStatus:
        """status.json; an empty status where the file does not exist.

        Raises:
            UserError: the file is damaged.
        """
        if not self.status.is_file():
            return RunStatus()
        with reading(self.status):
            return RunStatus.of(read_json(self.status))

    def known_status(self) -> RunStatus:
        """status.json; an empty status where it is damaged."""
        try:
            return self.read_status()
        except UserError:
            return RunStatus()

    def write_traceback(self, text: str) -> None:
        write_text(self.traceback, text)

    def remove_traceback(self) -> None:
        self.traceback.unlink(missing_ok=True)

    # Of calibration, corrupted images and W&B.

    def write_reliability(self, reliability: dict[str, Any]) -> None:
        write_json(self.reliability, reliability)

    def read_reliability(self) -> dict[str, list[float]] | None:
        """``expected`` and ``measured`` errors in pixels, by tenth; None where the file does not exist.

        Raises:
            UserError: the file is damaged.
        """
        return self._read_reliability(self.reliability)

    def _read_reliability(self, path: Path) -> dict[str, list[float]] | None:
        if not path.is_file():
            return None
        with reading(path):
            return file_checks.reliability(read_json(path))

    def write_corruptions(self, corruptions: pd.DataFrame, reliability: dict[str, Any] | None) -> None:
        """corruptions.csv and corrupted_reliability.json; without reliability, an earlier one is removed.

        Args:
            corruptions: of `facekp.models.robustness.corruptions_frame`.
            reliability: of `facekp.models.robustness.corrupted_reliability`; None: the checkpoint is not calibrated.
        """
        write_csv(self.corruptions, corruptions)
        if reliability is None:
            self.corrupted_reliability.unlink(missing_ok=True)
        else:
            write_json(self.corrupted_reliability, reliability)

    def read_corruptions(self) -> pd.DataFrame:
        """corruptions.csv; no rows where the file does not exist.

        Raises:
            UserError: the file is damaged, or lacks a column.
        """
        import pandas as pd

        if not self.corruptions.is_file():
            return pd.DataFrame(columns=list(CORRUPTION_COLUMNS))
        with reading(self.corruptions):
            return file_checks.corruptions(pd.read_csv(self.corruptions, dtype={"corruption": str}))

    def read_corrupted_reliability(self) -> dict[str, list[float]] | None:
        """As `read_reliability`, for corrupted images."""
        return self._read_reliability(self.corrupted_reliability)

    def write_wandb_identity(self, identity: dict[str, Any]) -> None:
        write_yaml(self.wandb_identity, identity)

    def read_wandb_identity(self) -> dict[str, Any] | None:
        """``id`` and ``group`` of the W&B run; None where the file does not exist.

        Raises:
            UserError: the file is damaged.
        """
        if not self.wandb_identity.is_file():
            return None
        with reading(self.wandb_identity):
            return file_checks.mapping(read_yaml(self.wandb_identity))


def command_line() -> list[str]:
    """The arguments of this command, or of the sweep's job that it trains; none outside of commands."""
    if not HydraConfig.initialized():
        return []
    return [*config_dir_options(HydraConfig.get()), *command_line_overrides(HydraConfig.get())]


def config_dir_options(hydra: Any) -> list[str]:
    """The ``--config-dir`` of the command line, by Hydra's part of the config; empty if it is not given."""
    sources = hydra.runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def find_runs(path: Path) -> Iterator[RunFolder]:
    """Runs and jobs in a folder and below it, in alphabetical order; not inside of runs nor in hidden folders.

    Links to runs elsewhere count; other links are not followed, as they may lead to whole disks.
    """
    marks = {file.name for file in (RunFolder("").config, RunFolder("").metrics, RunFolder("").status)}

    def is_searched(inner: Path) -> bool:
        if inner.is_symlink() and inner.resolve().is_relative_to(path.resolve()):
            return False  # the run itself is found
        return not inner.is_symlink() or any((inner / mark).is_file() for mark in marks)

    for folder, inner, files in os.walk(path, followlinks=True):
        if marks & set(files):
            inner.clear()
            yield RunFolder(folder)
        inner[:] = sorted(name for name in inner if not name.startswith(".") and is_searched(Path(folder, name)))
