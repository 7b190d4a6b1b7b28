"""ONNX files of `facekp.export`: they predict what the checkpoints predict that they were made of.

A file's metadata hold the SHA-256 digest of the whole file (`write_digest`), which is compared when the file is loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.channels import checked_channels
from facekp.core.errors import UserError, first_line
from facekp.core.keypoints import Keypoints
from facekp.models.prediction import Prediction, concatenate
from facekp.models.settings import DecoderOverride, DecoderSettings
from facekp.models.views import CPU_BATCH_SIZE, passes

log = logging.getLogger(__name__)
KEY = "facekp"  # of facekp's entry in a file's metadata
FORMAT = 3  # up to 2: hashes as a list of numbers, which takes twice the space
WITH_DIGEST = 2  # the first format with a digest of the file
DIGEST = "digest"  # key of the entry
NO_DIGEST = "0" * 64  # in its place while the digest is computed
EXTERNAL_DATA = re.compile(rb"\n\x08location\x12")  # key of a tensor's external_data, in ONNX's protobuf
DIGEST_TEXT = re.compile(rb'"%s": "([0-9a-f]{64})"' % DIGEST.encode())  # of the entry as JSON
INSTALL = "pip install 'facekp[export]'"


class OnnxModel:
    """Predicts as `facekp.models.keypoint_model.KeypointModel` does, by onnxruntime on the CPU.

    Args:
        path: a file of `facekp.export`.

    Attributes:
        keypoints: the scheme of the points.
        size: (H, W) of the images in pixels.
        image_channels: 1 for grey images, 3 for colour.
        decoder: the settings that were exported; they can't be changed.
        mean_face: float32 (S, K, 2), pixels.
        source: the only source that can be predicted; None: all can.
        entry: the file's metadata (`facekp.models.export.onnx_file.describe`).

    Raises:
        UserError: onnxruntime is not installed, or the file does not exist, is damaged, was not written by
            `facekp.export`, or predicts numbers that are not finite.
    """

    def __init__(self, path: Path) -> None:
        ort = import_runtime(path)
        if not path.is_file():
            raise UserError(f"{path}: does not exist; name a file that facekp.export wrote")
        has_digest = _check_digest(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        try:
            self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            metadata = self.session.get_modelmeta().custom_metadata_map
        except Exception as error:  # onnxruntime's error classes share no base
            raise UserError(
                f"{path}: not an ONNX file that onnxruntime can read ({str(error)[:120]}); export it again"
            ) from error
        self.path, self.entry = path, _read_entry(path, metadata, has_digest)
        with _one_line(path):
            self._read_settings()
            self._check_numbers()
            if not has_digest:
                _check_weights(path)

    def _read_settings(self) -> None:
        self.keypoints = Keypoints.from_dict(self.entry["keypoints"])
        height, width = map(int, self.entry["size"])
        self.size: tuple[int, int] = (height, width)
        self.image_channels = checked_channels(self.entry.get("image_channels", 1))
        self.offsets = {name: float(pixels) for name, pixels in (self.entry.get("offsets") or {}).items()}
        if not np.isfinite(self.keypoints.offsets(self.offsets)).all():
            raise ValueError("an offset is not finite")
        # unchecked, as the rule is part of the graph: a plug-in's rule need not be installed
        self.decoder = DecoderSettings.model_construct(**self.entry["decoder"])
        self.source: str | None = self.entry["source"]
        if self.source is not None:
            self.keypoints.source_names.index(self.source)
        self.mean_face = torch.tensor(self.entry["mean_face"], dtype=torch.float32)
        if self.mean_face.shape != (len(self.keypoints.sources), len(self.keypoints.names), 2):
            raise ValueError("the mean face has other points than the file")
        self.types = {
            given.name: np.uint8 if given.type == "tensor(uint8)" else np.float32 for given in self.session.get_inputs()
        }
        self.outputs = [output.name for output in self.session.get_outputs()]

    def _check_numbers(self) -> None:
        """Refuse a graph whose predictions are not finite.

        Raises:
            UserError: the prediction for a grey image is not finite, as of weights with NaN.
        """
        source = 0 if self.source is None else self.keypoints.source_names.index(self.source)
        self.predict(torch.full((1, self.image_channels, *self.size), 128.0), torch.tensor([source]))

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
        """Predict in parts by `predict_together`: about as many views at once as fit the CPU's cache.

        Raises:
            UserError: as there.
        """
        together = max(1, CPU_BATCH_SIZE // passes(self.decoder))
        parts = zip(images.split(together), source.split(together), strict=True)
        return concatenate([self.predict_together(*part) for part in parts], torch.cat)

    def check_source(self, source: np.ndarray) -> None:
        """Check that the file predicts each of these sources.

        Args:
            source: int, of any shape.

        Raises:
            UserError: it does not predict one of them.
        """
        if self.source is not None and (source != self.keypoints.source_names.index(self.source)).any():
            raise UserError(f"{self.path}: predicts source={self.source} only; export it with source=all")

    def predict_together(self, images: Tensor, source: Tensor) -> Prediction[Tensor]:
        """As `facekp.models.keypoint_model.KeypointModel.predict`, but on the CPU.

        Deviations are predicted where they are an output of the graph; files of `facekp.export` have none.

        Args:
            images: (N, I, H, W), levels 0..255; I = 1 in grey, 3 in colour.
            source: int (N,), below S.

        Raises:
            UserError: the file does not predict this source, or a prediction is not finite.
        """
        levels, sources = images.cpu().numpy(), source.cpu().numpy()
        self.check_source(sources)
        inputs = {
            "images": np.rint(levels).astype(np.uint8)
            if self.types["images"] == np.uint8
            else levels.astype(np.float32)
        }
        if self.source is None:
            inputs["source"] = sources.astype(np.int64)
        outputs = dict(zip(self.outputs, map(torch.from_numpy, self.session.run(None, inputs)), strict=True))
        points, confidence = outputs["points"], outputs["confidence"]
        if not (points.isfinite().all() and confidence.isfinite().all()):  # the graph hides NaN behind the mean face
            raise UserError(f"{self.path}: its predictions are not finite; export it again, from a checkpoint that is")
        return Prediction(points, confidence, outputs.get("deviation"), outputs.get("expected_error"))


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
    with _one_line(path):
        labels = model.entry.get("labels")
        return LoadedOnnx(
            path,
            model,
            _read_hashes(model.entry["trained_on"]),
            None if labels is None else np.array(labels, dtype=np.int64),
            dict(model.entry.get("data") or {}),
        )


def hashes_text(hashes: np.ndarray) -> str:
    """Int64 hashes as text for a file's metadata, in base64 of their little-endian bytes."""
    return base64.b64encode(hashes.astype("<i8").tobytes()).decode()


def _read_hashes(value: str | list[int] | None) -> np.ndarray | None:
    """What `hashes_text` wrote, or the list of an older file.

    Raises:
        ValueError: the text is damaged.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<i8").astype(np.int64)
    return np.array(value, dtype=np.int64)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Name the file in errors: metadata of foreign values, or another graph, raise all sorts of them."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)[:120]}"
        raise UserError(f"{path}: is damaged ({reason}); export it again") from error


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


def _read_entry(path: Path, metadata: Mapping[str, str], has_digest: bool) -> dict[str, Any]:
    """Facekp's entry in the metadata of a file.

    Raises:
        UserError: the entry is missing or damaged, or a newer facekp wrote it.
    """
    if KEY not in metadata:
        raise UserError(
            f"{path}: was not written by facekp.export (no {KEY!r} in its metadata); export a checkpoint of facekp"
        )
    try:
        entry: dict[str, Any] = dict(json.loads(metadata[KEY]))
        written = int(entry["format"])
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: its metadata are damaged; export it again") from error
    if written > FORMAT:
        raise UserError(f"{path}: format {written} is newer than this facekp reads ({FORMAT}); update facekp")
    if not has_digest and written >= WITH_DIGEST:
        raise UserError(f"{path}: is damaged (its digest is missing); export it again")
    if not has_digest:
        log.warning("%s: an older facekp wrote it without a digest, so damage can't be noticed; export it again", path)
    return entry


def _check_weights(path: Path) -> None:
    """Check what a file without a digest holds; rounding to int8 would hide NaN from the predictions.

    Raises:
        UserError: a weight is not finite.
    """
    try:
        import onnx
    except ImportError:  # onnxruntime reads files without it
        return
    for tensor in onnx.load(path).graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        is_weight = weights.dtype.kind == "f" and weights.size > 1  # single numbers are limits, some of them infinite
        if is_weight and not np.isfinite(weights).all():
            raise UserError(f"{path}: its weights {tensor.name} are not finite; export a checkpoint that is finite")


# The digest


def write_digest(path: Path) -> None:
    """Put the digest of a file into its metadata, where `NO_DIGEST` stands."""
    content = path.read_bytes()
    found = DIGEST_TEXT.search(content)
    assert found is not None, "the entry has no place for a digest"
    digest = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(content[: found.start(1)] + digest + content[found.end(1) :])


def _check_digest(path: Path) -> bool:
    """Compare a file with its digest.

    Returns:
        whether it has one.

    Raises:
        UserError: the file differs, or its weights are in another file, which the digest does not cover.
    """
    content = path.read_bytes()
    if EXTERNAL_DATA.search(content):
        raise UserError(f"{path}: has weights in another file, which could be exchanged; export it again")
    found = DIGEST_TEXT.search(content)
    if found is None:
        return False
    digest = hashlib.sha256(content[: found.start(1)] + NO_DIGEST.encode() + content[found.end(1) :]).hexdigest()
    if digest.encode() != found[1]:
        raise UserError(f"{path}: is damaged (its SHA-256 digest differs); copy it again, or export it again")
    return True
