"""ONNX files of `facekp.export`: they predict what the checkpoints predict that they were made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.models.prediction import Prediction
from facekp.models.settings import DecoderOverride, DecoderSettings

KEY = "facekp"  # of facekp's entry in a file's metadata
FORMAT = 1
INSTALL = "pip install 'facekp[export]'"


class OnnxModel:
    """Predicts as `facekp.models.keypoint_model.KeypointModel` does, by onnxruntime on the CPU.

    Args:
        path: a file of `facekp.export`.

    Attributes:
        keypoints: the scheme of the points.
        size: (H, W) of the images in pixels.
        decoder: the settings that were exported; they can't be changed.
        mean_face: float32 (S, K, 2), pixels.
        source: the only source that can be predicted; None: all can.
        entry: the file's metadata (`facekp.models.export.describe`).

    Raises:
        UserError: onnxruntime is not installed, the file does not exist, or `facekp.export` did not write it.
    """

    def __init__(self, path: Path) -> None:
        ort = import_runtime(path)
        if not path.is_file():
            raise UserError(f"{path}: does not exist")
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        try:
            self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's error classes share no base
            raise UserError(f"{path}: not an ONNX file that onnxruntime can read ({str(error)[:120]})") from error
        self.path, self.entry = path, _read_entry(path, self.session.get_modelmeta().custom_metadata_map)
        self.keypoints = Keypoints.from_dict(self.entry["keypoints"])
        height, width = self.entry["size"]
        self.size: tuple[int, int] = (height, width)
        # unchecked, as the rule is part of the graph: a plug-in's rule need not be installed
        self.decoder = DecoderSettings.model_construct(**self.entry["decoder"])
        self.source: str | None = self.entry["source"]
        self.mean_face = torch.tensor(self.entry["mean_face"])
        self.types = {
            given.name: np.uint8 if given.type == "tensor(uint8)" else np.float32 for given in self.session.get_inputs()
        }

    def override_decoder(self, override: DecoderOverride) -> None:
        """Refuse another decoder than the exported one.

        Raises:
            UserError: a value differs.
        """
        for key, value in override.changes().items():
            exported = getattr(self.decoder, key)
            if value != exported:
                raise UserError(f"decoder.{key}={value}: {self.path} was exported with {exported}; export it again")

    def predict(self, images: Tensor, source: Tensor) -> Prediction[Tensor]:
        """As `facekp.models.keypoint_model.KeypointModel.predict`, but on the CPU and without deviations.

        Args:
            images: (N, 1, H, W), grey levels 0..255.
            source: int (N,), below S.

        Raises:
            UserError: the file does not predict this source.
        """
        levels = images.cpu().numpy()
        inputs = {
            "images": np.rint(levels).astype(np.uint8)
            if self.types["images"] == np.uint8
            else levels.astype(np.float32)
        }
        if self.source is None:
            inputs["source"] = source.cpu().numpy().astype(np.int64)
        elif bool((source != self.keypoints.source_names.index(self.source)).any()):
            raise UserError(f"{self.path}: predicts source={self.source} only; export it with source=all")
        points, confidence, *expected = map(torch.from_numpy, self.session.run(None, inputs))
        return Prediction(points, confidence, None, expected[0] if expected else None)


@dataclass(frozen=True)
class LoadedOnnx:
    """An exported file; for prediction it replaces a `facekp.models.checkpoint.LoadedCheckpoint`.

    Attributes:
        path: the file.
        model: predicts.
        trained_on, labels, data: as in `facekp.models.checkpoint.LoadedCheckpoint`.
    """

    path: Path
    model: OnnxModel
    trained_on: np.ndarray | None
    labels: np.ndarray | None
    data: dict[str, Any]


def load_onnx(path: Path) -> LoadedOnnx:
    """Read a file of `facekp.export`.

    Raises:
        UserError: as for `OnnxModel`.
    """
    model = OnnxModel(path)
    hashes, labels = (
        None if values is None else np.array(values, dtype=np.int64)
        for values in (model.entry["trained_on"], model.entry.get("labels"))
    )
    return LoadedOnnx(path, model, hashes, labels, model.entry.get("data") or {})


def import_runtime(path: Path) -> Any:
    """Import onnxruntime, an optional dependency.

    Args:
        path: of the file to read, for the message.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: reading it needs onnxruntime: {INSTALL}") from error
    return onnxruntime


def _read_entry(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if KEY not in metadata:
        raise UserError(f"{path}: was not written by facekp.export (no {KEY!r} in its metadata)")
    entry: dict[str, Any] = json.loads(metadata[KEY])
    if entry["format"] > FORMAT:
        raise UserError(f"{path}: format {entry['format']} is newer than this facekp reads ({FORMAT}); update facekp")
    return entry
