"""`python -m facekp.report outputs/…`: one HTML page that compares runs; `what=data`: one that shows the data.

Paths stand as plain arguments, settings as key=value; behind ``--`` everything is a path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from facekp.config.command import plain, run_command, split_arguments
from facekp.reporting.html.report import report


def main(cfg: DictConfig, paths: Sequence[Path]) -> Path:
    """Hydra's task."""
    return report(plain(cfg), paths)


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments(sys.argv[1:])
    run_command("report", partial(main, paths=[Path(name) for name in NAMES]))
