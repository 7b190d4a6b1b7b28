"""Sections of `tools/gpu_check.py`: the published ladder, and `experiment=best` for the time that is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.gpu.plan import Plan
from tools.gpu.training import QUIET, Speed, measure_speed, restore_defaults, settings_of, train_settings

from facekp.config.command import plain_values
from facekp.core.settings import parse
from facekp.data.readers.read import read_table
from facekp.functional.metrics import MAIN
from facekp.models.packing import pack
from facekp.reporting.ladder import LadderSettings, step_folder, step_overrides
from facekp.runs.folder import RunFolder
from facekp.training.dataset import build_data
from facekp.training.settings import TrainSettings
from facekp.training.setup import train

VALIDATE_EVERY = 20  # epochs
PER_TRAINING = 12.0  # seconds of a training besides its epochs: reading, compiling, scoring
BETWEEN_STEPS = 1.15  # factor for what an epoch holds besides its steps
ASSUMED = 3000.0  # images per second of the published network, where none was measured
RESERVE = 15.0  # seconds at the end
COMPILING = 150.0  # seconds left from which on compiling pays


def train_ladder(plan: Plan) -> None:
    """The published four steps at the published epochs, or at as many as the time allows."""
    ladder = _ladder(plan)
    numbers = range(1, len(ladder.ladder) + 1)
    steps = [train_settings(_without_start(step_overrides(ladder, number))) for number in numbers]
    images = sum(_rows(step) * step.trainer.max_epochs for step in steps)
    needed = BETWEEN_STEPS * images / plan.images.get("published", ASSUMED)
    overhead = PER_TRAINING * len(steps)
    plan.record.add("ladder", "expected for the published epochs", (needed + overhead) / 60, "minutes")
    fraction = fraction_of_epochs(needed, plan.record.seconds_left() - plan.seconds_for_best - RESERVE - overhead)
    minutes = 0.0
    for number, step in zip(numbers, steps, strict=True):
        epochs = max(1, int(fraction * step.trainer.max_epochs))
        minutes += _train_step(plan, ladder, number, 1 if plan.toy else epochs)
    plan.record.add("ladder", "all steps", minutes, "minutes", f"{100 * fraction:.0f} % of the published epochs; aim 4")


def fraction_of_epochs(needed: float, allowed: float) -> float:
    """The fraction of all epochs that fits into the time.

    Args:
        needed: seconds for all of them.
        allowed: seconds; less than 20 count as 20, so that each step is trained a little.
    """
    return min(1.0, max(allowed, 20.0) / needed)


def _ladder(plan: Plan) -> LadderSettings:
    fast = f"fast={str(plan.toy).lower()}"
    values = plain_values(settings_of([f"root={plan.scratch / 'ladder'}", fast], "ladder"))
    given = [
        plan.trainer,
        *plan.source,
        *QUIET,
        *plan.fastest.get("published", []),
        f"callbacks.save_every={VALIDATE_EVERY}",
    ]
    return parse(LadderSettings, values).replaced(train=[*given, *_toy(plan)])


def _without_start(overrides: Sequence[str]) -> list[str]:
    """The overrides of a step without the weights of the step before, which is not trained yet."""
    return [*(text for text in overrides if not text.startswith("init_from=")), "init_from=null"]


def _rows(settings: TrainSettings) -> int:
    """Images in an epoch."""
    return len(build_data(read_table(settings.data, settings.keypoints), settings).module.train_rows)


def _train_step(plan: Plan, ladder: LadderSettings, number: int, epochs: int) -> float:
    """Train a step, keep its figures, and return its minutes."""
    step, every = ladder.ladder[number - 1], f"trainer.check_val_every_n_epoch={min(VALIDATE_EVERY, epochs)}"
    settings = train_settings([*step_overrides(ladder, number), f"trainer.max_epochs={epochs}", every])
    metrics = train(settings, step_folder(ladder, number).path)
    restore_defaults(plan.device)
    published = "does not learn" if step.published is None else f"{step.published} px on the leaderboard, other images"
    note = f"{epochs} epochs, fold 0, seed 0; published: {published}"
    plan.record.add("ladder", f"{step.experiment}: validation RMSE", metrics.get(MAIN), "px", note)
    minutes = float(metrics["minutes"])
    plan.record.add("ladder", f"{step.experiment}: time", minutes, "minutes")
    return minutes


def _toy(plan: Plan) -> list[str]:
    return ["data.batch_size=4", "model.network.channels=8", "model.network.levels=1"] if plan.toy else []


def train_best(plan: Plan) -> None:
    """`experiment=best`, or as many of its epochs as the time allows."""
    overrides, speed = _fastest_best(plan)
    settings, seconds = train_settings(overrides), plan.record.seconds_left() - RESERVE - PER_TRAINING
    possible = int(0.9 * seconds * speed.images / _rows(settings))  # 0.9: validation, checkpoints
    epochs = 1 if plan.toy else min(settings.trainer.max_epochs, possible)
    if epochs < 1:
        raise RuntimeError(f"no time for an epoch: {seconds:.0f} s are left")
    every = [f"trainer.check_val_every_n_epoch={max(1, epochs // 8)}", f"callbacks.save_every={epochs}"]
    folder = plan.folder("best")
    metrics = train(train_settings([*overrides, *QUIET, *every, f"trainer.max_epochs={epochs}"]), folder)
    plan.record.add("best", "validation RMSE", metrics.get(MAIN), "px", f"{epochs} epochs, fold 0, seed 0")
    plan.record.add("best", "without the worst 1 %", metrics.get(f"{MAIN}/trimmed"), "px")
    plan.record.add("best", "time", metrics["minutes"], "minutes")
    if plan.keep is not None:
        plan.keep.mkdir(parents=True, exist_ok=True)
        pack(RunFolder(folder).best_checkpoint, plan.keep / "best.ckpt", half=True)


def _fastest_best(plan: Plan) -> tuple[list[str], Speed]:
    """The overrides that train `experiment=best` fastest, and their speed."""
    base: list[str] = ["experiment=best", plan.trainer, *plan.source, *_toy(plan)]
    choices: list[Any] = [plan.fastest.get("default", []), []] if plan.record.seconds_left() > COMPILING else [[]]
    length = (1, 0.1) if plan.toy else (10, 3.0)
    for choice in choices:
        try:
            speed = measure_speed([*base, *choice], plan.folder("best"), plan.device, *length, inspect=False)
        except Exception as error:
            plan.record.fail(f"best, {' '.join(choice) or 'as it is'}", error)
            continue
        plan.record.add("best", f"training {' '.join(choice)}".strip(), speed.images, "images/s")
        return [*base, *choice], speed
    raise RuntimeError("no way to train it worked")
