"""facekp trains, compares and ships heatmap networks that find facial keypoints in small grey images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facekp.models.predictor import KeypointPredictor
    from facekp.photos.single import find_points

__all__ = ["KeypointPredictor", "find_points"]
__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    """The names in ``__all__``, imported when they are asked for: they bring torch, and `import facekp` stays cheap."""
    if name == "KeypointPredictor":
        from facekp.models.predictor import KeypointPredictor

        return KeypointPredictor
    if name == "find_points":
        from facekp.photos.single import find_points

        return find_points
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
