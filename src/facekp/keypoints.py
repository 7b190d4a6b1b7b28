"""The former name of `facekp.core.keypoints`, for scripts that were written for 0.1."""

from facekp.core.keypoints import Keypoints

__all__ = ["Keypoints"]
