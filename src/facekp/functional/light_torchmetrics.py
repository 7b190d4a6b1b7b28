"""torchmetrics without SciPy and matplotlib, which it imports for functions that facekp does not call.

Import this module before anything that imports Lightning, as Lightning imports torchmetrics too. Measured on two cores:
the import takes 0.5 instead of 3.8 CPU seconds. In this process torchmetrics takes the two packages for not installed,
as ``Metric.plot`` then says. All other code can import them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from typing import Any

from lightning_utilities.core import imports

UNUSED = ("scipy", "matplotlib")


@contextmanager
def _hidden() -> Iterator[None]:
    """Within, `UNUSED` packages count as not installed; those that are imported already stay."""
    hidden: dict[str, Any] = {name: None for name in UNUSED if name not in sys.modules}
    version = imports._version

    def version_unless_hidden(name: str) -> str:
        if name in hidden:
            raise PackageNotFoundError(name)
        return version(name)

    sys.modules.update(hidden)  # None: importing the name fails
    imports._version = version_unless_hidden
    try:
        yield
    finally:
        imports._version = version
        for name in hidden:
            del sys.modules[name]


if "torchmetrics" not in sys.modules:
    with _hidden():
        import torchmetrics  # noqa: F401

from torchmetrics import MeanMetric, Metric  # noqa: E402

__all__ = ["MeanMetric", "Metric"]
