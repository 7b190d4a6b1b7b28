"""What a run's results depend on besides its settings: versions, number of threads, instructions of the processor.

`environment` describes this process; `differences` compares two descriptions. With another number of threads, torch
adds numbers in another order, so the last bits of all weights differ.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from facekp.config.plugins import MODULES
from facekp.core.registry import installed_entry_points, plugin_modules
from facekp.runs.revision import git_revision

PACKAGES = (
    "facekp",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "numpy",
    "pandas",
    "opencv-python-headless",
    "pillow",
)
DIGITS = 12  # of a digest


def environment() -> dict[str, Any]:
    """Versions, platform, device and threads as plain values, for environment.yaml."""
    import torch  # imported here: the folder of a run must be read within a second

    return {
        "revision": git_revision(),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        **_plugin_versions(),
        **_plugin_sources(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),  # instructions that torch uses, such as AVX2
        "mkldnn": torch.backends.mkldnn.is_available(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plugin_versions() -> dict[str, str]:
    """Versions of the installed packages that bring plug-ins."""
    points = [point for group in MODULES for point in installed_entry_points(group)]
    return {point.dist.name: point.dist.version for point in points if point.dist is not None}


def _plugin_sources() -> dict[str, str]:
    """The first digits of the SHA-256 of the modules that hold plug-ins, of those that have a source file."""
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in plugin_modules()}
    sources = {name: Path(file) for name, file in files.items() if file is not None}
    return {
        f"module {name}": hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]
        for name, file in sources.items()
        if file.is_file()
    }


def _processor() -> str:
    """The processor's name, if the system reports it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments, as ``name: before, now``; what only one of them has is passed over.

    Example:
        >>> differences({"torch": "2.11.0", "threads": 2}, {"torch": "2.12.1", "threads": 2, "python": "3.12.1"})
        ['torch: was 2.11.0, is 2.12.1']
    """
    return [f"{key}: was {before[key]}, is {now[key]}" for key in now if key in before and before[key] != now[key]]
