"""`backbone`: a pretrained network of Hugging Face's transformers, and a decoder that makes heatmaps of its features.

A checkpoint holds the backbone's configuration and weights, so it loads without the folder or the hub that they came
from (`facekp.networks.transformers_adapter`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from facekp.core.settings import Count, HomeExpanded, NonNegative, Positive
from facekp.networks.base import NETWORKS, HeatmapNetwork, Heatmaps
from facekp.networks.feature_levels import freeze, probe
from facekp.networks.heads import linear_head
from facekp.networks.pyramid import FeaturePyramid
from facekp.networks.transformers_adapter import build_backbone, describe

Colours = Annotated[list[float], Field(min_length=3, max_length=3)]
Weights = Annotated[str, Field(min_length=1), HomeExpanded]


@NETWORKS.register("backbone")
class PretrainedBackbone(HeatmapNetwork):
    """A pretrained backbone, and a feature pyramid that turns its features of several levels into heatmaps.

    Images are resized to the next multiple of the coarsest level's stride, so that the cells of all levels cover the
    image. Grey images are repeated in three channels, as the backbone was trained on colour.

    Args:
        heatmaps: C, maps in the output.
        weights: folder or hub name of the pretrained backbone; None: random weights.
        config: its configuration, with ``model_type``, where ``weights`` is None.
        stride: image pixels per heatmap cell.
        width: channels of the decoder.
        frozen: levels of features, counted from the image, whose weights are not trained; ``all``: the whole backbone.
        lr_scale: learning rate of the backbone, as a fraction of ``lr``; the decoder has ``lr``.
        mean: of the images that the backbone was trained on, for levels from 0 to 1; red, green, blue.
        std: of these images.
        image_channels: 1 for grey images, 3 for colour.

    Raises:
        UserError: transformers is not installed, the weights can't be loaded, the backbone takes images of one size
            only, or it has fewer levels than ``frozen``.
    """

    mean: Tensor  # (3, 1, 1)
    std: Tensor

    def __init__(
        self,
        heatmaps: Heatmaps,
        weights: Weights | None,
        config: dict[str, Any] | None,
        stride: Literal[2, 4],
        width: Annotated[int, Field(ge=8, le=1024)],
        frozen: Count | Literal["all"],
        lr_scale: NonNegative,
        mean: Colours,
        std: Annotated[list[Positive], Field(min_length=3, max_length=3)],
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        self.stride, self.lr_scale = stride, lr_scale
        self.backbone = build_backbone(weights, config)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        levels = probe(self.backbone)
        freeze(self.backbone, levels, frozen)
        self.multiple = max(level.stride for level in levels)
        self.pyramid = FeaturePyramid([level.channels for level in levels], width, levels[0].stride, stride)
        self.head = linear_head(width, heatmaps)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        x = (images.expand(-1, 3, -1, -1) - self.mean) / self.std
        sides = [math.ceil(side / self.multiple) * self.multiple for side in (height, width)]
        if sides != [height, width]:
            x = F.interpolate(x, sides, mode="bilinear", align_corners=False)
        features = self.backbone(x).feature_maps  # of each level (N, channels, h, w), the finest first
        return [self.head(self.pyramid(features, (height // self.stride, width // self.stride)))]

    def train(self, mode: bool = True) -> PretrainedBackbone:
        """As in `torch.nn.Module`, but what is frozen stays in evaluation mode: no dropout, statistics as stored."""
        super().train(mode)
        for module in self.backbone.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        trained = [parameter for parameter in self.backbone.parameters() if parameter.requires_grad]
        return [(trained, self.lr_scale)] if trained else []

    def stored_settings(self) -> dict[str, Any]:
        return {"weights": None, "config": describe(self.backbone)}
