"""Finds numbers that are not finite in what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def first_not_finite(values: Any, name: str = "") -> str | None:
    """The first tensor with NaN or an infinite number, by its keys joined by dots; None where all numbers are finite.

    Args:
        values: a tensor, or nested mappings, lists and tuples of tensors; anything else is passed over.
        name: of ``values``.

    Example:
        >>> import torch
        >>> first_not_finite({"a": torch.zeros(2), "b": [{"c": torch.tensor(torch.nan)}]})
        'b.0.c'
        >>> first_not_finite({"a": torch.zeros(2), "b": None}) is None
        True
    """
    if isinstance(values, Tensor):
        return None if bool(values.isfinite().all()) else name
    parts: Any = values.items() if isinstance(values, Mapping) else ()
    if isinstance(values, (list, tuple)):
        parts = enumerate(values)
    found = (first_not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in parts)
    return next(filter(None, found), None)
