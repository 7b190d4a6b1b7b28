"""From grey pixels to points as one module without branches that depend on data, for `facekp.export`.

It predicts as `facekp.models.keypoint_model.KeypointModel.predict` does, but puts all views of the images and their
mirror images through the network in one batch, so that the traced graph holds the network once. Axes: N images, V views
(the image itself comes first), K points, C channels, h x w cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facekp.models.keypoint_model import KeypointModel
from facekp.models.views import View, is_inside, mean_over_views, other_views, to_image, to_view


class KeypointGraph(nn.Module):
    """Images and their sources in; points, confidence and, of a calibrated model, expected errors out.

    Args:
        model: in evaluation mode; the graph has its decoder settings of this moment.
    """

    across: Tensor  # (V, W, W) and (V, H, H): bilinear weights of the image's columns and rows in each view
    down: Tensor
    factor: Tensor  # (V, 1) and (V, 2) pixels, see `facekp.models.views`
    offset: Tensor

    def __init__(self, model: KeypointModel) -> None:
        super().__init__()
        self.model = model
        height, width = model.size
        views = torch.tensor([View(1.0, 0.0, 0.0), *other_views(model.decoder, model.size)])
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
            points float32 (N, K, 2) in pixels, confidence float32 (N, K), and expected errors float32 (N, K) in pixels
            if the model has a calibration for its decoder.
        """
        model, calibration = self.model, self.model.valid_calibration()
        views = self.down @ images.float() @ self.across.mT  # (N, V, H, W)
        heatmaps = model.activate(self._raw(views, source))  # (N, K, V, h, w)
        points, peak = model.codec.decode(heatmaps, model.decoder.rule)  # (N, K, V, 2), (N, K, V)
        points = to_image(points, self.factor, self.offset)
        shown = self._shown(points[:, :, :1])
        counted = shown[..., None]  # 4 axes: onnxruntime rounds sums over the last axis differently
        mean_points = mean_over_views(points, (shown & ~points.isnan().any(dim=-1))[..., None], dim=2)
        confidence = mean_over_views((peak / model.certain_peak)[..., None], counted, dim=2)[..., 0]
        labelled = model.finish(mean_points, confidence, source)
        if calibration is None:
            return labelled, confidence
        variance = (model.codec.deviation(heatmaps)[..., None] / self.factor) ** 2  # (N, K, V, 1)
        deviation = mean_over_views(variance, counted & ~variance.isnan(), dim=2)[..., 0].sqrt()
        return labelled, confidence, calibration.expected(deviation, source)

    def _raw(self, views: Tensor, source: Tensor) -> Tensor:
        """(N, K, V, h, w): raw heatmaps of each row's source, averaged with the mirrored views' if ``flip`` is set."""
        model, flip = self.model, self.model.decoder.flip
        both = torch.cat([views, views.flip(-1)], dim=1) if flip else views
        raw = model(both.flatten(0, 1).unsqueeze(1))[-1].float()
        raw = raw.unflatten(0, (-1, both.shape[1])).transpose(1, 2)  # (N, C, V or 2 V, h, w)
        if flip:
            straight, mirrored = raw.chunk(2, dim=2)
            raw = (straight + mirrored[:, model.mirrored_channels].flip(-1)) / 2
        row = torch.arange(source.shape[0], device=source.device)
        return raw[row[:, None], model.channels[source]]

    def _shown(self, points: Tensor) -> Tensor:
        """bool (N, K, V): whether a view shows the image's own points (N, K, 1, 2); the image itself always does."""
        inside = is_inside(to_view(points, self.factor, self.offset), self.model.size)
        return inside | (torch.arange(self.factor.shape[0], device=points.device) == 0)


class OneSource(nn.Module):
    """A `KeypointGraph` that predicts the same source for every image.

    Args:
        graph: of all sources.
        source: index of the source.
    """

    def __init__(self, graph: KeypointGraph, source: int) -> None:
        super().__init__()
        self.every_source, self.source = graph, source  # a traced module has an attribute "graph" already

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`KeypointGraph.forward` without its second argument."""
        return self.every_source(images, images.new_full((images.shape[0],), self.source, dtype=torch.long))


def _bilinear(factor: Tensor, offset: Tensor, pixels: int) -> Tensor:
    """(V, pixels, pixels): weight of each old pixel in each new one, where old pixel p moves to factor * p + offset.

    Pixels from outside the image repeat its border, as in `facekp.functional.warp.warp`.
    """
    pixel = torch.arange(pixels)
    old = ((pixel - offset[:, None]) / factor[:, None]).clamp(0, pixels - 1)
    return (1 - (old[..., None] - pixel).abs()).clamp_min(0)
