"""What makes a training step on the CPU faster without changing its result."""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def optimize_for_cpu(network: nn.Module) -> None:
    """Lay the weights out channels-last, and keep freed memory in the process.

    Channels-last convolutions are a little faster; the larger part is the allocator's: without the second measure every
    activation map is given back to the kernel and its pages are fetched anew, thousands of times a step.
    Measured in `python -m facekp.bench`.

    Args:
        network: changed in place.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
