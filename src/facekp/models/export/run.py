"""Exports a checkpoint as one graph from pixels to points, and checks the graph before it is kept.

Inputs: ``images`` (batch, 1, H, W), or in colour (batch, 3, H, W), any batch, levels 0..255; with ``source=all`` also
``source`` int64 (batch,), an index into the metadata's ``keypoints.sources``. Outputs: ``points`` float32
(batch, K, 2) in pixels, ``confidence`` (batch, K) and, of a calibrated checkpoint, ``expected_error`` float32
(batch, K) in pixels.
Normalisation, views, mirror images and decoding are part of the graph. Metadata: JSON under ``facekp``
(`facekp.models.export.onnx_file.describe`), with the digest of an ONNX file (`facekp.models.onnx_model.write_digest`).
"""

from __future__ import annotations

import json
import logging
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from facekp.core.console import count
from facekp.core.errors import UserError, first_line
from facekp.core.files import atomic
from facekp.core.settings import one_of
from facekp.data.competition import MissingFile
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.command_settings import ExportSettings
from facekp.models.ensemble import check_fits
from facekp.models.export.check import Predict, compare, drawn_faces, summary, too_far
from facekp.models.export.graph import KeypointGraph, trace
from facekp.models.export.onnx_file import attach, check_packages, describe, write_onnx
from facekp.models.export.quantise import quantise
from facekp.models.onnx_model import KEY, OnnxModel
from facekp.models.packaged import PACKAGED

log = logging.getLogger(__name__)

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}
EXTRA_FILE = f"{KEY}.json"  # in a torch_export file, holds the metadata


def export(settings: ExportSettings) -> dict[str, Any]:
    """Write a checkpoint as a graph.

    Returns:
        the differences from the checkpoint (`facekp.models.export.check.compare`).

    Raises:
        UserError: a package is missing, there are too few faces, the network or the decoder can't be traced, or the
            predictions differ too much. Then no file is written.
    """
    if settings.format == "onnx":
        check_packages("format=onnx")
    packaged = PACKAGED.get(settings.ckpt)
    if packaged is not None and packaged.suffix == ".onnx":
        raise UserError(f"ckpt={settings.ckpt}: is an ONNX file already, and can't be exported again; copy {packaged}")
    loaded = load_checkpoint(settings.ckpt)
    loaded.model.override_decoder(settings.decoder.for_views(settings.views))
    source = _source_index(settings.source, loaded)
    faces, others = _faces(settings, loaded, source)

    log.info("tracing the network")
    program = _trace(loaded, source, DTYPES[settings.input])
    target = Path(settings.out)
    with atomic(target) as draft:
        if settings.format == "onnx":
            log.info("writing the ONNX graph")
            write_onnx(program, KeypointGraph(loaded.model).outputs(), draft)
            if settings.precision == "int8":
                log.info("quantising with %s", count(len(others), "face"))
                quantise(draft, others, DTYPES[settings.input], source)
            attach(draft, describe(loaded, settings.precision, source, None))
        check = compare(loaded, _predictor(program, draft, settings, source), faces)
        log.info("%s", summary(check))
        problem = too_far(check, settings.precision)
        if problem and not settings.force:
            raise UserError(f"{target}: not written: {problem}; force=true writes it anyway")
        _write_metadata(program, draft, describe(loaded, settings.precision, source, check), settings.format)
    return check


def _trace(loaded: LoadedCheckpoint, source: int | None, dtype: torch.dtype) -> ExportedProgram:
    """As `trace`.

    Raises:
        UserError: the network or the decoder can't be traced.
    """
    try:
        return trace(loaded, source, dtype)
    except Exception as error:  # a network or decoder of another package may raise anything
        raise UserError(
            f"{loaded.path}: its network or decoder can't be traced ({first_line(error)}); use tensor operations "
            "only, without branches that depend on values, and x.shape[0] in place of len(x); debug=true shows where"
        ) from error


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
        name = settings.source or loaded.model.keypoints.source_names[0]
        raise UserError(f"data: {len(rows)} faces of source={name}, but the check needs at least 2; give more data")
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
    return drawn_faces(2 * settings.check, loaded)


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor found")  # of weights that share memory; on CPUs
        torch.export.save(program, content, extra_files={EXTRA_FILE: json.dumps(entry)})
    draft.write_bytes(content.getbuffer())
