"""The revision of facekp's own code, which every run keeps in git.txt."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_revision() -> str | None:
    """Commit of the checkout that this file belongs to, with ``-dirty`` where files differ; None without a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails for a copy installed inside another project
        return git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        return None
