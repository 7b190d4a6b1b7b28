"""Ablation: rows that differ in one thing each, trained or scored, and tabulated from what their runs left.

A row of conf/ablation.yaml is a training over some seeds, or an evaluation of what such rows trained: all seeds as one
ensemble, or each seed with another decoder. Every run is a command of its own with the folder root/NAME/SEED. This
module turns rows into runs; `facekp.reporting.ablation_table` turns finished runs into tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from facekp.config.arguments import key_of
from facekp.config.command import CommandSettings
from facekp.core.errors import UserError
from facekp.core.keypoints import KeypointsField
from facekp.core.settings import Count, NewPath, Settings, Text, one_of
from facekp.models.packaged import PACKAGED
from facekp.runs.folder import RunFolder
from facekp.runs.resume_arguments import TEACHER
from facekp.runs.sequence import run_unless_finished, with_plugins

NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
FOR_EVALUATION = ("data", "plugins")  # overrides of every training that evaluations get too


def _check_name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ValueError("must be small letters and digits, joined by - or _: it names a folder")
    return name


def _check_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must be different whole numbers")
    return seeds


Seeds = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_check_seeds)]


class RowEvaluation(Settings):
    """``evaluate`` of a row: how ``facekp.evaluate`` scores the row's checkpoints, without a training.

    Attributes:
        ckpt: names of rows that train, each for its best checkpoints of the row's seeds, and files of checkpoints.
        each: whether every seed is scored separately; else all checkpoints are scored as one ensemble.
        overrides: of `facekp.evaluate`.
    """

    ckpt: Annotated[tuple[Text, ...], Field(min_length=1)]
    each: bool = False
    overrides: tuple[Text, ...] = ()


class RowSettings(Settings):
    """A row: it trains or evaluates.

    Attributes:
        name: name of the row and of its folder.
        what: what differs, for the table.
        seeds: a run for each.
        base: ``from``, an earlier row whose overrides come first.
        train: overrides of `facekp.train`.
        evaluate: what is scored, with `facekp.evaluate`.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    what: Text
    seeds: Seeds = (0,)
    base: Text | None = Field(None, alias="from")
    train: tuple[Text, ...] | None = None
    evaluate: RowEvaluation | None = None

    @model_validator(mode="after")
    def _train_or_evaluate(self) -> Self:
        if (self.train is None) == (self.evaluate is None):
            raise ValueError("a row needs one of train and evaluate")
        if self.base is not None and self.train is None:
            raise ValueError("from is for rows that train; name what is scored in evaluate.ckpt")
        return self


class PictureSettings(Settings):
    """``picture``: validation RMSE against minutes of training.

    Attributes:
        out: file; None: no picture.
        rows: names of the rows that are drawn, by their seed 0; not read without a picture.
    """

    out: NewPath | None
    rows: list[Text]


class AblationSettings(CommandSettings):
    """Settings of ``facekp ablation``.

    Attributes:
        keypoints: the scheme, whose sources have a column each.
        root: folder of all runs.
        only: names of the rows that are run; None: all.
        train_missing: whether missing runs are run; else the table only shows what exists.
        train: overrides of every training.
        out: document that holds the table; None: it is only printed.
        picture: which rows the figure of training times shows.
        rows: the rows.
    """

    keypoints: KeypointsField
    root: NewPath
    only: Annotated[list[Text], Field(min_length=1)] | None
    train_missing: bool
    train: list[Text]
    out: NewPath | None
    picture: PictureSettings
    rows: Annotated[list[RowSettings], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        """Names are unique, and a row refers to earlier rows only."""
        trained: dict[str, RowSettings] = {}  # the rows so far that train
        names: list[str] = []
        for row in self.rows:
            if row.name in names:
                raise ValueError(f"rows.{row.name}: this name is duplicated; it is the row's folder, choose another")
            names.append(row.name)
            if row.base is not None:
                _check_known(f"rows.{row.name}.from", [row.base], list(trained))
            if row.evaluate is not None:
                _check_evaluated(row, row.evaluate, trained)
            else:
                trained[row.name] = row
        _check_known("only", self.only or [], names)
        if self.picture.out is not None:
            no_picture = "; or choose picture.out=null for no picture"
            _check_known("picture.rows", self.picture.rows, list(trained), no_picture)
        return self

    @property
    def shared(self) -> list[str]:
        """Overrides of every training, with the plug-ins of this command."""
        return with_plugins(self.train, self.plugins)

    def row(self, name: str) -> RowSettings:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def overrides_of(self, row: RowSettings) -> list[str]:
        """Overrides of a row that trains: those of its base except for keys that it sets itself, then its own."""
        before = [] if row.base is None else self.overrides_of(self.row(row.base))
        given = row.train or ()
        keys = {key_of(override) for override in given}
        return [*(override for override in before if key_of(override) not in keys), *given]

    def run_folder(self, row: str, seed: int) -> RunFolder:
        """The folder of a row's run."""
        return RunFolder(Path(self.root) / row / str(seed))


def _is_row(ckpt: str) -> bool:
    """Whether a checkpoint is given by the name of a row; it is a file otherwise."""
    return NAME.fullmatch(ckpt) is not None and ckpt not in PACKAGED


def _check_evaluated(row: RowSettings, evaluate: RowEvaluation, trained: dict[str, RowSettings]) -> None:
    for ckpt in filter(_is_row, evaluate.ckpt):
        _check_known(f"rows.{row.name}.evaluate.ckpt", [ckpt], list(trained))
        untrained = sorted(set(row.seeds) - set(trained[ckpt].seeds))
        if untrained:
            seeds = ", ".join(map(str, trained[ckpt].seeds))
            raise ValueError(f"rows.{row.name}.seeds: {ckpt} does not train seed {untrained[0]}, only {seeds}")


def _check_known(key: str, given: Sequence[str], known: Sequence[str], way_out: str = "") -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{key}={name}: there is no such row before; {one_of(known, name)}{way_out}")


@dataclass(frozen=True)
class AblationRun:
    """A command of a row.

    Attributes:
        row: the row's name.
        seed: of the training or of what is scored; 0 where several seeds are scored as one ensemble.
        command: ``train`` or ``evaluate``.
        overrides: of the command, without ``out=``.
        folder: where the run is written.
        needs: trainings that must be finished before.
    """

    row: str
    seed: int
    command: str
    overrides: list[str]
    folder: RunFolder
    needs: list[RunFolder]


def runs_of(row: RowSettings, settings: AblationSettings) -> list[AblationRun]:
    """The runs of a row, in the order of its seeds."""
    if row.evaluate is not None:
        groups = [(seed,) for seed in row.seeds] if row.evaluate.each else [row.seeds]
        return [_evaluation(row, row.evaluate, seeds, settings) for seeds in groups]
    overrides = [*settings.shared, *settings.overrides_of(row)]
    needs = _read_trainings(overrides, settings)
    return [
        AblationRun(row.name, seed, "train", [*overrides, f"seed={seed}"], settings.run_folder(row.name, seed), needs)
        for seed in row.seeds
    ]


def _read_trainings(overrides: Sequence[str], settings: AblationSettings) -> list[RunFolder]:
    """The runs of other rows whose checkpoints a training reads, as teachers or initial weights."""
    texts = [text.partition("=")[2] for text in overrides if key_of(text) in (TEACHER, "init_from")]
    named = {Path(name) for text in texts for name in re.split(r"[\[\],'\"]+", text)}
    runs = [settings.run_folder(row.name, seed) for row in settings.rows if row.evaluate is None for seed in row.seeds]
    return [run for run in runs if {run.path, run.best_checkpoint, run.last_checkpoint} & named]


def _evaluation(
    row: RowSettings, evaluate: RowEvaluation, seeds: Sequence[int], settings: AblationSettings
) -> AblationRun:
    """One `facekp.evaluate` of the checkpoints of these seeds and of the given files."""
    needs: list[RunFolder] = []
    files: list[str] = []
    for ckpt in evaluate.ckpt:
        trainings = [settings.run_folder(ckpt, seed) for seed in seeds] if _is_row(ckpt) else []
        needs += trainings
        files += [str(training.best_checkpoint) for training in trainings] or [ckpt]
    shared = [override for override in settings.shared if key_of(override).split(".")[0] in FOR_EVALUATION]
    ckpt = files[0] if len(files) == 1 else f"[{','.join(files)}]"
    seed = seeds[0] if evaluate.each else 0
    overrides = [f"ckpt={ckpt}", *shared, *evaluate.overrides]
    return AblationRun(row.name, seed, "evaluate", overrides, settings.run_folder(row.name, seed), needs)


def perform(run: AblationRun) -> None:
    """Run a command unless its folder holds a finished run.

    Raises:
        UserError: a training whose checkpoint is read is not finished.
        SystemExit: the command failed; the exit code is the same.
    """
    missing = [] if run.folder.is_finished() else [training for training in run.needs if not training.is_finished()]
    if missing:
        raise UserError(f"rows.{run.row}: {missing[0]} holds no finished training; run its row first")
    run_unless_finished(run.command, [*run.overrides, f"out={run.folder}"], run.folder)
