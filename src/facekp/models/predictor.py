"""`KeypointPredictor`: face crops in, points out, from a file that training, `pack` or `export` left.

from facekp import KeypointPredictor

points, confidence = KeypointPredictor.from_checkpoint("shipped")(images)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.models.ensemble import BATCH, LoadedModel, load_models, make_ready
from facekp.models.keypoint_model import KeypointModel
from facekp.models.onnx_model import OnnxModel


class Answers(NamedTuple):
    """What is found in N crops, K points each; arrays or tensors, as the images were. One crop (H, W) has no N axis.

    Attributes:
        points: float32 (N, K, 2), (x, y) in pixels of the crop, 0 the centre of the first; finite.
        confidence: float32 (N, K), the heatmap's peak as a share of a certain one's: about 0 to 1, more is surer.
        expected_error: float32 (N, K), the mean distance in pixels between such a point and its label, gross mistakes
            of labels apart (`facekp.models.calibration`); None where the file holds no calibration, or several files answer.
    """

    points: Any
    confidence: Any
    expected_error: Any


class KeypointPredictor:
    """Finds the keypoints of face crops.

    Made by `from_checkpoint`. Every call answers by the convention of one source (`source_names`): the first one's
    (``dense`` in the competition's data) where none is named.

    Attributes:
        keypoints: the scheme (`facekp.core.keypoints.Keypoints`) that names the K points.
        size: (H, W) of the crops it takes, in pixels.
    """

    def __init__(self, trained: Sequence[LoadedModel], source: str | None, device: str, batch_size: int) -> None:
        self.trained, self.batch_size = trained, batch_size
        self.keypoints = trained[0].model.keypoints
        self.size = trained[0].model.size
        model = trained[0].model
        own = model.source if isinstance(model, OnnxModel) else None
        self.source = self._source(source or own or self.source_names[0])
        self.device = torch.device(device)
        for one in trained:
            make_ready(one, self.device)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | Sequence[str | Path] = "shipped",
        source: str | None = None,
        device: str = "cpu",
        batch_size: int = BATCH,
        decoder: Mapping[str, Any] | None = None,
    ) -> KeypointPredictor:
        """Read what answers.

        Args:
            path: a checkpoint of `facekp.train`; an ONNX file of `facekp.export`; ``shipped``, the checkpoint inside
                the package; or a list of these, which answer with their mean.
            source: the labelling convention to answer by; None: the first, or an exported file's own.
            device: of torch, e.g. ``cuda``; exported files answer on the CPU.
            batch_size: crops at a time; on a CPU more than 16 are slower.
            decoder: settings instead of the files' own (`facekp.models.keypoint_model.KeypointModel`): ``{"shift": 0, "scale": 0}`` takes
                one look at a crop, ``{"flip": False}`` no mirrored one.

        Raises:
            UserError: a file can't be read or has no such decoder, the files' schemes or sizes differ, or they know no
                such source.
        """
        trained = load_models(path, decoder)
        if not trained:
            raise UserError("from_checkpoint: the list of checkpoints is empty; name at least one")
        first = trained[0].model
        for one in trained[1:]:
            if (one.model.keypoints, one.model.size) != (first.keypoints, first.size):
                raise UserError(f"{one.path}: has other keypoints or another image size than {trained[0].path}")
        return cls(trained, source, device, batch_size)

    @property
    def source_names(self) -> list[str]:
        """The labelling conventions that can be asked for."""
        return self.keypoints.source_names

    @property
    def mean_face(self) -> np.ndarray:
        """float32 (K, 2): the mean training face of the predictor's own source, in pixels of a crop."""
        return self.trained[0].model.mean_face[self.source].cpu().numpy()

    def __call__(self, images: Any, source: str | None = None) -> tuple[Any, Any]:
        """Points and confidence of crops, as in `Answers`.

        Args:
            images: an array or tensor of grey levels 0..255 of any number type, (N, H, W), (N, 1, H, W), or one (H, W).
                Grey levels as shares 0..1 are not recognised: multiply them by 255.
            source: the labelling convention to answer by; None: the predictor's own.

        Raises:
            UserError (a ValueError): another shape or type, NaN, levels beyond 0..255, an unknown source.
        """
        found = self.answers(images, source)
        return found.points, found.confidence

    @torch.inference_mode()
    def answers(self, images: Any, source: str | None = None) -> Answers:
        """All that is known of crops; arguments and errors of `__call__`."""
        batch = self._as_batch(images)
        index = self.source if source is None else self._source(source)
        parts = [self._answer(part, index) for part in batch.split(self.batch_size)]
        points, confidence, error = (
            None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)
        )
        return Answers(*(None if part is None else _like(images, part) for part in (points, confidence, error)))

    @torch.inference_mode()
    def heatmaps(self, images: Any, source: str | None = None) -> Any:
        """Heatmaps float32 (N, K, h, w) of the image itself, mirrored or not as the decoder says, without other views.

        Args:
            images: as in `__call__`.
            source: as in `__call__`.

        Raises:
            UserError: as in `__call__`, or anything but one checkpoint answers.
        """
        model = self.trained[0].model
        if len(self.trained) > 1 or not isinstance(model, KeypointModel):
            raise UserError("heatmaps: only a checkpoint has them, an exported file or several files don't; load one")
        channel = model.channels[self.source if source is None else self._source(source)]
        parts = self._as_batch(images).split(self.batch_size)
        return _like(images, torch.cat([model.heatmaps(part.to(self.device))[:, channel] for part in parts]))

    def _answer(self, images: Tensor, source: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean points and confidence, and the expected error where one file answers, of one batch (N, 1, H, W)."""
        images, rows = images.to(self.device), torch.full((len(images),), source, device=self.device)
        found = [one.model.answer(images, rows) for one in self.trained]
        if len(found) == 1:
            return found[0]
        return torch.stack([one[0] for one in found]).mean(0), torch.stack([one[1] for one in found]).mean(0), None

    def _as_batch(self, images: Any) -> Tensor:
        """(N, 1, H, W) of the images given."""
        if not isinstance(images, (np.ndarray, Tensor)):
            raise UserError(f"images: a {type(images).__name__}; give a numpy array or a tensor")
        if isinstance(images, np.ndarray) and images.dtype.kind not in "uifb":
            raise UserError(f"images: an array of {images.dtype}; give grey levels 0..255 as numbers")
        batch = torch.from_numpy(images.astype(np.float32)) if isinstance(images, np.ndarray) else images.float()
        height, width = self.size
        grey = batch.squeeze(1) if batch.ndim == 4 and batch.shape[1] == 1 else batch
        if grey.ndim not in (2, 3) or grey.shape[-2:] != self.size:
            raise UserError(
                f"images: of shape {tuple(images.shape)}; give grey crops (N, {height}, {width}), "
                f"(N, 1, {height}, {width}) or one ({height}, {width})"
            )
        grey = grey.reshape(-1, 1, height, width)
        if len(grey) and not (grey.amin() >= 0 and grey.amax() <= 255):
            raise UserError(
                "images: a grey level is NaN or beyond 0..255; scale 16-bit levels down, clip what overshoots"
            )
        return grey

    def _source(self, name: str) -> int:
        if name not in self.source_names:
            raise UserError(f"source: {name!r} is unknown; choose one of {', '.join(self.source_names)}")
        return self.source_names.index(name)


def _like(images: Any, answer: Tensor) -> Any:
    """The answer as the images were: array or tensor, where they lie, with an axis for the faces or without."""
    answer = answer[0] if images.ndim == 2 else answer
    return answer.cpu().numpy() if isinstance(images, np.ndarray) else answer.to(images.device)
