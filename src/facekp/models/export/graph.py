"""From pixels to points as one module without branches that depend on data, for `facekp.models.export.run`.

It predicts as `facekp.models.keypoint_model.KeypointModel.predict` does, but always with all images in one batch, so
that the traced graph holds the network once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.keypoint_model import KeypointModel


class KeypointGraph(nn.Module):
    """Images and their sources in; points, confidence and further outputs out.

    Args:
        model: in evaluation mode; the graph has its decoder settings of the moment when it is traced.
        deviation: whether the widths of the heatmaps are an output.
    """

    def __init__(self, model: KeypointModel, deviation: bool = False) -> None:
        super().__init__()
        self.model, self.deviation = model, deviation

    def outputs(self) -> list[str]:
        """Names of what `forward` returns, those of `facekp.models.prediction.Prediction`."""
        calibrated = self.model.valid_calibration() is not None
        extra = {"deviation": self.deviation, "expected_error": calibrated}
        return ["points", "confidence", *(name for name, wanted in extra.items() if wanted)]

    def forward(self, images: Tensor, source: Tensor) -> tuple[Tensor, ...]:
        """Predict the points of images.

        Args:
            images: (N, I, H, W), levels 0..255 of any type; I = 1 in grey, 3 in colour.
            source: int64 (N,).

        Returns:
            points float32 (N, K, 2) in pixels and confidence (N, K). Then deviations in pixels (N, K) if they are
            asked for, and expected errors in pixels (N, K) if the model has a calibration for its decoder.
        """
        prediction = self.model.predict_together(images, source)
        return tuple(getattr(prediction, name) for name in self.outputs())


class OneSource(nn.Module):
    """A `KeypointGraph` that predicts the same source for every image.

    Args:
        graph: the graph that predicts points of every source.
        source: index of the source.
    """

    def __init__(self, graph: KeypointGraph, source: int) -> None:
        super().__init__()
        self.every_source, self.source = graph, source  # a traced module has an attribute "graph" already

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`KeypointGraph.forward` without its second argument."""
        return self.every_source(images, images.new_full((images.shape[0],), self.source, dtype=torch.long))


def trace(loaded: LoadedCheckpoint, source: int | None, dtype: torch.dtype, deviation: bool = False) -> ExportedProgram:
    """The model's graph for images of a type, any number of them.

    Args:
        loaded: the checkpoint.
        source: index of the source that the graph predicts; None: all.
        dtype: of the images.
        deviation: whether the widths of the heatmaps are an output.
    """
    model = loaded.model
    shape = (2, model.image_channels, *model.size)  # two, as a batch of one would be traced as a constant size
    images = torch.zeros(shape, dtype=dtype)
    graph = KeypointGraph(model, deviation)
    module: nn.Module = graph if source is None else OneSource(graph, source)
    inputs = (images, torch.zeros(2, dtype=torch.long))[: 2 if source is None else 1]
    batch = Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(module.eval(), inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
