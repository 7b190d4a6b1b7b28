"""Smooths the points of a face over the frames of a video: steady at rest, and hardly late in motion.

The filter is the One-Euro filter (Casiez, Roussel and Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for
Noisy Input in Interactive Systems", CHI 2012), one per point. One thing differs: the speed is measured from the last
point as it was, not as it was smoothed. Otherwise the same motion would be smoothed less at a higher frame rate.
"""

from __future__ import annotations

import numpy as np

from facekp.core.settings import NonNegative, Positive, Settings

MIN_SECONDS = 1e-6  # between two frames, so that a first call with 0 seconds divides by no zero


class SmoothingSettings(Settings):
    """``smooth``: a low-pass filter whose cutoff frequency rises with a point's speed.

    Attributes:
        min_cutoff: cutoff frequency of a point at rest, Hz. Lower: steadier at rest.
        beta: rise of the cutoff frequency with the speed, Hz per (side of the face's crop per second). Higher: less
            late in motion.
        d_cutoff: cutoff frequency of the filter that measures the speed, Hz.
    """

    min_cutoff: Positive
    beta: NonNegative
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
        self._last: np.ndarray | None = None  # (K, 2), the last points
        self._smoothed = np.empty((0, 2))  # (K, 2)
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
        if self._last is None:
            self._last = self._smoothed = points
        last, before = (np.where(np.isfinite(values), values, points) for values in (self._last, self._smoothed))
        weight = _weight(self.settings.d_cutoff, seconds)
        velocity = weight * (points - last) / max(seconds, MIN_SECONDS) + (1 - weight) * self._velocity
        speed = np.linalg.norm(velocity, axis=1, keepdims=True) / side
        smoothed = before + _weight(self.settings.min_cutoff + self.settings.beta * speed, seconds) * (points - before)
        known = np.isfinite(smoothed)
        self._last, self._smoothed = np.where(known, points, last), np.where(known, smoothed, before)
        self._velocity = np.where(known, velocity, 0.0)
        return smoothed


def _weight(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """Weight of a new value in exponential smoothing, given the cutoff frequency in Hz and the time since the last."""
    turned = 2 * np.pi * cutoff * seconds
    return turned / (1 + turned)
