"""`KeypointPredictor`: face crops in, points out, from a file that training, `pack` or `export` wrote.

from facekp import KeypointPredictor

points, confidence = KeypointPredictor.from_checkpoint("shipped")(images)
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from facekp.core.crop import Crop
from facekp.core.device import AUTO, choose_device
from facekp.core.errors import UserError
from facekp.core.settings import did_you_mean, one_of, parse
from facekp.functional.channels import channels_first, channels_last
from facekp.models.engine import Runner, use_own_threads
from facekp.models.ensemble import LoadedModel, check_same_images, load_models, make_ready
from facekp.models.input_images import as_batch, is_single
from facekp.models.keypoint_model import KeypointModel
from facekp.models.mean_face import is_mean_face
from facekp.models.onnx_model import LoadedOnnx, OnnxModel
from facekp.models.packaged import PACKAGED, file_of
from facekp.models.prediction import Prediction, concatenate
from facekp.models.settings import DecoderOverride, Engine, ViewsChoice
from facekp.models.training_data import points_of_sources, warn_of_untrained
from facekp.models.views import count_views, images_at_once

log = logging.getLogger(__name__)
Images = TypeVar("Images", np.ndarray, Tensor)
_LOADING = Lock()  # one thread at a time changes torch's defaults


class KeypointPredictor:
    """Predicts the keypoints of face crops; made by `from_checkpoint`.

    Points follow the labelling convention of one source (`source_names`). Without a choice it is the first one, in the
    competition's data ``dense``. Crops of another size are resized; points are in pixels of the crops given.

    A copy of a predictor is loaded from the files again, and so is a pickled one, for example in a spawned process. A
    forked process predicts with one thread.

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
        self.models = models
        model = models[0].model
        self.keypoints, self.size, self.channels = model.keypoints, model.size, model.image_channels
        exported = model.source if isinstance(model, OnnxModel) else None
        self.source = self._source_index(source or exported or self.source_names[0])
        self.device = choose_device(device)
        self.batch_size = int(batch_size or images_at_once(self.device))
        for loaded in models:
            make_ready(loaded, self.device)
        self._runners = [Runner(loaded, self.device, engine) for loaded in models]
        self._said_resized = False
        self._arguments: dict[str, Any] | None = None  # of `from_checkpoint`

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
                onnxruntime if ``onnx`` was used before, with many faces. Points differ by less than 0.001 pixels.

        Raises:
            UserError: a file can't be read or has another decoder, the files' points or sizes differ, or the source,
                batch size, views or engine are unknown or not available.
        """
        use_own_threads()
        paths = _checked_paths(path)
        is_whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
        if batch_size is not None and not (is_whole and batch_size >= 1):
            raise UserError(f"batch_size={batch_size}: must be a whole number from 1; None chooses it by the device")
        for name, value, choices in (("views", views, ViewsChoice), ("engine", engine, Engine)):
            if value not in get_args(choices):
                raise UserError(f"{name}={value}: {one_of(get_args(choices), value)}")
        if not isinstance(decoder, DecoderOverride):
            decoder = parse(DecoderOverride, decoder or {}, "decoder")
        with _defaults_of_torch():
            models = load_models(paths, decoder, views)
        _warn_of_more_views(models, decoder, views)
        first = models[0].model
        for loaded in models[1:]:
            if _predicted(loaded) != _predicted(models[0]):
                raise UserError(
                    f"{loaded.path}: has other keypoints than {models[0].path}; give checkpoints that have the same"
                )
            check_same_images(loaded, models[0])
        predictor = cls(models, source, device, batch_size, engine)
        predictor._arguments = {
            "path": [each if str(each) in PACKAGED else Path(each).absolute() for each in paths],
            "source": source,
            "device": device,
            "batch_size": batch_size,
            "decoder": decoder,
            "views": views,
            "engine": engine,
        }
        warn_of_untrained(models, points_of_sources(first.keypoints, [predictor.source]))
        return predictor

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the arguments of `from_checkpoint`.

        Raises:
            UserError: the predictor was not made by it.
        """
        if self._arguments is None:
            raise UserError("only predictors of KeypointPredictor.from_checkpoint can be copied or pickled; use it")
        return functools.partial(type(self).from_checkpoint, **self._arguments), ()

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

    def __call__(self, images: Images, source: str | None = None) -> tuple[Images, Images]:
        """Points and confidence of crops; see `predict`."""
        prediction = self.predict(images, source)
        return prediction.points, prediction.confidence

    def predict(self, images: Images, source: str | None = None) -> Prediction[Images]:
        """Predict the points of crops.

        Args:
            images: array or tensor of levels 0..255 of any number type. For a checkpoint of grey images (N, H, W),
                (N, 1, H, W), or one (H, W) or (H, W, 1); for one of colour, red, green, blue, (N, H, W, 3),
                (N, 3, H, W), or one (H, W, 3) or (3, H, W). Images of another size than ``size`` are resized, as
                photos are cropped; the log says so once.
            source: the labelling convention of the points; None: the predictor's.

        Returns:
            arrays or tensors like ``images``, in their pixels; several files give no deviation and no expected error.

        Raises:
            UserError (a ValueError): another shape or type, NaN, levels outside 0..255 or between 0 and 1, an
                unknown source.
        """
        use_own_threads()
        with self._inference():
            batch = as_batch(images, self.size, self.channels)
            index = self.source if source is None else self._source_index(source)
            for runner in self._runners:
                runner.expect(len(batch))
            parts = [self._predict(part, index) for part in self._resized(batch).split(self.batch_size)]
            prediction = concatenate(parts, torch.cat)
            if batch.shape[-2:] != self.size:
                prediction = _in_pixels_of(self._whole(batch), prediction)
        return prediction.map(lambda values: self._like(images, values))

    def answers(self, images: Images, source: str | None = None) -> Prediction[Images]:
        """Deprecated name of `predict`."""
        warnings.warn("KeypointPredictor.answers is now called predict", DeprecationWarning, stacklevel=2)
        return self.predict(images, source)

    @property
    def has_heatmaps(self) -> bool:
        """Whether `heatmaps` works: one checkpoint is loaded, and it is no exported file."""
        return len(self.models) == 1 and isinstance(self.models[0].model, KeypointModel)

    def heatmaps(self, images: Images, source: str | None = None) -> Images:
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
        use_own_threads()
        with self._inference():
            channel = model.channels[self.source if source is None else self._source_index(source)]
            parts = self._resized(as_batch(images, self.size, self.channels)).split(self.batch_size)
            heatmaps = torch.cat([model.heatmaps(part.to(self.device))[:, channel] for part in parts])
        return self._like(images, heatmaps)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Compute without gradients and in float32, also where the caller's code runs in mixed precision."""
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            yield

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
        """The values like the images: array or tensor, on their device, with an axis N or without.

        A tensor is a copy made outside torch's inference mode, so that it can be changed and used with autograd.
        """
        values = values[0] if is_single(images, self.channels) else values
        return values.cpu().numpy() if isinstance(images, np.ndarray) else values.to(images.device).clone()

    def _source_index(self, name: str) -> int:
        if name not in self.source_names:
            raise UserError(f"source={name}: {one_of(self.source_names, name)}")
        return self.source_names.index(name)


def _checked_paths(path: Any) -> list[str | Path]:
    """What `KeypointPredictor.from_checkpoint` is given, as a list.

    Raises:
        UserError: it is something else, the list is empty, or a file does not exist.
    """
    paths = [path] if isinstance(path, (str, Path)) else path
    if not (isinstance(paths, Sequence) and all(isinstance(each, (str, Path)) for each in paths)):
        raise UserError(f"path={path!r}: name a checkpoint, or several in a list")
    if not paths:
        raise UserError("from_checkpoint: the list of checkpoints is empty; give at least one")
    for each in paths:
        if not file_of(each).exists():
            names = f"name a file, or {' or '.join(PACKAGED)}"
            raise UserError(f"{each}: does not exist; {names}{did_you_mean(str(each), PACKAGED)}")
    return list(paths)


@contextmanager
def _defaults_of_torch() -> Iterator[None]:
    """Make tensors on the CPU in float32, whatever the caller's defaults are; leave torch's random state as it is."""
    with _LOADING, torch.device("cpu"), torch.random.fork_rng(devices=[]):
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _predicted(loaded: LoadedModel) -> tuple[tuple[str, ...], list[tuple[str, tuple[str, ...]]]]:
    """What is predicted: the points and the sources, in order. Lines, normaliser and the scheme's name may differ."""
    return loaded.model.keypoints.names, list(loaded.model.keypoints.sources.items())


def _warn_of_more_views(models: Sequence[LoadedModel], decoder: DecoderOverride, views: ViewsChoice) -> None:
    """Warn of exported files that predict on more views than were asked for."""
    changes = decoder.for_views(views).changes()
    for loaded in models:
        exported = loaded.model.decoder
        number = count_views(exported.shift, exported.scale)
        asked = count_views(changes.get("shift", exported.shift), changes.get("scale", exported.scale))
        if isinstance(loaded, LoadedOnnx) and number > asked:
            log.warning(
                "%s: predicts on %d views, with which it was exported; for views=one export it again with views=one",
                *(loaded.path, number),
            )


def _in_pixels_of(crop: Crop, prediction: Prediction[Tensor]) -> Prediction[Tensor]:
    """A prediction for resized images in pixels of the images before."""
    points, confidence, *distances = prediction
    scale = points.new_tensor(crop.scale)
    mean = float(crop.scale.mean())
    deviation, error = (None if part is None else part * mean for part in distances)
    return Prediction((points + 0.5) * scale - 0.5, confidence, deviation, error)
