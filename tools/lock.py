"""`make lock`: writes the installed versions of everything that facekp needs into two files.

requirements-cpu.lock   facekp and its extra ``export``, for the Docker image
requirements-dev.lock   all extras of developers, which ``make`` installs and the tests pass with

    python tools/lock.py              write both
    python tools/lock.py check 3.13   is there a wheel of every locked version for this Python?
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = {"cpu": ("export",), "dev": ("dev",)}
WITHOUT_WHEELS = ("antlr4-python3-runtime",)  # pure Python, built when installed
HEAD = "# Versions that the tests pass with, on Linux without a GPU; made by `make lock`.\n"


def needed(name: str, extras: tuple[str, ...], found: dict[str, str], seen: set[tuple[str, tuple[str, ...]]]) -> None:
    """Add a distribution's requirements, and theirs, with the installed versions."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        environments = [{"extra": extra} for extra in extras or ("",)]
        if requirement.marker is not None and not any(requirement.marker.evaluate(e) for e in environments):
            continue
        package = canonicalize_name(requirement.name)
        try:
            version = distribution(package).version.split("+")[0]  # the local part names a build, such as +cpu
        except PackageNotFoundError:
            continue  # optional on this platform
        found[package] = version
        needed(package, tuple(sorted(requirement.extras)), found, seen)


def lock_file(name: str) -> Path:
    """The file of a key of `EXTRAS`."""
    return ROOT / f"requirements-{name}.lock"


def write() -> None:
    """Write both files."""
    for name, extras in EXTRAS.items():
        found: dict[str, str] = {}
        needed("facekp", extras, found, set())
        lines = [f"{package}=={version}" for package, version in sorted(found.items()) if package != "facekp"]
        lock_file(name).write_text(HEAD + "\n".join(lines) + "\n")


def check(python: str) -> int:
    """Whether every locked version has a wheel for a Python version, such as ``3.13``; the exit code of pip."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for line in lock_file("dev").read_text().splitlines() if not line.startswith(WITHOUT_WHEELS)]
        wheels = Path(folder, "wheels.txt")
        wheels.write_text("\n".join(lines))
        options = ["--dry-run", "--no-deps", "--only-binary=:all:", f"--python-version={python}", f"--target={folder}"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "-r", str(wheels)]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(check(sys.argv[2]) if sys.argv[1:2] == ["check"] else write())
