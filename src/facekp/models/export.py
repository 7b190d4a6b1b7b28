"""`python -m facekp.export ckpt=FILE out=FILE.onnx`: one graph from grey pixels to points, checked at once.

Inputs: ``images`` (N, 1, H, W), any N, grey levels 0..255; with ``source=all`` also ``source`` int64 (N,), an index
into the metadata's ``keypoints.sources``. Outputs: ``points`` float32 (N, K, 2) in pixels, ``confidence`` (N, K)
and, of a calibrated checkpoint, ``expected_error`` float32 (N, K) in pixels. Normalisation, views, mirror images and
decoding lie inside. Metadata: JSON under ``facekp`` (`describe`).
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.data.readers.registry import read_table
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.ensemble import batches, check_fits
from facekp.models.export_graph import KeypointGraph, OneSource
from facekp.models.onnx_model import FORMAT, KEY, NEEDS, OnnxModel
from facekp.models.scoring import compute_metrics

log = logging.getLogger(__name__)
TYPES = {"uint8": torch.uint8, "float32": torch.float32}

OPSET = 20  # of ONNX

# Pixels by which points may differ from the checkpoint's. The rms distance is a bound for any change of the RMSE.
LIMITS = {"float32": ("furthest", 0.01), "int8": ("rms", 0.1)}

EXTRA_FILE = f"{KEY}.json"  # of a torch_export file, which holds the metadata

Answer = Callable[[Tensor, Tensor], tuple[Tensor, ...]]  # images and source in; points and confidence first


def export(config: dict[str, Any]) -> dict[str, Any]:
    """Write the graph.

    Args:
        config: as conf/export.yaml composes it.

    Returns:
        the figures of its check (`compare`).

    Raises:
        UserError: a wrong choice, a missing package, no faces, or answers that differ too much; no file is left.
    """
    _check_choices(config)
    trained = _load(config)
    source = _source(config["source"], trained)
    chosen, others = _faces(config, trained, source)
    program = trace(trained, source, TYPES[config["input"]])
    target = Path(config["out"])
    with atomic(target) as draft:
        if config["format"] == "onnx":
            write_onnx(program, draft)
            if config["precision"] == "int8":
                quantise(draft, others, TYPES[config["input"]], source)
            _attach(draft, describe(trained, config, source, None))
            answer: Answer = OnnxModel(draft).detect
        else:
            answer = _run(program, source)
        figures = compare(trained, answer, chosen)
        log.info("%s", tell(figures))
        verdict = _too_far(figures, config["precision"])
        if verdict and not config["force"]:
            raise UserError(f"{target}: not written: {verdict}; force=true keeps it all the same")
        entry = describe(trained, config, source, figures)
        if config["format"] == "onnx":
            _attach(draft, entry)
        else:
            with draft.open("wb") as file:
                torch.export.save(program, file, extra_files={EXTRA_FILE: json.dumps(entry)})
    return figures


def describe(
    trained: LoadedCheckpoint, config: dict[str, Any], source: int | None, figures: dict[str, Any] | None
) -> dict[str, Any]:
    """The file's metadata: what the answers are, by which source (None: all), the check's figures, what trained it."""
    settings, hashes = trained.model.settings(), trained.trained_on
    return {
        "format": FORMAT,
        **{key: settings[key] for key in ("keypoints", "size", "decoder", "calibration")},
        "source": None if source is None else trained.model.keypoints.source_names[source],
        "mean_face": trained.model.mean_face.tolist(),
        "precision": config["precision"],
        "check": figures,
        "trained_on": None if hashes is None else hashes.tolist(),
    }


def _check_choices(config: dict[str, Any]) -> None:
    check_choice("format", config["format"], ("onnx", "torch_export"))
    check_choice("precision", config["precision"], ("float32", "int8"))
    check_choice("input", config["input"], TYPES)
    ending = ".onnx" if config["format"] == "onnx" else ".pt2"
    if not config["out"].endswith(ending):
        raise UserError(f"out={config['out']}: a file of format={config['format']} ends in {ending}")
    if config["precision"] == "int8" and config["format"] != "onnx":
        raise UserError("precision=int8: only with format=onnx")
    if config["format"] == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise UserError(f"format=onnx: {error.name} is not installed: {NEEDS}") from error


def check_choice(key: str, value: Any, choices: Any) -> None:
    if value not in choices:
        raise UserError(f"{key}={value}: choose one of {', '.join(choices)}")


def _load(config: dict[str, Any]) -> LoadedCheckpoint:
    if not isinstance(config["ckpt"], str):
        raise UserError(f"ckpt={config['ckpt']}: a graph is made of one checkpoint; name one file")
    trained = load_checkpoint(config["ckpt"])
    trained.model.override_decoder(config["decoder"])
    return trained


def _source(name: str | None, trained: LoadedCheckpoint) -> int | None:
    """Index of the one source to answer by; None: all."""
    names = trained.model.keypoints.source_names
    if name == "all":
        return None
    check_choice("source", names[0] if name is None else name, [*names, "all"])
    return 0 if name is None else names.index(name)


def _faces(config: dict[str, Any], trained: LoadedCheckpoint, source: int | None) -> tuple[FaceTable, FaceTable]:
    """Faces to check on, and as many others, both spread evenly over the data's rows of the source."""
    table = read_table(config["data"], trained.model.keypoints)
    rows = np.arange(len(table)) if source is None else np.flatnonzero(table.source == source)
    if len(rows) < 2:
        raise UserError(f"data: {len(rows)} faces of source={config['source']}; at least 2 are needed for the check")
    check_fits(trained, table)
    picked = rows[np.unique(np.linspace(0, len(rows) - 1, 2 * config["check"]).astype(int))]
    return table.take(picked[::2]), table.take(picked[1::2])


def trace(trained: LoadedCheckpoint, source: int | None, dtype: torch.dtype) -> ExportedProgram:
    """The model's graph for images of that type and any number of them."""
    model = trained.model
    example = torch.zeros(2, 1, *model.size, dtype=dtype)  # two: a single image would be taken for the only case
    graph = KeypointGraph(model)
    module: nn.Module = graph if source is None else OneSource(graph, source)
    inputs = (example, torch.zeros(2, dtype=torch.long))[: 2 if source is None else 1]
    faces = Dim("faces", min=1)
    with torch.no_grad():
        return torch.export.export(module.eval(), inputs, dynamic_shapes=tuple({0: faces} for _ in inputs))


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """The program as an ONNX file."""
    outputs = ["points", "confidence", "expected_error"][: len(program.graph_signature.user_outputs)]
    inputs = ["images", "source"][: len(program.graph_signature.user_inputs)]
    for library in ("onnx_ir", "onnxscript", "torch.onnx"):  # every step of their optimiser
        logging.getLogger(library).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own code
        exported = torch.onnx.export(
            program, (), dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs, verbose=False
        )
    assert exported is not None
    exported.save(path)


def quantise(path: Path, faces: FaceTable, dtype: torch.dtype, source: int | None) -> None:
    """Turn an ONNX file's convolutions into ones of 8 bits, but the first and the last, in place.

    Weights have a range for every channel, activations one for every layer, read off the faces. The first convolution,
    which sees the pixels, and the last, which makes the maps' logits, are a hundredth of the arithmetic and a third of
    the error: 16 faces of the competition by the shipped checkpoint are 0.050 px rms off with both in 8 bits, 0.046
    with the last, 0.035 with the first; 32 faces 0.033 px with neither.

    Args:
        path: changed.
        faces: whose activations set the ranges.
        dtype: of the images.
        source: as for `trace`.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = Path(scratch) / "plain.onnx"
        quant_pre_process(path, plain, skip_symbolic_shape=True)
        nodes = [node.name for node in onnx.load(plain).graph.node if node.op_type == "Conv"]
        quantize_static(
            plain,
            path,
            _Feed(faces, dtype, source),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[nodes[0], nodes[-1]],
            per_channel=True,
            reduce_range=True,  # 7 bits of weights: 8 overflow on processors without VNNI
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


class _Feed:
    """onnxruntime's CalibrationDataReader over a table: what the graph takes, batch by batch."""

    def __init__(self, faces: FaceTable, dtype: torch.dtype, source: int | None) -> None:
        self.inputs = _inputs(faces, dtype, source)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def _inputs(faces: FaceTable, dtype: torch.dtype, source: int | None) -> Iterator[dict[str, np.ndarray]]:
    for _, images, sources in batches(faces, torch.device("cpu")):
        yield {"images": images.to(dtype).numpy(), **({"source": sources.numpy()} if source is None else {})}


def _run(program: ExportedProgram, source: int | None) -> Answer:
    module, dtype = program.module(), program.example_inputs[0][0].dtype

    def answer(images: Tensor, sources: Tensor) -> tuple[Tensor, ...]:
        return module(images.to(dtype), *([sources] if source is None else []))

    return answer


@torch.inference_mode()
def compare(trained: LoadedCheckpoint, answer: Answer, faces: FaceTable) -> dict[str, Any]:
    """How the answers differ from the checkpoint's.

    Returns:
        ``faces`` (how many), ``furthest`` and ``rms`` (largest and root of the mean squared distance of a point from
        the checkpoint's, pixels), ``confidence`` (largest difference), and the RMSE of both against the labels,
        pixels: ``rmse_checkpoint`` and ``rmse``, None where nothing is labelled.
    """
    found, expected = [], []
    for _, images, source in batches(faces, torch.device("cpu")):
        found.append(answer(images, source)[:2])
        expected.append(trained.model.detect(images, source))
    points, confidence = (torch.cat(part) for part in zip(*found, strict=True))
    own_points, own_confidence = (torch.cat(part) for part in zip(*expected, strict=True))
    apart = (points - own_points).norm(dim=-1)
    labelled = bool(faces.mask.any())
    return {
        "faces": len(faces),
        "furthest": float(apart.max()),
        "rms": float(apart.square().mean().sqrt()),
        "confidence": float((confidence - own_confidence).abs().max()),
        "rmse_checkpoint": compute_metrics(own_points.numpy(), faces)["rmse"] if labelled else None,
        "rmse": compute_metrics(points.numpy(), faces)["rmse"] if labelled else None,
    }


def tell(figures: dict[str, Any]) -> str:
    """One line on what `compare` found."""
    line = (
        "{faces} faces against the checkpoint: points off by {furthest:.2g} px at most, {rms:.2g} px rms; confidence "
    )
    line = (line + "by {confidence:.2g}").format(**figures)
    if figures["rmse"] is None:
        return line
    return line + "; RMSE against labels {rmse:.4f} px, the checkpoint's {rmse_checkpoint:.4f}".format(**figures)


def _too_far(figures: dict[str, Any], precision: str) -> str:
    """What is wrong with the answers, if anything is."""
    name, limit = LIMITS[precision]
    if figures[name] <= limit:
        return ""
    return f"{name}: points are {figures[name]:.3g} px off the checkpoint's, {limit} px are allowed"


def _attach(path: Path, entry: dict[str, Any]) -> None:
    """Put the metadata into an ONNX file, in the place of earlier ones."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {KEY: json.dumps(entry)})
    onnx.save(model, path)
