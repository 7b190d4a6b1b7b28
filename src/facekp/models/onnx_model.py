"""ONNX files of `facekp.export`, which answer as the checkpoints do that they were made of."""

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
from facekp.models.keypoint_model import check_decoder_settings

KEY = "facekp"  # of our entry in a file's metadata

FORMAT = 1

NEEDS = "pip install 'facekp[export]'"


class OnnxModel:
    """Answers as `facekp.models.keypoint_model.KeypointModel` does, by onnxruntime on the CPU.

    Attributes:
        keypoints: the scheme of the answer.
        size: (H, W) of the images in pixels.
        decoder: settings that were exported; nothing else can be had.
        mean_face: float32 (S, K, 2), pixels.
        source: the one it answers by; None: whichever is asked for.
        entry: the file's metadata (`facekp.models.export.describe`).
    """

    def __init__(self, path: Path) -> None:
        ort = import_runtime(path)
        if not path.is_file():
            raise UserError(f"{path}: does not exist")
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors alone
        try:
            self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no base
            raise UserError(f"{path}: is no ONNX file that onnxruntime reads ({str(error)[:120]})") from error
        self.path, self.entry = path, _read_entry(path, self.session.get_modelmeta().custom_metadata_map)
        self.keypoints = Keypoints.from_dict(self.entry["keypoints"])
        height, width = self.entry["size"]
        self.size: tuple[int, int] = (height, width)
        self.decoder: dict[str, Any] = self.entry["decoder"]
        self.source: str | None = self.entry["source"]
        self.mean_face = torch.tensor(self.entry["mean_face"])
        self.types = {
            one.name: np.uint8 if one.type == "tensor(uint8)" else np.float32 for one in self.session.get_inputs()
        }

    def override_decoder(self, settings: Mapping[str, Any]) -> None:
        """As `facekp.models.keypoint_model.KeypointModel.override_decoder`, where nothing changes.

        Raises:
            UserError: an unknown setting, or another decoder than the exported one is asked for.
        """
        check_decoder_settings(settings)
        for key, value in settings.items():
            if value not in (None, self.decoder[key]):
                raise UserError(
                    f"decoder.{key}={value}: {self.path} was exported with {self.decoder[key]}; export it anew"
                )

    def detect(self, images: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """As `facekp.models.keypoint_model.KeypointModel.detect`."""
        return self.answer(images, source)[:2]

    def answer(self, images: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `facekp.models.keypoint_model.KeypointModel.answer`; the answers are on the CPU.

        Raises:
            UserError: the file answers by another source than one of those asked for.
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
            raise UserError(f"{self.path}: answers by source {self.source} alone; export it with source=all")
        points, confidence, *expected = map(torch.from_numpy, self.session.run(None, inputs))
        return points, confidence, expected[0] if expected else None


@dataclass(frozen=True)
class LoadedOnnx:
    """An exported file, in the place of a `facekp.models.checkpoint.LoadedCheckpoint` wherever nothing but its answers is asked for.

    Attributes:
        path: the file.
        model: answers.
        trained_on: as in `facekp.models.checkpoint.LoadedCheckpoint`.
    """

    path: Path
    model: OnnxModel
    trained_on: np.ndarray | None


def load_onnx(path: Path) -> LoadedOnnx:
    """Read a file of `facekp.export`.

    Raises:
        UserError: onnxruntime is not installed, no such file, or not one of ours.
    """
    model = OnnxModel(path)
    hashes = model.entry["trained_on"]
    return LoadedOnnx(path, model, None if hashes is None else np.array(hashes, dtype=np.int64))


def import_runtime(path: Path) -> Any:
    """onnxruntime, which is an optional dependency.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: reading it needs onnxruntime: {NEEDS}") from error
    return onnxruntime


def _read_entry(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if KEY not in metadata:
        raise UserError(f"{path}: was not written by facekp.export (no {KEY!r} in its metadata)")
    entry: dict[str, Any] = json.loads(metadata[KEY])
    if entry["format"] > FORMAT:
        raise UserError(f"{path}: format {entry['format']} is newer than this facekp reads ({FORMAT}); update it")
    return entry
