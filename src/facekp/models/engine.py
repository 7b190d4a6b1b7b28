"""What runs a checkpoint's network for prediction: torch, or onnxruntime, which takes less time on a CPU.

onnxruntime runs a graph, which ``engine=onnx`` exports from the checkpoint and keeps in the user's cache folder. With
``engine=auto``, torch predicts the first images: until they have taken about as long as loading the graph takes. If
the graph is not in the cache, torch continues, as an export would take half a minute of all cores.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.models.checkpoint import LoadedCheckpoint, used_plugins
from facekp.models.ensemble import LoadedModel
from facekp.models.graph_cache import graph_file, load_graph, load_kept
from facekp.models.keypoint_model import KeypointModel
from facekp.models.onnx_model import OnnxModel
from facekp.models.prediction import Prediction
from facekp.models.settings import Engine
from facekp.models.views import passes

log = logging.getLogger(__name__)
_process: int | None = None  # that used a predictor last; a forked process has the number of its parent here

# Images through the network (each view and mirror image counts) after which onnxruntime saves what loading costs.
# Shipped checkpoint, one thread: a face with its mirror image takes 17 CPU ms by torch and 10.5 by onnxruntime, in
# batches 10 and 8.6. Loading a graph takes 0.3 CPU s.
LOAD_AFTER = 200


def use_own_threads() -> None:
    """Compute with one thread in a process that was forked after a predictor was loaded; a warning says so.

    torch's other threads exist in the parent only, and the forked process would wait for them for ever.
    """
    global _process
    if _process not in (None, os.getpid()) and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        log.warning(
            "this process was forked from one that has loaded a predictor, and can use one thread only; start it by "
            "multiprocessing's method spawn to use more"
        )
    _process = os.getpid()


class Runner:
    """Predicts with one checkpoint or exported file, by the engine that was asked for.

    Args:
        loaded: the checkpoint or file; ready for the device.
        device: where torch computes.
        engine: ``torch``; ``onnx``: a checkpoint is exported at once, unless its graph is in the cache; ``auto``:
            torch, and a graph in the cache from the moment when it saves time.

    Raises:
        UserError: the engine can't run this file, on this device or with what is installed.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, engine: Engine) -> None:
        self.model: KeypointModel | OnnxModel = loaded.model
        self._checkpoint: LoadedCheckpoint | None = None  # that onnxruntime may take over
        self._file: Path | None = None  # where its graph is kept
        self._images, self._lock = 0, Lock()
        if not isinstance(loaded, LoadedCheckpoint):
            if engine == "torch":
                raise UserError(f"engine=torch: {loaded.path} is an exported file; give its checkpoint, or engine=onnx")
        elif engine == "onnx":
            if device.type != "cpu":
                raise UserError(f"engine=onnx: runs on the CPU, not on {device}; give device=cpu, or engine=torch")
            self.model = load_graph(loaded)
        elif engine == "auto" and device.type == "cpu" and find_spec("onnxruntime") and not used_plugins(loaded.model):
            self._file = graph_file(loaded)
            self._checkpoint = None if self._file is None else loaded

    def expect(self, images: int) -> None:
        """Prepare for a number of images: with ``auto``, change to onnxruntime if it pays by now."""
        with self._lock:
            loaded = self._checkpoint
            if loaded is None or self._file is None:
                return
            self._images += images * passes(loaded.model.decoder)
            if self._images < LOAD_AFTER or not os.path.isfile(self._file):  # False also in a folder of another user
                return
            self._checkpoint = None  # this call loads the graph; other threads continue with torch
        try:
            self.model = load_kept(loaded, self._file)
        except (UserError, OSError) as error:
            log.warning("%s: torch predicts; engine=onnx exports the checkpoint again: %s", self._file, error)

    def predict(self, images: Tensor, source: Tensor) -> Prediction[Tensor]:
        """`facekp.models.keypoint_model.KeypointModel.predict` by the engine."""
        return self.model.predict(images, source)
