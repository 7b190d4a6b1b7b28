"""Finds numbers that are not finite in what a checkpoint holds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
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
    names: list[str] = []
    groups = defaultdict(list)  # by device and type: tensors, and their places among the names
    for path, tensor in _tensors(values, name):
        if tensor.is_floating_point() and tensor.numel():
            groups[tensor.device, tensor.dtype].append((tensor.detach(), len(names)))
            names.append(path)
    bad = [
        place
        for group in groups.values()
        for finite, (_, place) in zip(_are_finite([tensor for tensor, _ in group]), group, strict=True)
        if not finite
    ]
    return names[min(bad)] if bad else None


def _are_finite(tensors: list[Tensor]) -> list[bool]:
    """For each tensor of one device and type; on a GPU by few kernels, and all results are read at once."""
    highest = torch.stack(torch._foreach_norm(tensors, math.inf))
    finite: list[bool] = highest.isfinite().tolist()
    return finite


def _tensors(values: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested values, by name."""
    if isinstance(values, Tensor):
        yield name, values
    parts: Any = values.items() if isinstance(values, Mapping) else ()
    if isinstance(values, (list, tuple)):
        parts = enumerate(values)
    for key, value in parts:
        yield from _tensors(value, f"{name}.{key}" if name else str(key))
