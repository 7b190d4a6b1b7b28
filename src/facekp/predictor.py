"""`KeypointPredictor`: face crops in, points out, from a file that training, `pack` or `export` left.

from facekp import KeypointPredictor

points, confidence = KeypointPredictor.from_checkpoint("shipped")(images)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facekp.checkpoint import Trained, load_checkpoint
from facekp.errors import UserError
from facekp.inference import BATCH
from facekp.speed import speed_up


class Answers(NamedTuple):
    """What is found in N crops, K points each; arrays or tensors, as the images were. One crop (H, W) has no N axis.

    Attributes:
        points: float32 (N, K, 2), (x, y) in pixels of the crop, 0 the centre of the first; finite.
        confidence: float32 (N, K), the heatmap's peak as a share of a certain one's: about 0 to 1, more is surer.
        expected_error: float32 (N, K), the distance in pixels that the point is expected to be off by; None where the
            file holds no calibration (`facekp.calibrate`) for the decoder in use, or several files answer.
    """

    points: Any
    confidence: Any
    expected_error: Any


class KeypointPredictor:
    """Finds the keypoints of face crops.

    Made by `from_checkpoint`. Every call answers by the convention of one source (`source_names`): the first one's
    (``dense`` in the competition's data) where none is named.

    Attributes:
        keypoints: the scheme (`facekp.keypoints.Keypoints`) that names the K points.
        size: (H, W) of the crops it takes, in pixels.
    """

    def __init__(self, trained: Sequence[Trained], source: str | None, device: str, batch_size: int) -> None:
        self.trained, self.batch_size = trained, batch_size
        self.keypoints = trained[0].detector.keypoints
        self.size = trained[0].detector.codec.size
        self.source = self._source(source)
        self.device = torch.device(device)
        for one in trained:
            one.detector.to(self.device)
            speed_up(one.detector.network)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | Sequence[str | Path] = "shipped",
        source: str | None = None,
        device: str = "cpu",
        batch_size: int = BATCH,
    ) -> KeypointPredictor:
        """Read what answers.

        Args:
            path: a checkpoint of `facekp.train` or `facekp.pack`; ``shipped``, the one inside the package; a list of
                them, which answer with their mean.
            source: the labelling convention to answer by; None: the first.
            device: of torch, e.g. ``cuda``.
            batch_size: crops at a time; on a CPU more than 16 are slower.

        Raises:
            UserError: a file can't be read, the files' schemes or sizes differ, or they know no such source.
        """
        paths = [path] if isinstance(path, (str, Path)) else list(path)
        trained = [load_checkpoint(one) for one in paths]
        if not trained:
            raise UserError("from_checkpoint: the list of checkpoints is empty; name at least one")
        first = trained[0].detector
        for one in trained[1:]:
            if (one.detector.keypoints, one.detector.codec.size) != (first.keypoints, first.codec.size):
                raise UserError(f"{one.path}: has other keypoints or another image size than {trained[0].path}")
        return cls(trained, source, device, batch_size)

    @property
    def source_names(self) -> list[str]:
        """The labelling conventions that can be asked for."""
        return self.keypoints.source_names

    @property
    def mean_face(self) -> np.ndarray:
        """float32 (K, 2): the mean training face of its source, in pixels of a crop."""
        return self.trained[0].detector.mean_face[self.source].cpu().numpy()

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
        points, confidence = (torch.cat(column) for column in zip(*parts, strict=True))
        return Answers(_like(images, points), _like(images, confidence), None)

    @torch.inference_mode()
    def heatmaps(self, images: Any, source: str | None = None) -> Any:
        """Heatmaps float32 (N, K, h, w) of the image itself, mirrored or not as the decoder says, without other views.

        Args:
            images: as in `__call__`.
            source: as in `__call__`.

        Raises:
            UserError: as in `__call__`, or several checkpoints answer.
        """
        if len(self.trained) > 1:
            raise UserError("heatmaps: several checkpoints answer, each with maps of its own; load one of them")
        detector = self.trained[0].detector
        channel = detector.channels[self.source if source is None else self._source(source)]
        parts = self._as_batch(images).split(self.batch_size)
        return _like(images, torch.cat([detector.heatmaps(part.to(self.device))[:, channel] for part in parts]))

    def _answer(self, images: Tensor, source: int) -> tuple[Tensor, Tensor]:
        """Mean points and confidence of one batch (N, 1, H, W)."""
        images, rows = images.to(self.device), torch.full((len(images),), source, device=self.device)
        found = [one.detector.detect(images, rows) for one in self.trained]
        points, confidence = (torch.stack(column).mean(0) for column in zip(*found, strict=True))
        return points, confidence

    def _as_batch(self, images: Any) -> Tensor:
        """(N, 1, H, W) of the images given."""
        if not isinstance(images, (np.ndarray, Tensor)):
            raise UserError(f"images: a {type(images).__name__}; give a numpy array or a tensor")
        if isinstance(images, np.ndarray) and images.dtype.kind not in "uifb":
            raise UserError(f"images: an array of {images.dtype}; give grey levels 0..255 as numbers")
        batch = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
        height, width = self.size
        grey = batch.squeeze(1) if batch.ndim == 4 and batch.shape[1] == 1 else batch
        if grey.ndim not in (2, 3) or grey.shape[-2:] != self.size:
            raise UserError(
                f"images: of shape {tuple(images.shape)}; give grey crops (N, {height}, {width}), "
                f"(N, 1, {height}, {width}) or one ({height}, {width})"
            )
        grey = grey.reshape(-1, 1, height, width).float()
        if len(grey) and not (grey.amin() >= 0 and grey.amax() <= 255):
            raise UserError(
                "images: a grey level is NaN or beyond 0..255; scale 16-bit levels down, clip what overshoots"
            )
        return grey

    def _source(self, name: str | None) -> int:
        if name is None:
            return 0
        if name not in self.source_names:
            raise UserError(f"source: {name!r} is unknown; choose one of {', '.join(self.source_names)}")
        return self.source_names.index(name)


def _like(images: Any, answer: Tensor) -> Any:
    """The answer as the images were: array or tensor, where they lie, with an axis for the faces or without."""
    answer = answer[0] if images.ndim == 2 else answer
    return answer.cpu().numpy() if isinstance(images, np.ndarray) else answer.to(images.device)
