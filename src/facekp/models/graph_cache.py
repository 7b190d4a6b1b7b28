"""Keeps the exported graphs of checkpoints in the user's cache folder: a checkpoint comes in, an `OnnxModel` goes out.

A file is named by a hash of all that the graph is made of: the weights, the settings with the decoder, and the versions
of facekp and torch. It is written atomically. Whenever it is loaded, its digest and its predictions for drawn faces are
checked; a damaged one is made again. Where the folder can't be written, the graph is made for this process only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.models.checkpoint import LoadedCheckpoint, used_plugins
from facekp.models.onnx_model import OnnxModel

log = logging.getLogger(__name__)
LAYOUT = 1  # part of every name
KEPT = 8  # graphs of about 5 MB each; those that were used longest ago are deleted
MAX_DIFFERENCE = 1e-3  # pixels from torch's points that a graph's may lie


def load_graph(loaded: LoadedCheckpoint) -> OnnxModel:
    """The graph of a checkpoint with its decoder: from the cache, or exported and kept there.

    Raises:
        UserError: a package is not installed, or the network can't be exported.
    """
    if used_plugins(loaded.model):  # their code may change under the same name
        return _export(loaded, None)
    path = graph_file(loaded)
    if path is not None and os.path.isfile(path):  # False also in a folder that this user can't search
        try:
            return load_kept(loaded, path)
        except (UserError, OSError) as error:
            log.warning("%s: exporting the checkpoint again: %s", path, error)
    return _export(loaded, path)


def load_kept(loaded: LoadedCheckpoint, path: Path) -> OnnxModel:
    """The graph of a checkpoint from its file in the cache.

    Raises:
        UserError: onnxruntime is not installed, the file is damaged, or its predictions differ from the checkpoint's.
        OSError: the file can't be read.
    """
    model = OnnxModel(path)
    check_agreement(model, loaded)
    with suppress(OSError):
        os.utime(path)
    return model


def graph_file(loaded: LoadedCheckpoint) -> Path | None:
    """Where the graph of a checkpoint with its decoder is kept; None: this user has no home folder."""
    folder = Path(os.path.expanduser(os.environ.get("FACEKP_CACHE") or "~/.cache/facekp"))
    if folder.parts[0] == "~":
        return None
    settings = json.dumps([LAYOUT, version("facekp"), torch.__version__, loaded.model.to_dict()], sort_keys=True)
    digest = hashlib.sha256(settings.encode())
    for name, value in loaded.model.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return folder / "graphs" / f"{digest.hexdigest()[:32]}.onnx"


def check_agreement(model: OnnxModel, loaded: LoadedCheckpoint) -> None:
    """Compare a graph with its checkpoint on drawn faces.

    Raises:
        UserError: a point differs by more than `MAX_DIFFERENCE`.
    """
    from facekp.models.export.check import compare, drawn_faces  # imported here: most calls of predict do without

    furthest = compare(loaded, model.predict, drawn_faces(2, loaded))["furthest"]
    if not furthest <= MAX_DIFFERENCE:  # also where it is NaN
        raise UserError(f"its points differ from those of {loaded.path} by {furthest:.2g} px")


def _export(loaded: LoadedCheckpoint, path: Path | None) -> OnnxModel:
    """A new graph, which is kept in a file unless that is None.

    Raises:
        UserError: a package is not installed, or the network can't be exported.
    """
    from facekp.models.export.graph import KeypointGraph, trace  # imported here, as torch.export takes a second
    from facekp.models.export.onnx_file import attach, check_packages, describe, write_onnx

    check_packages("engine=onnx")
    log.info("%s: exporting the network for onnxruntime; this takes half a minute, and is done once", loaded.path)
    with TemporaryDirectory() as scratch:
        draft = Path(scratch) / "graph.onnx"
        try:
            outputs = KeypointGraph(loaded.model, deviation=True).outputs()
            write_onnx(trace(loaded, None, torch.float32, deviation=True), outputs, draft)
            attach(draft, describe(replace(loaded, trained_on=None, labels=None), "float32", None, None))
            model = OnnxModel(draft)
            check_agreement(model, loaded)
        except Exception as error:  # a network of another package may raise anything
            why = " ".join(str(error).split())[:120]
            raise UserError(
                f"engine=onnx: {loaded.path} can't be exported ({type(error).__name__}: {why}); use engine=torch"
            ) from error
        if path is not None:
            _keep(draft, path)
    model.path = loaded.path  # for messages
    return model


def _keep(draft: Path, path: Path) -> None:
    """Copy a graph into the cache, and delete graphs that were used longest ago; a log line if that fails."""
    try:
        with atomic(path) as part:
            shutil.copyfile(draft, part)
    except UserError as error:
        log.info("the exported network is not kept: %s", error)
        return
    with suppress(OSError):
        graphs = sorted(path.parent.glob("*.onnx"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in graphs[KEPT:]:
            old.unlink()
