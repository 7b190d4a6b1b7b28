"""The former name of `facekp.detection_benchmark`."""

from __future__ import annotations

import logging

from facekp.config.command import run_command
from facekp.detection_benchmark import main

if __name__ == "__main__":
    logging.getLogger(__name__).warning("facekp.scenes is now facekp.detection_benchmark")
    run_command("detection_benchmark", main)
