"""Settings of the commands that load checkpoints: evaluate, submit, pack, calibrate and export."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from facekp.config.command import CommandSettings
from facekp.core.settings import CheckpointPath, CheckpointPaths, NewPath, Text
from facekp.data.corruptions import CorruptionSettings
from facekp.data.readers.base import READERS, DataSettings
from facekp.functional.metrics import ScoreSettings
from facekp.models.settings import DecoderOverride, ViewsChoice

Data = Annotated[DataSettings, READERS.validator]
ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2"}  # of files of `export`, by format
OF_TRAININGS = (  # settings of the data that other commands do not use
    "data.fold",
    "data.folds",
    "data.split",
    "data.split_seed",
    "data.held_out",
    "data.offsets",
    "data.batch_size",
    "data.chunk_rows",
)


def _refuse_list(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError("must be one checkpoint; name one file")
    return value


def _refuse_ending_of_export(path: str) -> str:
    if path.endswith(tuple(ENDINGS.values())):
        raise ValueError("a checkpoint must not end as files of facekp.export do; choose a name that ends with .ckpt")
    return path


OneCheckpoint = Annotated[CheckpointPath, BeforeValidator(_refuse_list)]
NewCheckpoint = Annotated[NewPath, AfterValidator(_refuse_ending_of_export)]  # the ending tells what is read


class EvaluateSettings(CommandSettings):
    """Settings of ``facekp.evaluate``.

    Attributes:
        ckpt: checkpoints or exported files; several predict with their mean.
        data: the rows that are scored, except those that a checkpoint was trained on.
        views: ``all``: also the moved and scaled views of the checkpoint's decoder; ``one``: the image alone.
        refine: predict a face again in another crop of its image where that is more certain.
        decoder: replaces settings of the checkpoints' decoders.
        corruptions: corrupted images that are scored as well.
        metrics: settings of metrics that divide errors by the size of the face, and of 95 % intervals.
        out: folder for metrics.json, predictions.csv, corruptions.csv and, of photos, coco.json; None: print only.
        overwrite: replace an earlier evaluation in ``out``.
    """

    ckpt: CheckpointPaths
    data: Data
    views: ViewsChoice
    refine: bool
    decoder: DecoderOverride
    corruptions: CorruptionSettings
    metrics: ScoreSettings
    out: NewPath | None
    overwrite: bool = False


class SubmitSettings(CommandSettings):
    """Settings of ``facekp.submit``.

    Attributes:
        ckpt: checkpoints or exported files; several predict with their mean.
        data: the competition's files.
        views: ``all``: also the moved and scaled views of the checkpoint's decoder; ``one``: the image alone.
        refine: predict a face again in another crop of its image where that is more certain.
        decoder: replaces settings of the checkpoints' decoders.
        out: the CSV file to write; None: submission.csv, with a suffix where it exists.
        overwrite: replace ``out`` if it exists.
    """

    ckpt: CheckpointPaths
    data: Data
    views: ViewsChoice
    refine: bool
    decoder: DecoderOverride
    out: NewPath | None
    overwrite: bool = False


class PackSettings(CommandSettings):
    """Settings of ``facekp.pack``.

    Attributes:
        ckpt: the checkpoint to pack, or several whose weights are averaged.
        out: the file to write.
        half: keep convolution kernels in 16 bits.
        decoder: replaces settings of the checkpoint's decoder in the packed file.
        offsets: replace those of the checkpoint, pixels by source; calibrations are dropped. None: keep both.
        overwrite: replace ``out`` if it exists.
    """

    ckpt: CheckpointPaths
    out: NewCheckpoint
    half: bool
    decoder: DecoderOverride
    offsets: dict[str, float] | None
    overwrite: bool = False


class CalibrateSettings(CommandSettings):
    """Settings of ``facekp.calibrate``.

    Attributes:
        ckpt: the checkpoint to calibrate.
        out: the file to write: the checkpoint with its calibrations.
        data: its labelled rows that the checkpoint was not trained on are fitted and checked on.
        twin: checkpoint of the same recipe, trained without some rows, which is measured instead of ``ckpt``.
        corruptions: corrupted images that are fitted and checked on as well.
        reliability: picture of expected and measured errors with one view; its values are written beside it as JSON.
            None: neither.
        overwrite: replace these files if they exist.
    """

    ckpt: OneCheckpoint
    out: NewCheckpoint
    data: Data
    twin: CheckpointPath | None
    corruptions: CorruptionSettings
    reliability: NewPath | None
    overwrite: bool = False


class ExportSettings(CommandSettings):
    """Settings of ``facekp.export``.

    Attributes:
        ckpt: the checkpoint to export.
        out: the file to write.
        data: faces for the check, and for the activation ranges of int8.
        views: ``all``: also the moved and scaled views of the checkpoint's decoder; ``one``: the image alone.
        decoder: replaces settings of the checkpoint's decoder in the graph.
        format: ``onnx``, or ``torch_export``, which `torch.export.load` reads.
        precision: number type in which the graph computes its convolutions.
        input: type of the levels.
        source: the labelling convention that the graph predicts; None: the first; ``all``: a second input says which.
        check: number of faces that the graph is compared with the checkpoint on; int8 takes as many others.
        force: keep the file even if its predictions differ too much.
        overwrite: replace ``out`` if it exists.
    """

    ckpt: OneCheckpoint
    out: NewPath
    data: Data
    views: ViewsChoice
    decoder: DecoderOverride
    format: Literal["onnx", "torch_export"]
    precision: Literal["float32", "int8"]
    input: Literal["uint8", "float32"]
    source: Text | None
    check: Annotated[int, Field(ge=2)]
    force: bool
    overwrite: bool = False

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        ending = ENDINGS[self.format]
        if not self.out.endswith(ending):
            raise ValueError(f"out={self.out}: a file of format={self.format} must end in {ending}")
        if self.precision == "int8" and self.format != "onnx":
            raise ValueError(
                "precision=int8: is available with format=onnx only; set format=onnx, or another precision"
            )
        return self
