"""facekp trains, compares and ships heatmap networks that find facial keypoints in small grey images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facekp.models.predictor import KeypointPredictor

__all__ = ["KeypointPredictor"]
__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    """`KeypointPredictor`, imported when it is asked for: its module brings torch, and `import facekp` stays cheap."""
    if name == "KeypointPredictor":
        from facekp.models.predictor import KeypointPredictor

        return KeypointPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
