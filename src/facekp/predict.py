"""`python -m facekp.predict photo.jpg ...`: predicts the keypoints of all faces in photos, videos or webcam frames.

Files are plain arguments, settings are key=value; after ``--`` every argument is a file name. `facekp.photos.output`
describes the files of the output folder. The exit code is 1 if a file or a frame could not be read, or
if a prediction is not finite. After Ctrl+C it is 130, after SIGTERM 143, on a full disk 2. The photos that were
predicted before are kept.
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
DEFAULT_FOLDER = "outputs/predict/%Y-%m-%d_%H-%M-%S"


def main(cfg: DictConfig, names: Sequence[str]) -> Outcome:
    """Hydra's task: predict, log what was found, and exit with 1 if something failed."""
    from facekp.core.outputs import output_folder
    from facekp.photos.run import predict  # imported here: --help must not wait for torch
    from facekp.photos.settings import PredictSettings
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, PredictSettings))
    with output_folder(settings.out, DEFAULT_FOLDER, settings.overwrite) as folder:
        outcome = predict(settings.replaced(out=str(folder)), names)
    log.info("%s", outcome.summary())
    log.info("written: %s", folder)
    for problem in outcome.problems():
        log.error("%s", problem)
    if outcome.stopped is not None:
        log.error("%s", outcome.progress())
        raise outcome.stopped
    if outcome.problems():
        sys.exit(1)
    return outcome


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments("predict", sys.argv[1:])
    run_command("predict", partial(main, names=NAMES))
