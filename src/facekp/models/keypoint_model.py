"""Grey pixels in, points out: the network together with all it takes to read its answer.

A `KeypointModel` is what a checkpoint holds: network, keypoint scheme, heatmap channels, normalisation, codec and decoder.
It knows nothing of training. Axes: N images, K points, S sources, C heatmap channels, h x w cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints, flip_channels
from facekp.functional.decoders import DECODERS
from facekp.functional.heatmap import HeatmapCodec
from facekp.functional.warp import warp
from facekp.models.calibration import Calibration
from facekp.networks.build import build_network

ACTIVATIONS = ("none", "softmax")

DECODER = ("rule", "flip", "floor", "shift", "scale")  # settings of a decoder

ONE_VIEW = {"shift": 0.0, "scale": 0.0}  # what a checkpoint means whose decoder was written without these


class KeypointModel(nn.Module):
    """A heatmap network that answers in pixels.

    Args:
        keypoints: the scheme of the answer.
        size: (H, W) of the images in pixels.
        model: ``network`` (a name in `facekp.networks.build.NETWORKS` and its settings), ``by_source`` (a channel for every
            source and point), ``sigma`` (cells), ``normalise`` (``mean`` and ``std`` in grey levels).
        activation: what makes a heatmap of the raw output: ``softmax`` over the cells, or ``none``.
        decoder: ``rule`` (a name in `facekp.functional.decoders.DECODERS`), ``flip`` (average with the mirrored image's maps),
            ``floor`` (confidence below which a map says nothing), and for `detect` alone ``shift`` (pixels; above 0:
            the image moved that far left, right, up and down answers too) and ``scale`` (share; above 0: so does the
            image enlarged and shrunk by it).
        offsets: pixels by source that its labels lie right of where a mirror image has them
            (`facekp.core.keypoints.Keypoints.offsets`): the network never sees them, every answer has them; None: none.
    """

    channels: Tensor
    mirrored_channels: Tensor
    offset: Tensor  # (S, K, 2) pixels, what the labels have beyond the network's points
    mean_face: Tensor  # (S, K, 2) pixels, the answer where a map says nothing; the image's centre until it is set

    def __init__(
        self,
        keypoints: Keypoints,
        size: tuple[int, int],
        model: Mapping[str, Any],
        activation: str,
        decoder: Mapping[str, Any],
        offsets: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UserError(f"loss.activation: {activation!r} is unknown; choose one of {', '.join(ACTIVATIONS)}")
        table = keypoints.channels(bool(model["by_source"]))
        self.keypoints = keypoints
        self.architecture = dict(model)
        self.activation = activation
        self.offsets = dict(offsets or {})
        self.calibration: Calibration | None = None  # set by whoever knows it
        self.decoder: dict[str, Any] = dict(ONE_VIEW)
        self.override_decoder(decoder)
        self.network = build_network(heatmaps=int(table.max()) + 1, **model["network"])
        suits = getattr(self.network, "activation", activation)
        if activation != suits:
            raise UserError(
                f"loss.activation: {activation!r} doesn't suit network {model['network']['name']}, whose maps are "
                f"logarithms; take a loss with activation {suits!r}, e.g. loss=cross_entropy"
            )
        stride: Any = self.network.stride
        self.codec = HeatmapCodec(size=size, stride=stride, sigma=float(model["sigma"]))
        whole = 2 * math.pi * self.codec.sigma**2  # what a peak-1 Gaussian sums to
        self.certain_peak = 1.0 if activation == "none" else 1 / max(whole, 1.0)
        self.register_buffer("channels", torch.from_numpy(table), persistent=False)
        self.register_buffer("offset", torch.from_numpy(keypoints.offsets(self.offsets)), persistent=False)
        centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
        self.register_buffer("mean_face", centre.expand(*table.shape, 2).clone())
        order = flip_channels(table, keypoints.flip_order())
        self.register_buffer("mirrored_channels", torch.from_numpy(order), persistent=False)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images in pixels."""
        return self.codec.size

    def override_decoder(self, settings: Mapping[str, Any]) -> None:
        """Decode otherwise than so far; a value of None leaves what was.

        Raises:
            UserError: an unknown setting or rule.
        """
        check_decoder_settings(settings)
        decoder = self.decoder | {key: value for key, value in settings.items() if value is not None}
        if decoder.get("rule") not in DECODERS:
            raise UserError(f"decoder.rule: {decoder.get('rule')!r} is unknown; choose one of {', '.join(DECODERS)}")
        self.decoder = decoder

    def settings(self) -> dict[str, Any]:
        """Plain values from which `from_settings` builds the same model, for a checkpoint."""
        return {
            "keypoints": self.keypoints.to_dict(),
            "size": list(self.codec.size),
            "model": self.architecture,
            "activation": self.activation,
            "decoder": self.decoder,
            "offsets": self.offsets,
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> KeypointModel:
        """The model that `settings` described, with fresh weights."""
        height, width = settings["size"]
        keypoints = Keypoints.from_dict(settings["keypoints"])
        model, activation, decoder = settings["model"], settings["activation"], settings["decoder"]
        offsets = settings.get("offsets")  # older files have none, nor a calibration
        model = cls(keypoints, (height, width), model, activation, decoder, offsets)
        fitted = settings.get("calibration")
        model.calibration = None if fitted is None else Calibration.from_dict(fitted)
        return model

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw heatmaps of every stack.

        Args:
            images: (N, 1, H, W), grey levels 0..255 of any type.

        Returns:
            one (N, C, h, w) a stack, before the activation.
        """
        normalise = self.architecture["normalise"]
        return self.network((images.float() - normalise["mean"]) / normalise["std"])

    def activate(self, raw: Tensor) -> Tensor:
        """Heatmaps of a raw output, float32, same shape."""
        raw = raw.float()
        return raw.flatten(-2).softmax(dim=-1).view_as(raw) if self.activation == "softmax" else raw

    def heatmaps(self, images: Tensor, raw: Tensor | None = None) -> Tensor:
        """Heatmaps (N, C, h, w) of the last stack, averaged with the mirrored image's where the decoder says so.

        The raw outputs are averaged: of two places the one wins that neither image rules out. Averaged distributions
        would keep both, and the higher peak could be the one that the other image denies.

        Args:
            images: (N, 1, H, W).
            raw: the last stack's raw output for them, where the caller has it already.
        """
        raw = (self(images)[-1] if raw is None else raw).float()
        if self.decoder["flip"]:
            mirrored = self(images.flip(-1))[-1].float()
            raw = (raw + mirrored.flip(-1)[:, self.mirrored_channels]) / 2
        return self.activate(raw)

    def decode(self, heatmaps: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Points of heatmaps, read from the channels of each row's source.

        Args:
            heatmaps: (N, C, h, w), activated.
            source: int (N,), below S; or (N, Q), Q sources a row, and every answer has that axis behind N.

        Returns:
            points (N, K, 2) in pixels, finite: the mean face's where the map is empty or its confidence below the
            decoder's floor. Confidence (N, K): the map's peak as a share of a certain one's. Both float32.
        """
        points, confidence, _ = self._read(heatmaps, source)
        return self._fill(points, confidence, source), confidence

    def detect(self, images: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, K, 2) in pixels and confidence (N, K) of images (N, 1, H, W), both averaged over the views.

        Several sources a row as in `decode`. A view has no say on a point that lies outside of it, by what the image
        itself answers. `heatmaps` and `decode`, by which a training validates, know the image alone.
        """
        return self.measure(images, source)[:2]

    def answer(self, images: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """`detect`, and each point's expected error (N, K) in pixels; None without a calibration for this decoder."""
        points, confidence, deviation = self.measure(images, source)
        calibration = self.own_calibration()
        return points, confidence, None if calibration is None else calibration.expected(deviation, source)

    def own_calibration(self) -> Calibration | None:
        """The calibration, where it was fitted for the decoder of now."""
        fits = self.calibration is not None and self.calibration.decoder == self.decoder
        return self.calibration if fits else None

    def measure(self, images: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`detect`, and the maps' deviation (N, K) in pixels, the root of its mean square over the views."""
        first = self._read(self.heatmaps(images), source)
        answers = [first, *(self._look(images, source, first[0], *view) for view in self.views())]
        points, confidence, variance = (torch.stack(part).nanmean(dim=0) for part in zip(*answers, strict=True))
        return self._fill(points, confidence, source), confidence, variance.sqrt()

    def views(self) -> list[tuple[float, float, float]]:
        """Factor, right and down of every other view: what the image has at p shows at factor * p + (right, down)."""
        (height, width), shift, scale = self.codec.size, self.decoder["shift"], self.decoder["scale"]
        moved = [(1.0, -shift, 0.0), (1.0, shift, 0.0), (1.0, 0.0, -shift), (1.0, 0.0, shift)] if shift else []
        scaled = [(1 + share, -share * (width - 1) / 2, -share * (height - 1) / 2) for share in (scale, -scale)]
        return moved + (scaled if scale else [])

    def _look(
        self, images: Tensor, source: Tensor, points: Tensor, factor: float, right: float, down: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What one view of the images answers, in the images' own pixels; NaN where it doesn't show the points."""
        offset = points.new_tensor([right, down])
        matrix = torch.cat([factor * torch.eye(2).to(points), offset[:, None]], dim=1).expand(len(images), 2, 3)
        view, shown = warp(images.float(), points.flatten(1, -2), matrix)
        found, confidence, variance = self._read(self.heatmaps(view), source)
        hidden = shown.isnan().any(dim=-1).view(points.shape[:-1])
        found = ((found - offset) / factor).masked_fill(hidden[..., None], torch.nan)
        variance = (variance / factor**2).masked_fill(hidden, torch.nan)
        return found, confidence.masked_fill(hidden, torch.nan), variance

    def _read(self, heatmaps: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`decode`, but NaN where a map is empty, and no floor; and the maps' variance (N, K) in squared pixels."""
        channel = self.channels[source.long()]  # (N, K) or (N, Q, K)
        row = torch.arange(len(heatmaps), device=heatmaps.device).view(-1, *[1] * source.dim())
        own = heatmaps[row, channel]  # (N, K, h, w) or (N, Q, K, h, w)
        points, peak = self.codec.decode(own, self.decoder["rule"])
        return points, peak / self.certain_peak, self.codec.deviation(own) ** 2

    def _fill(self, points: Tensor, confidence: Tensor, source: Tensor) -> Tensor:
        """The network's points as each source labels them; the mean face's where none is, or too little confidence."""
        silent = points.isnan().any(dim=-1) | (confidence < self.decoder["floor"])
        labelled = points + self.offset[source.long()]
        return torch.where(silent[..., None], self.mean_face[source.long()], labelled)

    def spread(self, points: Tensor, source: Tensor) -> Tensor:
        """Labels by channel: each row's points put where its source's heatmaps are.

        Args:
            points: (N, K, 2) pixels, NaN where unlabelled.
            source: int (N,).

        Returns:
            (N, C, 2), NaN in every channel that the row says nothing about.
        """
        empty = points.new_full((len(points), len(self.mirrored_channels), 2), torch.nan)
        channel = self.channels[source.long()]
        return empty.scatter(1, channel[..., None].expand_as(points), points - self.offset[source.long()])

    def spread_all(self, points: Tensor) -> Tensor:
        """Labels by channel, of rows labelled by every source: (N, S, K, 2) to (N, C, 2)."""
        spread = points.new_full((len(points), len(self.mirrored_channels), 2), torch.nan)
        for s in reversed(range(points.shape[1])):  # the first source last: it labels every point, others not
            spread[:, self.channels[s]] = points[:, s] - self.offset[s]
        return spread

    def target(self, spread: Tensor) -> tuple[Tensor, Tensor]:
        """What the network shall answer.

        Args:
            spread: labels by channel (N, C, 2), of `spread` or `spread_all`.

        Returns:
            heatmaps (N, C, h, w), all zero where unlabelled, and the cells (N, C, 2) their points lie in, as (x, y),
            NaN where unlabelled.
        """
        return self.codec.encode(spread), self.codec.to_cells(spread)


def check_decoder_settings(settings: Mapping[str, Any]) -> None:
    """
    Raises:
        UserError: one is none of `DECODER`.
    """
    for key in settings:
        if key not in DECODER:
            raise UserError(f"decoder.{key}: is unknown; choose among {', '.join(DECODER)}")
