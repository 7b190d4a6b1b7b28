"""Finds numbers that are not finite in what a checkpoint holds."""

from __future__ import annotations

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
    flags = defaultdict(list)  # by device: whether a tensor is finite, and its place among the names
    for path, tensor in _tensors(values, name):
        flags[tensor.device].append((tensor.isfinite().all(), len(names)))
        names.append(path)
    bad = [
        place
        for of_device in flags.values()
        for finite, (_, place) in zip(torch.stack([flag for flag, _ in of_device]).tolist(), of_device, strict=True)
        if not finite  # all flags of a GPU are read at once, as each reading waits for it
    ]
    return names[min(bad)] if bad else None


def _tensors(values: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested values, by name."""
    if isinstance(values, Tensor):
        yield name, values
    parts: Any = values.items() if isinstance(values, Mapping) else ()
    if isinstance(values, (list, tuple)):
        parts = enumerate(values)
    for key, value in parts:
        yield from _tensors(value, f"{name}.{key}" if name else str(key))
