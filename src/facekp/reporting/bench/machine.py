"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

import facekp

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")  # that speed up convolutions


def describe_machine(threads: int) -> dict[str, str | int]:
    """Processor, versions and threads.

    Args:
        threads: number of torch's threads.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "instructions": " ".join(flag for flag in FLAGS if flag in _cpuinfo("flags|Features").split()),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "facekp": facekp.__version__,
    }


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(key: str) -> str:
    """The first value of a key in Linux's description of the processor; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    found = re.search(rf"^(?:{key})\s*:\s*(.*)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1].strip() if found else ""
