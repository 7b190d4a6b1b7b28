"""`python -m facekp.predict photo.jpg ...`: predicts the keypoints of all faces in photos, videos or webcam frames.

Names of files are plain arguments, settings are key=value; behind ``--`` every argument is a name. What is written to
the output folder is described in `facekp.photos.output`. The exit code is 1 if a file could not be read.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from facekp.config.command import read_settings, run_command, split_arguments

if TYPE_CHECKING:
    from facekp.photos.run import Outcome

log = logging.getLogger(__name__)


def main(cfg: DictConfig, names: Sequence[str]) -> Outcome:
    """Hydra's task: predict, log what was found, and exit with 1 if a file was skipped."""
    from facekp.photos.run import predict  # imported here: --help must not wait for torch
    from facekp.photos.settings import PredictSettings

    settings = read_settings(cfg, PredictSettings)
    outcome = predict(settings, names)
    log.info("%d faces in %d photos or frames, %d without a face", outcome.faces, outcome.photos, outcome.without)
    log.info("written: %s", settings.out)
    if outcome.unreadable:
        log.error("%d of the files could not be read", len(outcome.unreadable))
        sys.exit(1)
    return outcome


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments(sys.argv[1:])
    run_command("predict", partial(main, names=NAMES))
