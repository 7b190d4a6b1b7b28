"""`python -m facekp.data.inspect FILE`: recognises a label file, lists its problems, and shows how to train on it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from facekp.config.command import run_command, split_arguments

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def main(cfg: DictConfig, names: Sequence[str]) -> list[str]:
    """Print what the file is; return the printed lines."""
    from facekp.core.outputs import output_folder  # imported here: --help and mistakes in a key must answer at once
    from facekp.data.label_commands import InspectSettings, folder_of_scheme, open_named, read_named, write_scheme
    from facekp.data.label_report import report_of

    settings = read_named(cfg, InspectSettings)
    file = open_named(settings, names)
    if settings.out is not None and not file.is_shipped:
        with output_folder(settings.out, overwrite=settings.overwrite) as folder:
            log.info("written: %s", write_scheme(folder, file.keypoints))
    lines = report_of(file, settings.out or folder_of_scheme(settings), settings.plugins)
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments("inspect", sys.argv[1:])
    run_command("inspect", partial(main, names=NAMES))
