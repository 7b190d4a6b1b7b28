"""What metrics are computed from: the predictions and labels of a whole evaluation. Axes: N faces, K points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from facekp.core.keypoints import Keypoints
from facekp.functional.metrics.settings import ScoreSettings
from facekp.functional.normalisers import normalising_lengths


@dataclass(frozen=True, eq=False)
class MetricInput:
    """What a metric is computed from.

    Attributes:
        points: float32 (N, K, 2), predictions in pixels.
        truth: float32 (N, K, 2), labels in pixels, NaN where unlabelled.
        source: int (N,), the labelling convention of each face.
        keypoints: names the points and sources.
        confidence: float32 (N, K) from 0 to 1; None for a baseline, which has none.
        floor: below this confidence the model predicts the mean face.
        corrupted: the same for corrupted images, by the name of the corruption: an entry for each strength. Empty where
            none were predicted.
        box: float (N, 4), left, top, right, bottom edge of the face box in pixels, NaN where a face has none; None: no
            face has one.
        attributes: subsets by name, such as pose: str (N,), the value of each face, "" where it is not stated.
        settings: of the metrics that divide errors by the size of the face.
        group: int (N,), equal for faces that resemble each other (`facekp.data.split.inseparable_groups`); intervals
            draw whole groups. None: each face is its own group.
    """

    points: np.ndarray
    truth: np.ndarray
    source: np.ndarray
    keypoints: Keypoints
    confidence: np.ndarray | None = None
    floor: float = 0.0
    corrupted: Mapping[str, Sequence[MetricInput]] = field(default_factory=dict)
    box: np.ndarray | None = None
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    group: np.ndarray | None = None

    @cached_property
    def labelled(self) -> np.ndarray:
        """bool (N, K)."""
        return ~np.isnan(self.truth[..., 0])

    @cached_property
    def distance(self) -> np.ndarray:
        """float64 (N, K): pixels between prediction and label, NaN where unlabelled."""
        return np.linalg.norm(self.points.astype(np.float64) - self.truth, axis=-1)

    @cached_property
    def pooled(self) -> dict[str, Any]:
        """`KeypointErrors.summary` of all faces, computed once for all metrics that read it."""
        from facekp.functional.pooled_errors import KeypointErrors  # imported here, as torchmetrics takes seconds

        errors = KeypointErrors(self.keypoints, sync_on_compute=False)  # this process has all rows
        errors.update(*(torch.from_numpy(np.array(part)) for part in (self.points, self.truth, self.source)))
        return errors.summary()

    @cached_property
    def lengths(self) -> dict[str, np.ndarray]:
        """`facekp.functional.normalisers.normalising_lengths` of the faces."""
        return normalising_lengths(self.truth, self.keypoints, self.box)

    @property
    def normaliser(self) -> str:
        """The name of the normaliser that the settings choose, in `lengths`."""
        if self.settings.normaliser is not None:
            return self.settings.normaliser
        return next(iter(self.keypoints.normalisers), "box")

    def normalised(self, normaliser: str | None = None) -> np.ndarray:
        """float64 (N, K): distances divided by a length of each face; NaN where unlabelled, or without this length.

        Args:
            normaliser: a name in `lengths`; None: that of the settings.
        """
        return self.distance / self.lengths[self.normaliser if normaliser is None else normaliser][:, None]

    @cached_property
    def face_nme(self) -> np.ndarray:
        """float64 (N,): the NME of each face, over its labelled points; NaN for a face without any."""
        distance = self.normalised()
        count = (~np.isnan(distance)).sum(axis=1)
        return np.nansum(distance, axis=1) / np.where(count > 0, count, np.nan)
