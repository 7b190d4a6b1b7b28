"""What runs a checkpoint's network for prediction: torch, or onnxruntime, which takes less time on a CPU.

onnxruntime runs a graph that is exported from the checkpoint in memory and kept in the user's cache folder. With
``engine=auto``, torch predicts the first images: until they have taken about as long as loading the graph takes or, if
it is not in the cache, exporting it. So the first call never waits for it.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from threading import Lock

import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.models.checkpoint import LoadedCheckpoint, used_plugins
from facekp.models.ensemble import LoadedModel
from facekp.models.graph_cache import graph_file, load_graph
from facekp.models.keypoint_model import KeypointModel
from facekp.models.onnx_model import OnnxModel
from facekp.models.prediction import Prediction
from facekp.models.settings import Engine
from facekp.models.views import passes

log = logging.getLogger(__name__)

# Images through the network (each view and mirror image counts) after which onnxruntime saves what its start costs.
# Shipped checkpoint, one thread: a face with its mirror image takes 17 CPU ms by torch and 10.5 by onnxruntime, in
# batches 10 and 8.6. Loading a graph takes 0.3 CPU s, exporting one about 30.
LOAD_AFTER = 200
EXPORT_AFTER = 20_000
EXPORTERS = ("onnxruntime", "onnx", "onnxscript")  # packages that exporting needs; loading needs the first


class Runner:
    """Predicts with one checkpoint or exported file, by the engine that was asked for.

    Args:
        loaded: the checkpoint or file; ready for the device.
        device: where torch computes.
        engine: ``torch``; ``onnx``: a checkpoint is exported at once; ``auto``: torch, and onnxruntime from the moment
            when it saves time.

    Raises:
        UserError: the engine can't run this file, on this device or with what is installed.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, engine: Engine) -> None:
        self.model: KeypointModel | OnnxModel = loaded.model
        self._checkpoint: LoadedCheckpoint | None = None  # that onnxruntime may take over
        self._images, self._lock = 0, Lock()
        if not isinstance(loaded, LoadedCheckpoint):
            if engine == "torch":
                raise UserError(f"engine=torch: {loaded.path} is an exported file; give its checkpoint, or engine=onnx")
        elif engine == "onnx":
            if device.type != "cpu":
                raise UserError(f"engine=onnx: runs on the CPU, not on {device}; give device=cpu, or engine=torch")
            self.model = load_graph(loaded)
        elif engine == "auto" and device.type == "cpu" and _is_installed(1) and not used_plugins(loaded.model):
            self._checkpoint, self._file = loaded, graph_file(loaded)

    def expect(self, images: int) -> None:
        """Prepare for a number of images: with ``auto``, change to onnxruntime if it pays by now."""
        with self._lock:
            if self._checkpoint is None:
                return
            self._images += images * passes(self._checkpoint.model.decoder)
            kept = self._file is not None and os.path.isfile(self._file)  # False also in a folder of another user
            cached = self._images >= LOAD_AFTER and kept
            if cached or (self._images >= EXPORT_AFTER and _is_installed(len(EXPORTERS))):
                self._change(self._checkpoint)

    def predict(self, images: Tensor, source: Tensor) -> Prediction[Tensor]:
        """`facekp.models.keypoint_model.KeypointModel.predict` by the engine."""
        return self.model.predict(images, source)

    def _change(self, loaded: LoadedCheckpoint) -> None:
        self._checkpoint = None
        try:
            self.model = load_graph(loaded)
        except (UserError, OSError) as error:
            log.info("torch predicts, as onnxruntime can't: %s", error)


def _is_installed(packages: int) -> bool:
    """Whether the first of `EXPORTERS` are installed; they are not imported."""
    return all(find_spec(name) is not None for name in EXPORTERS[:packages])
