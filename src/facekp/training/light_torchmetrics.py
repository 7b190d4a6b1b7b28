"""Imports torchmetrics without SciPy, matplotlib and transformers, so that a training starts sooner.

torchmetrics imports them for functions that facekp does not call. Without the first two its import takes 0.5 instead of
3.8 CPU seconds (measured on two cores).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from typing import Any

from lightning_utilities.core import imports

UNUSED = ("scipy", "matplotlib", "transformers")


def import_torchmetrics() -> None:
    """Import torchmetrics, unless it is imported already; for the process of a command, before Lightning is imported.

    In this process torchmetrics then takes these three for not installed, and its functions that need them,
    such as ``Metric.plot``, say so. Other code can import them. Modules of ``plugins=`` are imported before, so they
    find all of torchmetrics.
    """
    if "torchmetrics" not in sys.modules:
        with _hidden():
            import torchmetrics  # noqa: F401


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
    imports._version = version_unless_hidden  # type: ignore[assignment]
    try:
        yield
    finally:
        imports._version = version
        for name in hidden:
            del sys.modules[name]
