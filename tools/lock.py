"""`make lock`: requirements-cpu.lock, the installed versions of what facekp and its extra ``export`` need."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("export",)
HEAD = "# Versions that the tests pass with, on Python 3.11 and Linux; made by `make lock`.\n"


def needed(name: str, extras: tuple[str, ...], found: dict[str, str]) -> None:
    """Add a distribution's requirements, and theirs, with the installed versions."""
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
        if package not in found:
            found[package] = version
            needed(package, tuple(requirement.extras), found)


def main() -> None:
    """Write the file."""
    found: dict[str, str] = {}
    needed("facekp", EXTRAS, found)
    lines = [f"{package}=={version}" for package, version in sorted(found.items()) if package != "facekp"]
    Path("requirements-cpu.lock").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
