"""`python -m facekp.train optimizer=adam lr=5e-4`: trains one network and leaves a folder that tells all about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import write_csv, write_json
from facekp.core.keypoints import Keypoints
from facekp.data.augment import Augmentation
from facekp.data.datamodule import FaceData, check_split
from facekp.data.readers.registry import read_table
from facekp.data.split import assign_folds, image_hashes, inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint, read_tensors
from facekp.models.keypoint_model import KeypointModel
from facekp.models.scoring import score
from facekp.networks.cpu import optimize_for_cpu
from facekp.reporting.console_tables import metrics_table
from facekp.reporting.pictures import draw_run
from facekp.runs.folder import RunFolder
from facekp.runs.frames import predictions_frame, split_frame
from facekp.training.callbacks import AtomicCheckpointIO, build_callbacks, build_loggers
from facekp.training.distillation import build_distillation
from facekp.training.estimator import KeypointEstimator
from facekp.training.validation_results import ValidationResults, training_summary
from facekp.training.wandb_run import WandbCallback

log = logging.getLogger(__name__)
SUSPICIOUS = 0.5  # pixels that all labels of a source lie to one side of the answers, from which it is told

Config = dict[str, Any]


def train(config: Config, folder: Path, resume: bool = False, beside: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """Train one network.

    Args:
        config: resolved, as conf/train.yaml composes it.
        folder: where the run is written; must hold no run yet, unless it is resumed.
        resume: go on from the folder's last completed epoch.
        beside: callbacks beside the run's own, called after them.

    Returns:
        the content of metrics.json: figures of the best checkpoint on validation, the mean-face baseline beside them.
        Empty in all processes but the first.

    Raises:
        UserError: bad data or settings.
    """
    started = time.monotonic()
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    table = read_table(config["data"], Keypoints.from_dict(config["keypoints"]))
    data, split, taught_by = _split(table, config)
    last = _last_checkpoint(folder, split) if resume else None
    estimator = _build_estimator(data, taught_by, config, last)
    interim = ValidationResults(folder, table, table.without(data.val_rows), started)
    trainer = _build_trainer(config, folder, interim, beside)
    try:
        if not resume and trainer.is_global_zero:
            _write_beginning(folder, config, split)
        trainer.fit(estimator, data, ckpt_path=last, weights_only=True)
        if not trainer.is_global_zero:
            return {}
        return _finish(folder, table.take(data.val_rows), trainer, interim, config)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        log.warning("stopped; go on with resume=%s", folder)
        raise
    finally:
        for wandb_run in _wandb_runs(trainer):
            wandb_run.close()


def _last_checkpoint(folder: Path, split: pd.DataFrame) -> Path | None:
    """The checkpoint to go on from; None where the run was killed before its first epoch was over.

    Raises:
        UserError: the data changed since, or the checkpoint is damaged.
    """
    path = folder / "split.csv"
    try:
        before = pd.read_csv(path, dtype={"name": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"resume={folder}: {path} can't be read ({str(error).splitlines()[0]})") from error
    if not before.equals(split.astype({"set": str})):
        raise UserError(f"resume={folder}: the data's rows are no longer those of {path}; start a new run")
    last = folder / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return None
    missing = {"optimizer_states", "pytorch-lightning_version", "callbacks"} - set(read_tensors(last))
    if missing:
        raise UserError(f"resume={folder}: {last} lacks {sorted(missing)[0]}; it is not what the run wrote")
    return last


def _split(table: FaceTable, config: Config) -> tuple[FaceData, pd.DataFrame, np.ndarray]:
    """The datamodule of the fold asked for, the frame that records who went where, and what trained the teacher."""
    settings, teacher = config["data"], config["teacher"]
    groups = inseparable_groups(table)
    fold_of = assign_folds(groups, table.source, settings["folds"], settings["split_seed"])
    check_split(table, fold_of, settings["fold"], config["subset"])
    answers, taught_by, rows = None, np.empty(0, dtype=np.int64), table
    if teacher["ckpt"] is not None:
        if config["subset"] == "complete" and (teacher["unlabelled"] or teacher["drop"]):
            raise UserError(
                "subset=complete: trains on no row with a gap, be it one that teacher.drop makes or an image that "
                "teacher.unlabelled=true adds; set teacher.drop=null teacher.unlabelled=false, or subset=full"
            )
        lesson = build_distillation(table, fold_of, settings["fold"], teacher, settings)
        rows, fold_of, answers, taught_by = lesson.table, lesson.fold_of, lesson.answers, lesson.trained_on
    data = FaceData(
        table=rows,
        fold_of=fold_of,
        fold=settings["fold"],
        subset=config["subset"],
        batch_size=settings["batch_size"],
        augmentation=Augmentation.from_dict(config["augment"]),
        seed=config["seed"],
        taught=answers,
        offsets=settings["offsets"],
    )
    train_rows = data.train_rows[data.train_rows < len(table)]  # behind them are unlabelled ones of other files
    frame = split_frame(table, fold_of[: len(table)], groups, train_rows, data.val_rows)
    return data, frame, taught_by


def _build_estimator(data: FaceData, taught_by: np.ndarray, config: Config, last: Path | None) -> KeypointEstimator:
    """The estimator with its first weights; a resumed one gets its own from ``last``, and only its past from there."""
    table = data.table
    model = KeypointModel(
        keypoints=table.keypoints,
        size=table.size,
        model=config["model"],
        activation=config["loss"]["activation"],
        decoder=config["decoder"],
        offsets=config["data"]["offsets"],
    )
    before = load_checkpoint(last or config["init_from"]) if last or config["init_from"] else None
    if before is not None:
        _start_from(model, before)
        _tell_if_seen(before, table.take(data.val_rows))
    others = table.without(data.val_rows)  # whatever subset= leaves out of training
    face = torch.from_numpy(mean_face(others.points, others.source, table.keypoints))
    model.mean_face = torch.where(face.isnan(), model.mean_face, face)
    if config["trainer"]["fast_cpu"]:
        optimize_for_cpu(model.network)
    past = np.empty(0, dtype=np.int64) if before is None else before.trained_on
    return KeypointEstimator(
        model=model,
        loss=config["loss"],
        lr=config["lr"],
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
        teacher_weight=config["teacher"]["weight"],
        trained_before=None if past is None else np.concatenate((past, taught_by)),
        config=config,
    )


def _start_from(model: KeypointModel, before: LoadedCheckpoint) -> None:
    try:
        model.load_state_dict(before.model.state_dict())
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()[:160]
        raise UserError(f"init_from={before.path}: its network is another than model= asks for: {detail}") from error


def _tell_if_seen(before: LoadedCheckpoint, held_out: FaceTable) -> None:
    """Warn of first weights that know the validation images."""
    seen = 0 if before.trained_on is None else np.isin(image_hashes(held_out.images), before.trained_on).sum()
    if seen:
        log.warning(
            "%s: %d of the %d validation images trained it; this run's scores say nothing about new faces",
            before.path,
            seen,
            len(held_out),
        )


def _build_trainer(
    config: Config, folder: Path, interim: ValidationResults, beside: Sequence[pl.Callback]
) -> pl.Trainer:
    settings = {key: value for key, value in config["trainer"].items() if key != "fast_cpu"}
    try:
        return pl.Trainer(
            **settings,
            default_root_dir=folder,
            callbacks=[*build_callbacks(config, folder, interim), *beside],
            logger=build_loggers(config, folder),
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=bool(config["callbacks"]["progress"]),
            enable_model_summary=False,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise UserError(f"trainer: {error}") from error


def _write_beginning(folder: Path, config: Config, split: pd.DataFrame) -> None:
    RunFolder(folder).write_start(config, split)


def _wandb_runs(trainer: pl.Trainer) -> list[WandbCallback]:
    """None or one."""
    return [callback for callback in trainer.callbacks if isinstance(callback, WandbCallback)]  # type: ignore[attr-defined]


def _finish(
    folder: Path, held_out: FaceTable, trainer: pl.Trainer, interim: ValidationResults, config: Config
) -> dict[str, Any]:
    """Score the best checkpoint, write what a run leaves, and tell."""
    best = load_checkpoint(folder / "checkpoints" / "best.ckpt")
    figures, points, confidence = score([best], held_out, interim.others)
    figures |= {**training_summary(trainer, folder, interim.started), "finished": True}
    write_csv(folder / "predictions.csv", predictions_frame(held_out, "val", points, confidence))
    write_json(folder / "metrics.json", figures)
    draw_run(folder, best.model, held_out, points, figures, config["callbacks"]["pictures"])
    for wandb_run in _wandb_runs(trainer):
        wandb_run.tell_end(figures, best.model, held_out, points)
    show(metrics_table(figures, held_out.keypoints, f"{len(held_out)} validation faces, RMSE in pixels"))
    _tell_offsets(figures, config)
    log.info("run: %s\nckpt: %s", folder, best.path)
    return figures


def _tell_offsets(figures: Mapping[str, Any], config: Config) -> None:
    """Warn of labels on one side of the answers where mirror images forbid the network to follow them."""
    if not config["augment"]["flip"]:
        return
    found = {key.removeprefix("offset/"): value for key, value in figures.items() if key.startswith("offset/")}
    far = {source: value for source, value in found.items() if abs(value) >= SUSPICIOUS}
    given = config["data"]["offsets"] or {}
    better = {**given, **{source: round(given.get(source, 0.0) + value, 2) for source, value in far.items()}}
    for source, value in far.items():
        log.warning(
            "the labels of %s lie %g px right of the answers, the median of all, and mirror images keep the network "
            "from following; where that is so after a full training, set 'data.offsets={%s}'",
            source,
            value,
            ",".join(f"{name}:{right:g}" for name, right in better.items()),
        )
