"""Runs one after another, each a command as its user would call it: a chain can be killed and called again."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

log = logging.getLogger(__name__)
BEST = "checkpoints/best.ckpt"  # of a training, in its folder


def is_finished(folder: Path) -> bool:
    """Whether a run left its last figures: those of a stopped one say that it isn't finished."""
    path = folder / "metrics.json"
    return path.is_file() and json.loads(path.read_text()).get("finished", True)


def run_unless_finished(command: str, overrides: list[str], folder: Path) -> None:
    """Run a command unless its folder is finished; a training that was stopped is gone on with.

    Args:
        command: ``train`` or ``evaluate``.
        overrides: what it is called with anew, ``out=`` its folder among them.
        folder: that folder.

    A failed command ends the chain with the same exit code.
    """
    if is_finished(folder):
        log.info("kept: %s, finished before; remove the folder to run it anew", folder)
        return
    arguments = [f"resume={folder}"] if (folder / "config.yaml").is_file() else overrides
    log.info("python -m facekp.%s %s", command, " ".join(arguments))
    code = subprocess.run([sys.executable, "-m", f"facekp.{command}", *arguments], check=False).returncode
    if code:
        sys.exit(code)
