"""`python -m facekp.report outputs/...`: one HTML page that compares runs; with `what=data` one that shows the data.

Paths are given as plain arguments, settings as key=value. After ``--`` everything is a path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command, split_arguments

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(cfg: DictConfig, paths: Sequence[Path]) -> Path:
    """Write the page, and return its path."""
    from facekp.reporting.settings import ReportSettings  # imported here: --help must answer within a second

    settings = read_settings(cfg, ReportSettings)
    from facekp.reporting.html.report import write_report  # takes seconds, so mistakes in a setting show before it

    return write_report(settings, paths)


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments("report", sys.argv[1:])
    run_command("report", partial(main, paths=[Path(name) for name in NAMES]))
