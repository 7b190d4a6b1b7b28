"""Where conf/ is: the copy packaged in the wheel, else the repository's. One rule for every entry point."""

from __future__ import annotations

from pathlib import Path


def _find() -> Path:
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


CONF_DIR = _find()
