"""What every model predicts: points, and how reliable each of them is."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

A = TypeVar("A")  # Tensor, or numpy array


class Prediction(NamedTuple, Generic[A]):
    """Keypoints of N images, K points each; tensors, or numpy arrays.

    Several sources per image add an axis Q behind N. A single image (H, W) has no axis N.

    Attributes:
        points: float32 (N, K, 2), (x, y) in pixels of the image; an integer is a pixel's centre. Always finite.
        confidence: float32 (N, K), the heatmap's peak relative to the peak of a certain point: about 0 to 1.
        deviation: float32 (N, K), the width of the heatmaps in pixels
            (`facekp.functional.heatmap.HeatmapCodec.deviation`), NaN where a heatmap is empty. None where exported
            files or several models predict.
        expected_error: float32 (N, K), the expected distance between point and label in pixels, without grossly
            wrong labels (`facekp.models.calibration`). None without a calibration, or where several models predict.
    """

    points: A
    confidence: A
    deviation: A | None
    expected_error: A | None

    def map(self, change: Any) -> Prediction[Any]:
        """The prediction with ``change`` applied to every array; None stays None.

        Example:
            >>> Prediction([1], [2], None, None).map(len)
            Prediction(points=1, confidence=1, deviation=None, expected_error=None)
        """
        return Prediction(*(None if part is None else change(part) for part in self))


def concatenate(predictions: list[Prediction[A]], cat: Any) -> Prediction[A]:
    """Predictions of consecutive batches as one.

    Args:
        predictions: at least one.
        cat: joins a list of arrays along the first axis, e.g. ``torch.cat``.
    """
    return Prediction(*(None if parts[0] is None else cat(parts) for parts in zip(*predictions, strict=True)))
