"""facekp trains, compares and ships heatmap networks that find landmarks in images, above all facial keypoints."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Face", "KeypointPredictor", "Prediction", "UserError", "find_points"]
__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from facekp.core.errors import UserError
    from facekp.models.prediction import Prediction
    from facekp.models.predictor import KeypointPredictor
    from facekp.photos.face import Face
    from facekp.photos.single import find_points
else:  # a type checker that saw this function would allow every name
    _MODULES = {
        "Face": "facekp.photos.face",
        "KeypointPredictor": "facekp.models.predictor",
        "Prediction": "facekp.models.prediction",
        "UserError": "facekp.core.errors",
        "find_points": "facekp.photos.single",
    }

    def __getattr__(name: str) -> Any:
        """The names in ``__all__``, imported when they are asked for, as torch takes seconds to import."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
