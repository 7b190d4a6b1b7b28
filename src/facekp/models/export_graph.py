"""The whole way from grey pixels to points as one module without branches on data, for `facekp.export`.

It answers as `facekp.models.keypoint_model.KeypointModel.detect` does, but puts all views of the images and their mirror images through
the network at once, so that a traced graph holds the network once. Axes: N images, V views, K points, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facekp.models.keypoint_model import KeypointModel


class KeypointGraph(nn.Module):
    """Images and their sources in, points, confidence and, where the model is calibrated, expected errors out.

    Args:
        model: in evaluation mode; its decoder's settings of now hold.
    """

    across: Tensor  # (V, W, W) and (V, H, H): bilinear weights that make the views' columns and rows of the image's
    down: Tensor
    factor: Tensor  # (V, 1) and (V, 2): what is at p shows at factor * p + offset in a view, in pixels
    offset: Tensor

    def __init__(self, model: KeypointModel) -> None:
        super().__init__()
        self.model = model
        height, width = model.codec.size
        views = torch.tensor([(1.0, 0.0, 0.0), *model.views()])  # the image itself comes first
        factor, right, down = views.T
        self.register_buffer("across", _bilinear(factor, right, width))
        self.register_buffer("down", _bilinear(factor, down, height))
        self.register_buffer("factor", factor[:, None])
        self.register_buffer("offset", views[:, 1:])

    def forward(self, images: Tensor, source: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            images: (N, 1, H, W), grey levels 0..255, any type.
            source: int64 (N,).

        Returns:
            points float32 (N, K, 2) in pixels, confidence float32 (N, K); and expected errors float32 (N, K) in pixels,
            where the model holds a calibration for its decoder.
        """
        model, calibration = self.model, self.model.own_calibration()
        views = self.down @ images.float() @ self.across.mT  # (N, V, H, W)
        heatmaps = model.activate(self._raw(views, source))  # (N, K, V, h, w)
        found, peak = model.codec.decode(heatmaps, model.decoder["rule"])  # (N, K, V, 2), (N, K, V)
        found = (found - self.offset) / self.factor
        shown = self._shows(found[:, :, :1])
        points = _mean(found, (shown & ~found.isnan().any(dim=-1))[..., None])
        confidence = _mean((peak / model.certain_peak)[..., None], shown[..., None])[..., 0]
        silent = points.isnan().any(dim=-1) | (confidence < model.decoder["floor"])
        points = torch.where(silent[..., None], model.mean_face[source], points + model.offset[source])
        if calibration is None:
            return points, confidence
        variance = (model.codec.deviation(heatmaps)[..., None] / self.factor) ** 2
        deviation = _mean(variance, shown[..., None] & ~variance.isnan())[..., 0].sqrt()
        return points, confidence, calibration.expected(deviation, source)

    def _raw(self, views: Tensor, source: Tensor) -> Tensor:
        """(N, K, V, h, w): the network's answers by each row's source, averaged with the mirror image's where asked."""
        model, flip = self.model, self.model.decoder["flip"]
        both = torch.cat([views, views.flip(-1)], dim=1) if flip else views
        raw = model(both.flatten(0, 1).unsqueeze(1))[-1].float()
        raw = raw.unflatten(0, (-1, both.shape[1])).transpose(1, 2)  # (N, C, V or 2 V, h, w)
        if flip:
            straight, mirrored = raw.chunk(2, dim=2)
            raw = (straight + mirrored[:, model.mirrored_channels].flip(-1)) / 2
        row = torch.arange(source.shape[0], device=source.device)
        return raw[row[:, None], model.channels[source]]

    def _shows(self, points: Tensor) -> Tensor:
        """bool (N, K, V): whether a view shows what the image itself answers (N, K, 1, 2); the image always does."""
        height, width = self.model.codec.size
        moved = points * self.factor + self.offset
        inside = (moved >= 0) & (moved <= moved.new_tensor([width, height]))
        return inside.all(dim=-1) | (torch.arange(self.factor.shape[0], device=points.device) == 0)


class OneSource(nn.Module):
    """A `KeypointGraph` that answers every image by the same source.

    Args:
        graph: of all sources.
        source: index of the one.
    """

    def __init__(self, graph: KeypointGraph, source: int) -> None:
        super().__init__()
        self.every_source, self.source = graph, source  # "graph" would be the traced module's own

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`KeypointGraph.forward` without its second argument."""
        return self.every_source(images, images.new_full((images.shape[0],), self.source, dtype=torch.long))


def _bilinear(factor: Tensor, offset: Tensor, pixels: int) -> Tensor:
    """(V, pixels, pixels): weights of the old pixels in each new one, where factor * p + offset shows what was at p.

    What comes from outside repeats the border, as in `facekp.functional.warp.warp`.
    """
    place = torch.arange(pixels)
    old = ((place - offset[:, None]) / factor[:, None]).clamp(0, pixels - 1)
    return (1 - (old[..., None] - place).abs()).clamp_min(0)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over the views, the last dimension but one, of what is counted; NaN where nothing is."""
    return values.where(counted, 0).sum(dim=-2) / counted.sum(dim=-2)
