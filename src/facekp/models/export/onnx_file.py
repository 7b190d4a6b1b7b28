"""Writes the traced graph of a checkpoint as an ONNX file, with the metadata that `OnnxModel` reads.

`facekp.models.export.run` uses it for the user's files, `facekp.models.graph_cache` for graphs that prediction runs.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from facekp.core.errors import UserError
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.onnx_model import DIGEST, FORMAT, INSTALL, KEY, NO_DIGEST, hashes_text, write_digest

OPSET = 20  # of ONNX


def check_packages(setting: str) -> None:
    """Check that all packages that `write_onnx` needs, and onnxruntime, are installed.

    Args:
        setting: that asks for them, for the message.

    Raises:
        UserError: one is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{setting}: {error.name} is not installed: {INSTALL}") from error


def write_onnx(program: ExportedProgram, outputs: list[str], path: Path) -> None:
    """Write the program as an ONNX file.

    Args:
        program: of `trace`.
        outputs: names of its outputs (`KeypointGraph.outputs`).
        path: the file.
    """
    inputs = ["images", "source"][: len(program.graph_signature.user_inputs)]
    with _errors_only("onnx_ir", "onnxscript", "torch.onnx"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own code
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple({0: "batch"} for _ in inputs),  # the axis' name in the file
            verbose=False,
        )
    assert exported is not None
    exported.save(path)


@contextmanager
def _errors_only(*libraries: str) -> Iterator[None]:
    """Log only the errors of libraries, which log every step of their optimisers; their levels are restored."""
    levels = {logging.getLogger(library): logging.getLogger(library).level for library in libraries}
    try:
        for logger in levels:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def describe(
    loaded: LoadedCheckpoint, precision: str, source: int | None, check: dict[str, Any] | None
) -> dict[str, Any]:
    """The file's metadata.

    Args:
        loaded: the checkpoint.
        precision: number type in which the graph computes its convolutions.
        source: index of the source that the graph predicts; None: all.
        check: differences from the checkpoint, once they are known.
    """
    values, hashes, calibration = loaded.model.to_dict(), loaded.trained_on, loaded.model.valid_calibration()
    return {
        "format": FORMAT,
        **{key: values[key] for key in ("keypoints", "size", "image_channels", "decoder", "offsets")},
        "calibration": None if calibration is None else calibration.to_dict(),
        "source": None if source is None else loaded.model.keypoints.source_names[source],
        "mean_face": loaded.model.mean_face.tolist(),
        "precision": precision,
        "check": check,
        "trained_on": None if hashes is None else hashes_text(hashes),
        "labels": None if loaded.labels is None else loaded.labels.tolist(),
        "data": _data_without_paths(loaded.data),
    }


def _data_without_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the settings of the training's data: the sort of images, and no path of this machine."""
    kept = {key: data[key] for key in ("name", "seed") if key in data}
    return {**kept, "images": None} if "images" in data else kept


def attach(path: Path, entry: dict[str, Any]) -> None:
    """Put the metadata into an ONNX file, with the digest of the file; earlier ones are replaced.

    The exporter's notes on each node are removed: stack traces with paths of this machine, which are up to a megabyte.
    """
    import onnx

    model = onnx.load(path)
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: json.dumps({DIGEST: NO_DIGEST, **entry})})
    onnx.save(model, path)
    write_digest(path)
