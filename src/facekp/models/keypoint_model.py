"""Pixels in, points out: a heatmap network together with all that is needed to decode its heatmaps.

A `KeypointModel` is what a checkpoint holds: network, keypoint scheme, heatmap channels, normalisation, codec, decoder
and calibration. It knows nothing of training. Axes: N images, I channels of an image (1 in grey, 3 in colour), K
points, S sources, C heatmap channels, h x w cells, Q sources that are predicted for one row at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from facekp.core.channels import checked_channels
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints, flip_channels
from facekp.core.settings import one_of, parse
from facekp.functional.heatmap import HeatmapCodec
from facekp.models.calibration import Calibration
from facekp.models.prediction import Prediction
from facekp.models.settings import DecoderOverride, DecoderSettings, ModelSettings
from facekp.models.views import Views, images_at_once, mean_over_views
from facekp.networks.base import build_network

MAX_SIDE = 4096  # pixels of an image
Activation = Literal["none", "softmax"]


class KeypointModel(nn.Module):
    """A heatmap network that predicts points in pixels.

    Args:
        keypoints: the scheme of the points.
        size: (H, W) of the images in pixels.
        settings: the network, the heatmaps it learns and how images are normalised.
        activation: what turns the network's raw output into heatmaps: ``softmax`` over the cells, or ``none``.
        decoder: how heatmaps become points. Its views (``shift``, ``scale``) count in `predict` only.
        offsets: pixels by source by which its labels lie to the right of mirror-symmetric positions
            (`facekp.core.keypoints.Keypoints.offsets`). They are subtracted from labels and added to predictions; None:
            all are 0.
        image_channels: I.

    Raises:
        UserError: an unknown activation, or one that does not suit the network; an offset, a shift or a sigma larger
            than the image; or the network takes grey images only.
    """

    channels: Tensor  # int64 (S, K), the heatmap channel of each point
    mirrored_channels: Tensor  # int64 (C,), the channels of a mirrored image
    offset: Tensor  # (S, K, 2) pixels, added to the network's points
    mean_face: Tensor  # (S, K, 2) pixels, predicted where a heatmap is empty; the image's centre until it is set

    def __init__(
        self,
        keypoints: Keypoints,
        size: tuple[int, int],
        settings: ModelSettings,
        activation: str,
        decoder: DecoderSettings,
        offsets: Mapping[str, float] | None = None,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        check_offsets(offsets or {}, size)
        self.image_channels = image_channels
        self.keypoints, self.settings, self.activation, self.decoder = keypoints, settings, activation, decoder
        self.offsets = dict(offsets or {})
        self.calibrations: list[Calibration] = []  # those of a checkpoint, each for another decoder

        # network and codec
        table = keypoints.channels(settings.by_source)
        self.network = build_network(settings.network, int(table.max()) + 1, image_channels)
        if stored := self.network.stored_settings():
            self.settings = settings.replaced(network={**settings.network.plain(), **stored})
        _check_activation(activation, self.network.activation, settings.network.name)
        self.codec = HeatmapCodec(size=size, stride=self.network.stride, sigma=settings.sigma)
        total = 2 * math.pi * self.codec.sigma**2  # sum of a Gaussian with peak 1
        self.certain_peak = 1.0 if activation == "none" else 1 / max(total, 1.0)

        # tables by source and point
        centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
        self.register_buffer("channels", torch.from_numpy(table), persistent=False)
        self.register_buffer("offset", torch.from_numpy(keypoints.offsets(self.offsets)), persistent=False)
        self.register_buffer("mean_face", centre.expand(*table.shape, 2).clone())
        order = flip_channels(table, keypoints.flip_order())
        self.register_buffer("mirrored_channels", torch.from_numpy(order), persistent=False)
        self.views = Views(decoder, size)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images in pixels."""
        return self.codec.size

    def override_decoder(self, override: DecoderOverride) -> None:
        """Decode with other settings from now on; None values keep what is set."""
        self.decoder = override.applied_to(self.decoder)
        self.views = Views(self.decoder, self.size).to(self.offset.device)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint, from which `from_dict` builds the same model."""
        return {
            "keypoints": self.keypoints.to_dict(),
            "size": list(self.codec.size),
            "image_channels": self.image_channels,
            "model": self.settings.plain(),
            "activation": self.activation,
            "decoder": self.decoder.plain(),
            "offsets": self.offsets,
            "calibrations": [calibration.to_dict() for calibration in self.calibrations],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KeypointModel:
        """The model that `to_dict` described, with fresh weights.

        Raises:
            UserError: a value is not valid.
            ValueError: a calibration is damaged.
        """
        height, width = values["size"]
        if not all(type(side) is int and 0 < side <= MAX_SIDE for side in (height, width)):
            raise UserError(f"size={values['size']}: must be two numbers of pixels, 1 to {MAX_SIDE}")
        model = cls(
            keypoints=Keypoints.from_dict(values["keypoints"]),
            size=(height, width),
            settings=parse(ModelSettings, values["model"], "model"),
            activation=values["activation"],
            decoder=parse(DecoderSettings, values["decoder"], "decoder"),
            offsets=values["offsets"],
            image_channels=checked_channels(values["image_channels"]),
        )
        model.calibrations = [Calibration.from_dict(calibration) for calibration in values["calibrations"]]
        if any(torch.tensor(calibration.factor).shape != model.channels.shape for calibration in model.calibrations):
            raise ValueError("the calibration's factors are not those of the model's points")
        return model

    # From images to points.

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw heatmaps of every stack.

        Args:
            images: (N, I, H, W), levels 0..255 of any type.

        Returns:
            one (N, C, h, w) per stack, before the activation.
        """
        normalise = self.settings.normalise
        return self.network((images.float() - normalise.mean) / normalise.std)

    def activate(self, raw: Tensor) -> Tensor:
        """Heatmaps of a raw output, float32, same shape."""
        raw = raw.float()
        return raw.flatten(-2).softmax(dim=-1).view_as(raw) if self.activation == "softmax" else raw

    def heatmaps(self, images: Tensor, raw: Tensor | None = None) -> Tensor:
        """Heatmaps (N, C, h, w) of the last stack, averaged with the mirrored image's if the decoder's ``flip`` is set.

        The raw outputs are averaged, not the distributions: of two candidate positions, the one that neither image
        excludes gets the peak. Averaged distributions would keep both candidates.

        Args:
            images: (N, I, H, W).
            raw: the last stack's raw output for these images, if it is known already.
        """
        if raw is None:
            return self.activate(self._raw(images))
        if self.decoder.flip:
            raw = self._mean_of_mirrored(raw.float(), self(images.flip(-1))[-1].float())
        return self.activate(raw)

    def decode(self, heatmaps: Tensor, source: Tensor) -> Prediction[Tensor]:
        """Points of heatmaps, read from the channels of each row's source; without other views and expected errors.

        Args:
            heatmaps: (N, C, h, w), activated.
            source: int (N,), below S; or (N, Q), then the prediction has an axis Q behind N.
        """
        selected = self._of_source(heatmaps, source)  # (N, K, h, w) or (N, Q, K, h, w)
        points, peak = self.codec.decode(selected, self.decoder.rule)
        confidence, deviation = peak / self.certain_peak, self.codec.deviation(selected)
        return Prediction(self.finish(points, confidence, source), confidence, deviation, None)

    def predict(self, images: Tensor, source: Tensor) -> Prediction[Tensor]:
        """Points of images, averaged over the decoder's views.

        A view that does not show a point, judged by the prediction on the image itself, is left out for this point.
        The deviation is the root of the mean variance. Validation during training uses `heatmaps` and `decode`, without
        other views. The network sees at most `facekp.models.views.images_at_once` views and mirror images at once.

        Args:
            images: (N, I, H, W), levels 0..255.
            source: int (N,), below S; or (N, Q), then the prediction has an axis Q behind N.
        """
        views = self.views(images).flatten(0, 1)  # (N V, I, H, W)
        parts = views.split(images_at_once(views.device) // (2 if self.decoder.flip else 1))
        return self._predict_of(torch.cat([self._raw(part) for part in parts]), source)

    def predict_together(self, images: Tensor, source: Tensor) -> Prediction[Tensor]:
        """`predict` with all images, their views and their mirror images in one batch of the network."""
        return self._predict_of(self._raw(self.views(images).flatten(0, 1)), source)

    def _predict_of(self, raw: Tensor, source: Tensor) -> Prediction[Tensor]:
        """The prediction of raw outputs (N V, C, h, w) of images' views."""
        # heatmaps of each view, of each row's source
        raw = raw.unflatten(0, (-1, len(self.views))).transpose(1, 2)  # (N, C, V, h, w)
        heatmaps = self.activate(self._of_source(raw, source))  # (N, K, V, h, w) or (N, Q, K, V, h, w)

        # what each view predicts, in pixels of the image
        points, peak = self.codec.decode(heatmaps, self.decoder.rule)
        points, confidence = self.views.to_image(points), (peak / self.certain_peak)[..., None]
        variance = (self.codec.deviation(heatmaps)[..., None] / self.views.factor) ** 2

        # means over the views; the last axis stays, as onnxruntime rounds sums over it differently
        shown = self.views.shows(points[..., :1, :])[..., None]
        mean_points = mean_over_views(points, shown & ~points.isnan().any(dim=-1, keepdim=True), dim=-2)
        confidence = mean_over_views(confidence, shown & ~confidence.isnan(), dim=-2)[..., 0]
        deviation = mean_over_views(variance, shown & ~variance.isnan(), dim=-2)[..., 0].sqrt()
        calibration = self.valid_calibration()
        error = None if calibration is None else calibration.expected(deviation, source)
        return Prediction(self.finish(mean_points, confidence, source), confidence, deviation, error)

    def valid_calibration(self) -> Calibration | None:
        """The calibration that was fitted for the decoder; None without such a calibration."""
        decoder = self.decoder.plain()
        return next((calibration for calibration in self.calibrations if calibration.decoder == decoder), None)

    def finish(self, points: Tensor, confidence: Tensor, source: Tensor) -> Tensor:
        """Points as each source labels them: with its offset, or from the mean face where a heatmap gives none.

        Args:
            points: (N, K, 2) or (N, Q, K, 2); NaN where the heatmap is empty.
            confidence: (N, K) or (N, Q, K); below the decoder's floor the mean face is taken.
            source: int64 (N,) or (N, Q).
        """
        missing = points.isnan().any(dim=-1) | (confidence < self.decoder.floor)
        labelled = points + self.offset[source.long()]
        return torch.where(missing[..., None], self.mean_face[source.long()], labelled)

    def _raw(self, images: Tensor) -> Tensor:
        """(N, C, h, w): the last stack's raw output, averaged with the mirrored image's if ``flip`` is set."""
        if not self.decoder.flip:
            return self(images)[-1].float()
        both = torch.stack([images, images.flip(-1)], dim=1).flatten(0, 1)
        return self._mean_of_mirrored(*self(both)[-1].float().unflatten(0, (-1, 2)).unbind(1))

    def _mean_of_mirrored(self, raw: Tensor, mirrored: Tensor) -> Tensor:
        """The mean of raw outputs (N, C, h, w) of images and of mirrored images."""
        return (raw + mirrored.flip(-1)[:, self.mirrored_channels]) / 2

    def _of_source(self, maps: Tensor, source: Tensor) -> Tensor:
        """Maps (N, C, ...) of the channels of each row's source: (N, K, ...) or, of several, (N, Q, K, ...)."""
        channel = self.channels[source.long()]  # (N, K) or (N, Q, K)
        row = torch.arange(source.shape[0], device=maps.device).view(-1, *[1] * source.dim())
        return maps[row, channel]

    # From labels to heatmaps.

    def labels_by_heatmap(self, labels: np.ndarray) -> np.ndarray:
        """How many labels train the heatmap that each point of each source is read from.

        Args:
            labels: int64 (S, K), labels of each point by each source.

        Returns:
            int64 (S, K). Sources that share a heatmap share its labels.
        """
        channels = self.channels.cpu().numpy()
        total = np.zeros(len(self.mirrored_channels), dtype=np.int64)
        np.add.at(total, channels, labels)
        return total[channels]

    def labels_by_channel(self, points: Tensor, source: Tensor) -> Tensor:
        """Labels by channel: each row's points in the channels of its source.

        Args:
            points: (N, K, 2) pixels, NaN where unlabelled.
            source: int (N,).

        Returns:
            (N, C, 2), NaN in the channels of other sources.
        """
        empty = points.new_full((len(points), len(self.mirrored_channels), 2), torch.nan)
        channel = self.channels[source.long()]
        return empty.scatter(1, channel[..., None].expand_as(points), points - self.offset[source.long()])

    def all_labels_by_channel(self, points: Tensor) -> Tensor:
        """Labels by channel of rows that every source labels: (N, S, K, 2) to (N, C, 2)."""
        labels = points.new_full((len(points), len(self.mirrored_channels), 2), torch.nan)
        for s in reversed(range(points.shape[1])):  # the first source last, as it labels every point
            labels[:, self.channels[s]] = points[:, s] - self.offset[s]
        return labels

    def target(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The heatmaps that the network learns.

        Args:
            labels: labels by channel (N, C, 2), of `labels_by_channel` or `all_labels_by_channel`.

        Returns:
            heatmaps (N, C, h, w), all zero where unlabelled, and the labels in cells (N, C, 2), (x, y), NaN where
            unlabelled.
        """
        return self.codec.encode(labels), self.codec.to_cells(labels)


def check_offsets(offsets: Mapping[str, float], size: tuple[int, int]) -> None:
    """Check offsets against the size (H, W) of the images.

    Raises:
        UserError: an offset is larger than the image.
    """
    for name, pixels in offsets.items():
        if abs(pixels) > max(size):
            raise UserError(f"offsets.{name}={pixels}: must be pixels, at most the image's side of {max(size)}")


def _check_activation(activation: str, needed: str | None, network: str) -> None:
    if activation not in get_args(Activation):
        raise UserError(f"loss.activation={activation}: {one_of(get_args(Activation), activation)}")
    if needed is not None and activation != needed:
        raise UserError(
            f"loss.activation={activation}: network {network} needs {needed}, as its maps are logarithms; "
            "choose a loss with this activation, e.g. loss=cross_entropy"
        )
