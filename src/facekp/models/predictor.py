"""`KeypointPredictor`: face crops in, points out, from a file that training, `pack` or `export` wrote.

from facekp import KeypointPredictor

points, confidence = KeypointPredictor.from_checkpoint("shipped")(images)
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from facekp.core.crop import Crop
from facekp.core.device import AUTO, choose_device
from facekp.core.errors import UserError
from facekp.core.settings import one_of, parse
from facekp.functional.channels import channels_first, channels_last
from facekp.models.engine import Runner
from facekp.models.ensemble import LoadedModel, check_same_channels, load_models, make_ready
from facekp.models.input_images import as_batch, is_single
from facekp.models.keypoint_model import KeypointModel
from facekp.models.mean_face import is_mean_face
from facekp.models.onnx_model import OnnxModel
from facekp.models.prediction import Prediction, concatenate
from facekp.models.settings import DecoderOverride, Engine, ViewsChoice
from facekp.models.training_data import points_of_sources, warn_of_untrained
from facekp.models.views import images_at_once

log = logging.getLogger(__name__)


class KeypointPredictor:
    """Predicts the keypoints of face crops; made by `from_checkpoint`.

    Points follow the labelling convention of one source (`source_names`). Without a choice it is the first one, in the
    competition's data ``dense``. Crops of another size are resized; points are in pixels of the crops given.

    Attributes:
        keypoints: the scheme (`facekp.core.keypoints.Keypoints`) that names the K points.
        size: (H, W) of the crops in pixels.
        channels: of the crops: 1 for grey, 3 for colour.

    Example:
        >>> import numpy as np
        >>> predictor = KeypointPredictor.from_checkpoint("shipped")
        >>> points, confidence = predictor(np.zeros((2, 96, 96), dtype=np.uint8))
        >>> points.shape, confidence.shape
        ((2, 15, 2), (2, 15))
    """

    def __init__(
        self,
        models: Sequence[LoadedModel],
        source: str | None,
        device: str,
        batch_size: int | None,
        engine: Engine = "auto",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size={batch_size}: must be at least 1; None chooses it by the device")
        self.models = models
        model = models[0].model
        self.keypoints, self.size, self.channels = model.keypoints, model.size, model.image_channels
        exported = model.source if isinstance(model, OnnxModel) else None
        self.source = self._source_index(source or exported or self.source_names[0])
        self.device = choose_device(device)
        self.batch_size = batch_size or images_at_once(self.device)
        for loaded in models:
            make_ready(loaded, self.device)
        self._runners = [Runner(loaded, self.device, engine) for loaded in models]
        self._said_resized = False

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | Sequence[str | Path] = "shipped",
        source: str | None = None,
        device: str = AUTO,
        batch_size: int | None = None,
        decoder: DecoderOverride | Mapping[str, Any] | None = None,
        views: ViewsChoice = "one",
        engine: Engine = "auto",
    ) -> KeypointPredictor:
        """Load one or several files.

        Args:
            path: a checkpoint of `facekp.train`; an ONNX file of `facekp.export`; ``shipped`` or ``fast``, those
                inside the package (`facekp.models.packaged`); or a list of these, whose predictions are averaged.
            source: the labelling convention of the points; None: the first one, or that of an exported file.
            device: ``auto``, a GPU if there is one, or of torch, e.g. ``cuda:1``; exported files run on the CPU.
            batch_size: crops per batch; None: 16 on a CPU, where more are slower, and 128 on a GPU.
            decoder: replaces settings of the files' decoders (`facekp.models.settings.DecoderSettings`).
                ``{"flip": False}`` predicts without the mirror image.
            views: ``one``: predict on the crop alone; ``all``: also on the moved and scaled views of a checkpoint's
                decoder. Exported files keep the views that they were exported with.
            engine: what runs a checkpoint's network (`facekp.models.engine`): ``torch``, ``onnx``, or ``auto``:
                onnxruntime where it is installed and saves time. Points differ by less than 0.001 pixels.

        Raises:
            UserError: a file can't be read or has another decoder, the files' schemes or sizes differ, or the source,
                views or engine are unknown or not available.
        """
        is_one = isinstance(path, (str, Path))
        if not is_one and not (isinstance(path, Sequence) and all(isinstance(each, (str, Path)) for each in path)):
            raise UserError(f"path={path!r}: name a checkpoint, or several in a list")
        for name, value, choices in (("views", views, ViewsChoice), ("engine", engine, Engine)):
            if value not in get_args(choices):
                raise UserError(f"{name}={value}: {one_of(get_args(choices), value)}")
        if not isinstance(decoder, DecoderOverride):
            decoder = parse(DecoderOverride, decoder or {}, "decoder")
        models = load_models(path, decoder, views)
        if not models:
            raise UserError("from_checkpoint: the list of checkpoints is empty; give at least one")
        first = models[0].model
        for loaded in models[1:]:
            if (loaded.model.keypoints, loaded.model.size) != (first.keypoints, first.size):
                raise UserError(
                    f"{loaded.path}: has other keypoints or another image size than {models[0].path}; give checkpoints "
                    "that have the same"
                )
            check_same_channels(loaded, models[0])
        predictor = cls(models, source, device, batch_size, engine)
        warn_of_untrained(models, points_of_sources(first.keypoints, [predictor.source]))
        return predictor

    @property
    def source_names(self) -> list[str]:
        """The labelling conventions that ``source`` can name."""
        return self.keypoints.source_names

    @property
    def mean_face(self) -> np.ndarray:
        """float32 (K, 2): the mean training face of the predictor's source, in pixels of a crop."""
        return self.models[0].model.mean_face[self.source].cpu().numpy()

    def is_mean_face(self, points: np.ndarray) -> np.ndarray:
        """bool (N, K): which points (N, K, 2), in pixels of crops of ``size``, are those of the mean face."""
        return is_mean_face(points, self.models, np.full(len(points), self.source))

    def __call__(self, images: Any, source: str | None = None) -> tuple[Any, Any]:
        """Points and confidence of crops; see `predict`."""
        prediction = self.predict(images, source)
        return prediction.points, prediction.confidence

    @torch.inference_mode()
    def predict(self, images: Any, source: str | None = None) -> Prediction[Any]:
        """Predict the points of crops.

        Args:
            images: array or tensor of levels 0..255 of any number type. For a checkpoint of grey images (N, H, W),
                (N, 1, H, W), or one (H, W); for one of colour, red, green, blue, (N, H, W, 3), (N, 3, H, W), or one
                (H, W, 3). Images of another size than ``size`` are resized, as photos are cropped; the log says so
                once.
            source: the labelling convention of the points; None: the predictor's.

        Returns:
            arrays or tensors like ``images``, in their pixels; several files give no deviation and no expected error.

        Raises:
            UserError (a ValueError): another shape or type, NaN, levels outside 0..255 or between 0 and 1, an
                unknown source.
        """
        batch = as_batch(images, self.size, self.channels)
        index = self.source if source is None else self._source_index(source)
        for runner in self._runners:
            runner.expect(len(batch))
        parts = [self._predict(part, index) for part in self._resized(batch).split(self.batch_size)]
        prediction = concatenate(parts, torch.cat)
        if batch.shape[-2:] != self.size:
            prediction = _in_pixels_of(self._whole(batch), prediction)
        return prediction.map(lambda values: self._like(images, values))

    def answers(self, images: Any, source: str | None = None) -> Prediction[Any]:
        """Deprecated name of `predict`."""
        warnings.warn("KeypointPredictor.answers is now called predict", DeprecationWarning, stacklevel=2)
        return self.predict(images, source)

    @property
    def has_heatmaps(self) -> bool:
        """Whether `heatmaps` works: one checkpoint is loaded, and it is no exported file."""
        return len(self.models) == 1 and isinstance(self.models[0].model, KeypointModel)

    @torch.inference_mode()
    def heatmaps(self, images: Any, source: str | None = None) -> Any:
        """Heatmaps float32 (N, K, h, w), averaged with those of the mirrored image if the decoder's ``flip`` is set.

        Other views do not count.

        Args:
            images: as in `predict`.
            source: as in `predict`.

        Raises:
            UserError: as in `predict`, or the predictor has anything but one checkpoint.
        """
        model = self.models[0].model
        if len(self.models) > 1 or not isinstance(model, KeypointModel):
            raise UserError("heatmaps: exported files and several files have none; load one checkpoint")
        channel = model.channels[self.source if source is None else self._source_index(source)]
        parts = self._resized(as_batch(images, self.size, self.channels)).split(self.batch_size)
        return self._like(images, torch.cat([model.heatmaps(part.to(self.device))[:, channel] for part in parts]))

    def _predict(self, images: Tensor, source: int) -> Prediction[Tensor]:
        """The mean prediction for one batch (N, I, H, W)."""
        images, rows = images.to(self.device), torch.full((len(images),), source, device=self.device)
        predictions = [runner.predict(images, rows) for runner in self._runners]
        if len(predictions) == 1:
            return predictions[0]
        points, confidence, *_ = zip(*predictions, strict=True)
        return Prediction(torch.stack(points).mean(0), torch.stack(confidence).mean(0), None, None)

    def _resized(self, batch: Tensor) -> Tensor:
        """The images (N, I, H, W) at the networks' size."""
        height, width = batch.shape[-2:]
        if (height, width) == self.size:
            return batch
        if not self._said_resized:
            self._said_resized = True
            log.warning(
                "images of %d x %d pixels are resized to %d x %d; points are in pixels of the images given",
                *(width, height, *self.size[::-1]),
            )
        crop = self._whole(batch)
        levels = np.ascontiguousarray(channels_last(batch).round().to(torch.uint8).cpu().numpy())
        resized = np.array([crop.cut(image) for image in levels], np.float32)
        return channels_first(torch.from_numpy(resized.reshape(-1, *self.size, *levels.shape[3:])))

    def _whole(self, batch: Tensor) -> Crop:
        """The crop that is a whole image of the batch."""
        return Crop(0, 0, batch.shape[-1], batch.shape[-2], self.size)

    def _like(self, images: Any, values: Tensor) -> Any:
        """The values like the images: array or tensor, on their device, with an axis N or without."""
        values = values[0] if is_single(images, self.channels) else values
        return values.cpu().numpy() if isinstance(images, np.ndarray) else values.to(images.device)

    def _source_index(self, name: str) -> int:
        if name not in self.source_names:
            raise UserError(f"source={name}: {one_of(self.source_names, name)}")
        return self.source_names.index(name)


def _in_pixels_of(crop: Crop, prediction: Prediction[Tensor]) -> Prediction[Tensor]:
    """A prediction for resized images in pixels of the images before."""
    points, confidence, *distances = prediction
    scale = points.new_tensor(crop.scale)
    mean = float(crop.scale.mean())
    deviation, error = (None if part is None else part * mean for part in distances)
    return Prediction((points + 0.5) * scale - 0.5, confidence, deviation, error)
