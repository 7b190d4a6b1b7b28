"""Smooths the points of a face over the frames of a video: steady at rest, and hardly late in motion.

The filter is the One-Euro filter (Casiez, Roussel and Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for
Noisy Input in Interactive Systems", CHI 2012), one per point.
"""

from __future__ import annotations

import numpy as np

from facekp.core.settings import Positive, Settings


class SmoothingSettings(Settings):
    """``smooth``: a low-pass filter whose cutoff frequency rises with a point's speed.

    Attributes:
        min_cutoff: cutoff frequency of a point at rest, Hz. Lower: steadier at rest.
        beta: rise of the cutoff frequency with the speed, Hz per (side of the face's crop per second). Higher: less
            late in motion.
        d_cutoff: cutoff frequency of the filter that measures the speed, Hz.
    """

    min_cutoff: Positive
    beta: Positive
    d_cutoff: Positive


class OneEuroFilter:
    """The filters of one face's K points.

    Args:
        settings: the parameters.

    Example:
        >>> smooth = OneEuroFilter(SmoothingSettings(min_cutoff=1.0, beta=1.0, d_cutoff=1.0))
        >>> smooth(np.array([[10.0, 20.0]]), 0.0, side=100.0).tolist()  # the first points stay as they are
        [[10.0, 20.0]]
        >>> smooth(np.array([[11.0, 20.0]]), 0.04, side=100.0).round(2).tolist()
        [[10.21, 20.0]]
    """

    def __init__(self, settings: SmoothingSettings) -> None:
        self.settings = settings
        self._points: np.ndarray | None = None  # (K, 2), smoothed
        self._velocity = np.zeros(2)  # (K, 2), smoothed; pixels per second

    def __call__(self, points: np.ndarray, seconds: float, side: float) -> np.ndarray:
        """The next points of the face, smoothed. Points that are not finite stay so, and do not disturb later ones.

        Args:
            points: (K, 2), pixels of the photo.
            seconds: time since the last call; of the first call, any number.
            side: of the face's crop, pixels of the photo. It makes ``beta`` independent of the face's size.

        Returns:
            float (K, 2).
        """
        before = points if self._points is None else np.where(np.isfinite(self._points), self._points, points)
        velocity = (points - before) / max(seconds, 1e-6)
        weight = _weight(self.settings.d_cutoff, seconds)
        velocity = weight * velocity + (1 - weight) * self._velocity
        speed = np.linalg.norm(velocity, axis=1, keepdims=True) / side
        smoothed = before + _weight(self.settings.min_cutoff + self.settings.beta * speed, seconds) * (points - before)
        known = np.isfinite(smoothed)
        self._points, self._velocity = np.where(known, smoothed, before), np.where(known, velocity, 0.0)
        return smoothed


def _weight(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """Weight of a new value in exponential smoothing, given the cutoff frequency in Hz and the time since the last."""
    turned = 2 * np.pi * cutoff * seconds
    return turned / (1 + turned)
