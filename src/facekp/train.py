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
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from facekp import cli, runs, search, sweep
from facekp.callbacks import AtomicCheckpointIO, build_callbacks, build_loggers
from facekp.checkpoint import Trained, load_checkpoint, read_tensors
from facekp.data.augment import Augmentation
from facekp.data.datamodule import FaceData, check_split
from facekp.data.reader import read_table
from facekp.data.split import assign_folds, image_hashes, inseparable_groups
from facekp.data.table import FaceTable
from facekp.detector import Detector
from facekp.errors import UserError
from facekp.estimator import KeypointEstimator
from facekp.evaluate import score
from facekp.interim import Interim, circumstances
from facekp.keypoints import Keypoints
from facekp.metrics import mean_face
from facekp.pictures import draw_run
from facekp.settings import check
from facekp.speed import speed_up
from facekp.tables import metrics_table, show
from facekp.teacher import teach
from facekp.wandb_run import WandbRun

log = logging.getLogger(__name__)
SUSPICIOUS = 0.5  # pixels that all labels of a source lie to one side of the answers, from which it is told
BESIDE_RESUME = ("resume", "trainer.max_epochs", "logger", "debug")  # keys that may be given with resume=
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
    interim = Interim(folder, table, table.without(data.val_rows), started)
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
        lesson = teach(table, fold_of, settings["fold"], teacher, settings)
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
    frame = runs.split_frame(table, fold_of[: len(table)], groups, train_rows, data.val_rows)
    return data, frame, taught_by


def _build_estimator(data: FaceData, taught_by: np.ndarray, config: Config, last: Path | None) -> KeypointEstimator:
    """The estimator with its first weights; a resumed one gets its own from ``last``, and only its past from there."""
    table = data.table
    detector = Detector(
        keypoints=table.keypoints,
        size=table.size,
        model=config["model"],
        activation=config["loss"]["activation"],
        decoder=config["decoder"],
        offsets=config["data"]["offsets"],
    )
    before = load_checkpoint(last or config["init_from"]) if last or config["init_from"] else None
    if before is not None:
        _start_from(detector, before)
        _tell_if_seen(before, table.take(data.val_rows))
    others = table.without(data.val_rows)  # whatever subset= leaves out of training
    face = torch.from_numpy(mean_face(others.points, others.source, table.keypoints))
    detector.mean_face = torch.where(face.isnan(), detector.mean_face, face)
    if config["trainer"]["fast_cpu"]:
        speed_up(detector.network)
    past = np.empty(0, dtype=np.int64) if before is None else before.trained_on
    return KeypointEstimator(
        detector=detector,
        loss=config["loss"],
        lr=config["lr"],
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
        teacher_weight=config["teacher"]["weight"],
        trained_before=None if past is None else np.concatenate((past, taught_by)),
        config=config,
    )


def _start_from(detector: Detector, before: Trained) -> None:
    try:
        detector.load_state_dict(before.detector.state_dict())
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()[:160]
        raise UserError(f"init_from={before.path}: its network is another than model= asks for: {detail}") from error


def _tell_if_seen(before: Trained, held_out: FaceTable) -> None:
    """Warn of first weights that know the validation images."""
    seen = 0 if before.trained_on is None else np.isin(image_hashes(held_out.images), before.trained_on).sum()
    if seen:
        log.warning(
            "%s: %d of the %d validation images trained it; this run's scores say nothing about new faces",
            before.path,
            seen,
            len(held_out),
        )


def _build_trainer(config: Config, folder: Path, interim: Interim, beside: Sequence[pl.Callback]) -> pl.Trainer:
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
    runs.write_origin(folder)
    runs.write_csv(folder / "split.csv", split)
    runs.write_yaml(folder / "config.yaml", config)


def _wandb_runs(trainer: pl.Trainer) -> list[WandbRun]:
    """None or one."""
    return [callback for callback in trainer.callbacks if isinstance(callback, WandbRun)]  # type: ignore[attr-defined]


def _finish(folder: Path, held_out: FaceTable, trainer: pl.Trainer, interim: Interim, config: Config) -> dict[str, Any]:
    """Score the best checkpoint, write what a run leaves, and tell."""
    best = load_checkpoint(folder / "checkpoints" / "best.ckpt")
    figures, points, confidence = score([best], held_out, interim.others)
    figures |= {**circumstances(trainer, folder, interim.started), "finished": True}
    runs.write_csv(folder / "predictions.csv", runs.predictions_frame(held_out, "val", points, confidence))
    runs.write_json(folder / "metrics.json", figures)
    draw_run(folder, best.detector, held_out, points, figures, config["callbacks"]["pictures"])
    for wandb_run in _wandb_runs(trainer):
        wandb_run.tell_end(figures, best.detector, held_out, points)
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


def _resumed(config: Config, overrides: list[str]) -> Config:
    """The stopped run's own config, with what may be changed on the way.

    Raises:
        UserError: a key stands beside ``resume=`` that the run's config.yaml decides.
    """
    keys = [cli.key_of(override) for override in overrides]
    for key in keys:
        if key not in BESIDE_RESUME and not key.startswith("logger."):
            raise UserError(f"resume={config['resume']}: {key} can't be changed on the way; leave it out or start anew")
    own = runs.read_config(Path(config["resume"]), groups=config)
    check(own)
    own["data"].setdefault("offsets", None)  # older runs know none
    if "trainer.max_epochs" in keys:
        own["trainer"]["max_epochs"] = config["trainer"]["max_epochs"]
    if any(key.split(".")[0] == "logger" for key in keys):
        own["logger"] = config["logger"]
    return own


def _absolute(config: Config) -> Config:
    """Paths that config.yaml may be read with from anywhere: files that are read, made absolute."""
    data = dict(config["data"])
    for key in {"dir", "cache", "images", "labels"} & set(data):
        data[key] = None if data[key] is None else str(Path(data[key]).expanduser().absolute())
    teacher = {**config["teacher"], "ckpt": _absolute_files(config["teacher"]["ckpt"])}
    return {**config, "data": data, "init_from": _absolute_files(config["init_from"]), "teacher": teacher}


def _absolute_files(ckpt: Any) -> Any:
    """A checkpoint's path, or each of several, made absolute."""
    if isinstance(ckpt, list):
        return [_absolute_files(one) for one in ckpt]
    return ckpt if ckpt in (None, "shipped") else str(Path(ckpt).absolute())


def main(cfg: DictConfig) -> dict[str, Any] | None:
    """Hydra's task: a run in its own folder, or a job of a sweep."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    torch.set_float32_matmul_precision("high")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return sweep.perform(folder, cfg, lambda resume: _job(cfg, folder, resume))
    if cfg[sweep.SEARCH].name != "none":
        raise UserError(f"{sweep.SEARCH}={cfg[sweep.SEARCH].name}: trains one network after the other; call with -m")
    return _run(_config(cfg), folder)


def _config(cfg: DictConfig) -> Config:
    """The run's own part of what Hydra composed, checked."""
    config = cli.plain(cfg)
    del config["sweep"], config[sweep.SEARCH]
    return config


def _run(config: Config, folder: Path, beside: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """A new run, or a stopped one gone on with."""
    resume = config["resume"] is not None
    if resume:
        folder = Path(config["resume"])
        config = _resumed(config, list(HydraConfig.get().overrides.task))
    elif not cli.is_child_process():
        runs.check_new_folder(folder)
        config = _absolute(config)
    return train(config, folder, resume, beside)


def _job(cfg: DictConfig, folder: Path, resume: bool) -> dict[str, Any]:
    """A run of a sweep, new or gone on with; one of several processes is a command of its own.

    Raises:
        UserError: bad data or settings.
        Pruned: a search ended it early.
    """
    config = _config(cfg)
    if config["resume"] is not None:
        raise UserError(f"resume={config['resume']}: goes on with one run, without -m; sweep.resume=DIR with a sweep")
    if config["trainer"]["devices"] != 1 or "strategy" in config["trainer"]:
        return sweep.train_apart(folder, list(HydraConfig.get().overrides.task), resume)
    hopeless = search.watch(folder)
    if resume:
        figures = train(_resumed({**config, "resume": str(folder)}, []), folder, resume, hopeless)
    else:
        figures = _run(config, folder, hopeless)
    if any(one.message for one in hopeless):
        raise sweep.Pruned(hopeless[0].message)
    return figures


if __name__ == "__main__":
    cli.run("train", main, sweep.reword)
