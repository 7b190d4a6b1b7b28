"""Exports a checkpoint as one graph from grey pixels to points, and checks the graph before it is kept.

Inputs: ``images`` (batch, 1, H, W), any batch, grey levels 0..255; with ``source=all`` also ``source`` int64
(batch,), an index into the metadata's ``keypoints.sources``. Outputs: ``points`` float32 (batch, K, 2) in pixels,
``confidence`` (batch, K) and, of a calibrated checkpoint, ``expected_error`` float32 (batch, K) in pixels.
Normalisation, views, mirror images and decoding are part of the graph. Metadata: JSON under ``facekp`` (`describe`),
with the digest of an ONNX file (`facekp.models.onnx_model.write_digest`).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.core.keypoints import Keypoints
from facekp.core.settings import one_of
from facekp.data.competition import MissingFile
from facekp.data.readers.read import read_table
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.command_settings import ExportSettings
from facekp.models.ensemble import check_fits
from facekp.models.export_check import Predict, compare, summary, too_far
from facekp.models.export_graph import KeypointGraph, OneSource
from facekp.models.onnx_model import DIGEST, FORMAT, INSTALL, KEY, NO_DIGEST, OnnxModel, write_digest
from facekp.models.quantise import quantise

log = logging.getLogger(__name__)

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}
OPSET = 20  # of ONNX
EXTRA_FILE = f"{KEY}.json"  # in a torch_export file, holds the metadata


def export(settings: ExportSettings) -> dict[str, Any]:
    """Write a checkpoint as a graph.

    Returns:
        the differences from the checkpoint (`facekp.models.export_check.compare`).

    Raises:
        UserError: a package is missing, there are too few faces, or the predictions differ too much. Then no file is
            written.
    """
    _check_packages(settings.format)
    loaded = load_checkpoint(settings.ckpt)
    loaded.model.override_decoder(settings.decoder)
    source = _source_index(settings.source, loaded)
    faces, others = _faces(settings, loaded, source)

    log.info("tracing the network")
    program = trace(loaded, source, DTYPES[settings.input])
    target = Path(settings.out)
    with atomic(target) as draft:
        if settings.format == "onnx":
            log.info("writing the ONNX graph")
            write_onnx(program, draft)
            if settings.precision == "int8":
                log.info("quantising with %s", count(len(others), "face"))
                quantise(draft, others, DTYPES[settings.input], source)
            attach(draft, describe(loaded, settings, source, None))
        check = compare(loaded, _predictor(program, draft, settings, source), faces)
        log.info("%s", summary(check))
        problem = too_far(check, settings.precision)
        if problem and not settings.force:
            raise UserError(f"{target}: not written: {problem}; force=true writes it anyway")
        _write_metadata(program, draft, describe(loaded, settings, source, check), settings.format)
    return check


def describe(
    loaded: LoadedCheckpoint, settings: ExportSettings, source: int | None, check: dict[str, Any] | None
) -> dict[str, Any]:
    """The file's metadata.

    Args:
        loaded: the checkpoint.
        settings: of the export.
        source: index of the source that the graph predicts; None: all.
        check: differences from the checkpoint, once they are known.
    """
    values, hashes = loaded.model.to_dict(), loaded.trained_on
    return {
        "format": FORMAT,
        **{key: values[key] for key in ("keypoints", "size", "decoder", "calibration")},
        "source": None if source is None else loaded.model.keypoints.source_names[source],
        "mean_face": loaded.model.mean_face.tolist(),
        "precision": settings.precision,
        "check": check,
        "trained_on": None if hashes is None else hashes.tolist(),
        "labels": None if loaded.labels is None else loaded.labels.tolist(),
        "data": _data_without_paths(loaded.data),
    }


def _data_without_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the settings of the training's data: the sort of images, and no path of this machine."""
    kept = {key: data[key] for key in ("name", "seed") if key in data}
    return {**kept, "images": None} if "images" in data else kept


def trace(loaded: LoadedCheckpoint, source: int | None, dtype: torch.dtype) -> ExportedProgram:
    """The model's graph for images of a type, any number of them.

    Args:
        loaded: the checkpoint.
        source: index of the source that the graph predicts; None: all.
        dtype: of the images.
    """
    model = loaded.model
    images = torch.zeros(2, 1, *model.size, dtype=dtype)  # two, as a batch of one would be traced as a constant size
    graph = KeypointGraph(model)
    module: nn.Module = graph if source is None else OneSource(graph, source)
    inputs = (images, torch.zeros(2, dtype=torch.long))[: 2 if source is None else 1]
    batch = Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(module.eval(), inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write the program as an ONNX file."""
    outputs = ["points", "confidence", "expected_error"][: len(program.graph_signature.user_outputs)]
    inputs = ["images", "source"][: len(program.graph_signature.user_inputs)]
    for library in ("onnx_ir", "onnxscript", "torch.onnx"):  # they log every step of their optimisers
        logging.getLogger(library).setLevel(logging.ERROR)
    with warnings.catch_warnings():
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


def _check_packages(format: str) -> None:
    if format != "onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"format=onnx: {error.name} is not installed: {INSTALL}") from error


def _source_index(name: str | None, loaded: LoadedCheckpoint) -> int | None:
    """Index of the source that the graph predicts; None: all."""
    names = loaded.model.keypoints.source_names
    if name == "all":
        return None
    if name is not None and name not in names:
        raise UserError(f"source={name}: {one_of([*names, 'all'], name)}")
    return 0 if name is None else names.index(name)


def _faces(settings: ExportSettings, loaded: LoadedCheckpoint, source: int | None) -> tuple[FaceTable, FaceTable]:
    """Faces to check on, and as many others, both spread evenly over the data's rows of the source."""
    table = _read_table(settings, loaded)
    rows = np.arange(len(table)) if source is None else np.flatnonzero(table.source == source)
    if len(rows) < 2:
        raise UserError(f"data: {len(rows)} faces of source={settings.source}; the check needs at least 2")
    check_fits(loaded, table)
    picked = rows[np.unique(np.linspace(0, len(rows) - 1, 2 * settings.check).astype(int))]
    return table.take(picked[::2]), table.take(picked[1::2])


def _read_table(settings: ExportSettings, loaded: LoadedCheckpoint) -> FaceTable:
    """The data, or drawn faces without labels where the competition's files are missing."""
    try:
        return read_table(settings.data, loaded.model.keypoints)
    except UserError as error:
        if not isinstance(error.__cause__, MissingFile):
            raise
        log.warning("%s: the graph is checked on drawn faces; data.dir=DIR checks it on yours", error.__cause__)
    return _drawn_faces(2 * settings.check, loaded)


def _drawn_faces(per_source: int, loaded: LoadedCheckpoint) -> FaceTable:
    """Unlabelled drawn faces of the model's size: as many of each source."""
    model = loaded.model
    sources = len(model.keypoints.source_names)
    drawable = Keypoints.from_dict({"name": "eyes", "names": ["left_eye_center", "right_eye_center"]})
    drawn = draw_faces(per_source * sources, 0, drawable).images
    images = np.stack([cv2.resize(image, model.size[::-1], interpolation=cv2.INTER_AREA) for image in drawn])
    points = np.full((len(images), len(model.keypoints.names), 2), np.nan, np.float32)
    rows = np.arange(len(images))
    return FaceTable(model.keypoints, images, points, (rows % sources).astype(np.int8), rows)


def _predictor(program: ExportedProgram, draft: Path, settings: ExportSettings, source: int | None) -> Predict:
    """What predicts by the exported graph: the ONNX file, or the traced program itself."""
    if settings.format == "onnx":
        return OnnxModel(draft).predict
    module, dtype = program.module(), DTYPES[settings.input]
    return lambda images, sources: module(images.to(dtype), *([sources] if source is None else []))


def _write_metadata(program: ExportedProgram, draft: Path, entry: dict[str, Any], format: str) -> None:
    if format == "onnx":
        attach(draft, entry)
        return
    content = BytesIO()  # where torch writes to a full disk itself, it hides the reason
    torch.export.save(program, content, extra_files={EXTRA_FILE: json.dumps(entry)})
    draft.write_bytes(content.getbuffer())


def attach(path: Path, entry: dict[str, Any]) -> None:
    """Put the metadata into an ONNX file, with the digest of the file; earlier ones are replaced."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {KEY: json.dumps({DIGEST: NO_DIGEST, **entry})})
    onnx.save(model, path)
    write_digest(path)
