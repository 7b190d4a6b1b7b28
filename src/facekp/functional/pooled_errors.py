"""Errors pooled over an evaluation: batches of predictions and labels come in, RMSE, NME and their curve go out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from facekp.core.keypoints import Keypoints

CURVE_STEP = 0.1  # pixels per bin of the cumulative error curve
CURVE_BINS = 200  # so the curve reaches 20 px, a fifth of the image


def squared_error_update(points: Tensor, target: Tensor, source: Tensor, sources: int) -> tuple[Tensor, Tensor]:
    """Sums of squared coordinate errors and counts of labelled coordinates, by source and point.

    Args:
        points: (N, K, 2) predictions in pixels.
        target: (N, K, 2) labels in pixels, NaN where unlabelled.
        source: (N,) integers below ``sources``.
        sources: S.

    Returns:
        Two float32 (S, K).
    """
    labelled = ~target.isnan()
    error = torch.where(labelled, points.float() - target.float(), 0.0).square().sum(dim=-1)  # (N, K)
    count = labelled.sum(dim=-1).float()  # (N, K)
    empty = torch.zeros(sources, points.shape[1], device=points.device)
    return empty.index_add(0, source.long(), error), empty.index_add(0, source.long(), count)


def rmse_compute(squared: Tensor, count: Tensor) -> Tensor:
    """Root of pooled squared error over pooled count; NaN where nothing was counted. Any equal shapes, summed."""
    return (squared.sum() / count.sum()).sqrt()


class KeypointErrors(Metric):
    """Pooled errors of a whole evaluation, batch by batch and over all processes.

    Args:
        keypoints: names the points and sources, and the points whose distance divides errors in the NME, if any.

    Example:
        >>> import torch, yaml
        >>> from facekp.config.location import CONF_DIR
        >>> scheme = Keypoints.from_dict(yaml.safe_load((CONF_DIR / "keypoints/kaggle15.yaml").read_text()))
        >>> errors = KeypointErrors(scheme)
        >>> truth = torch.zeros(2, 15, 2)
        >>> errors.update(truth + 3, truth, torch.tensor([0, 1]))
        >>> errors.summary()["rmse"]
        3.0
    """

    full_state_update = False
    squared: Tensor
    count: Tensor
    normalised: Tensor
    normalised_count: Tensor
    histogram: Tensor

    def __init__(self, keypoints: Keypoints, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keypoints = keypoints
        shape = (len(keypoints.sources), len(keypoints.names))
        usual = next(iter(keypoints.normalisers.values()), ())
        self.ends = [[keypoints.names.index(name) for name in group] for group in usual]
        self.add_state("squared", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("normalised", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("normalised_count", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("histogram", torch.zeros(CURVE_BINS + 1), dist_reduce_fx="sum")

    def update(self, points: Tensor, target: Tensor, source: Tensor) -> None:
        """Add N faces; arguments as for `squared_error_update`."""
        squared, count = squared_error_update(points, target, source, len(self.keypoints.sources))
        self.squared += squared
        self.count += count
        distance = (points.float() - target.float()).norm(dim=-1)  # (N, K), NaN where unlabelled
        if self.ends:
            left, right = (target[:, group].mean(dim=1) for group in self.ends)  # (N, 2)
            scale = (left - right).norm(dim=-1)  # (N,), NaN where a point of the groups is unlabelled
            fraction = distance / scale.where(scale > 0, torch.nan)[:, None]
            self.normalised += fraction.nansum()
            self.normalised_count += (~fraction.isnan()).sum()
        bins = (distance.nan_to_num(0) / CURVE_STEP).clamp(max=CURVE_BINS).long()
        self.histogram.index_add_(0, bins.flatten(), (~distance.isnan()).flatten().to(self.histogram))

    def compute(self) -> dict[str, Tensor]:
        """All errors, over all processes.

        Returns:
            Scalars ``rmse``, ``rmse/SOURCE``, ``rmse/POINT`` in pixels and ``nme`` (a fraction of the normalising
            distance), NaN where nothing was counted; ``labelled_values``; ``curve`` (B,), the fraction of labelled
            points closer than 0.1, 0.2, ... px.
        """
        result = {"rmse": rmse_compute(self.squared, self.count)}
        for s, source in enumerate(self.keypoints.source_names):
            result[f"rmse/{source}"] = rmse_compute(self.squared[s], self.count[s])
        for k, name in enumerate(self.keypoints.names):
            result[f"rmse/{name}"] = rmse_compute(self.squared[:, k], self.count[:, k])
        result["nme"] = self.normalised / self.normalised_count
        result["labelled_values"] = self.count.sum()
        result["curve"] = self.histogram.cumsum(0)[:-1] / self.histogram.sum().clamp_min(1)
        return result

    def summary(self) -> dict[str, Any]:
        """`compute` as plain numbers for metrics.json, without those that are NaN."""
        result = self.compute()
        closer = result.pop("curve").tolist()
        figures: dict[str, Any] = {name: value.item() for name, value in result.items() if not value.isnan()}
        figures["labelled_values"] = int(figures["labelled_values"])
        edges = [round(CURVE_STEP * (i + 1), 6) for i in range(CURVE_BINS)]
        return {**figures, "curve": {"pixels": edges, "share": [round(fraction, 6) for fraction in closer]}}
