"""`python -m facekp.data.convert FILE out=DIR`: writes a label file of any format as a CSV or as COCO JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from facekp.config.command import run_command, split_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def main(cfg: DictConfig, names: Sequence[str]) -> Path:
    """Write the labels and their scheme; return the output folder."""
    from facekp.core.outputs import output_folder  # imported here: --help and mistakes in a key must answer at once
    from facekp.data.label_commands import ConvertSettings, open_named, read_named, write_scheme
    from facekp.data.label_report import converted_command
    from facekp.data.label_writing import WRITERS

    settings = read_named(cfg, ConvertSettings)
    file = open_named(settings, names)
    for warning in file.warnings:
        log.warning("%s", warning)
    name, write = WRITERS[settings.format]
    with output_folder(settings.out, overwrite=settings.overwrite) as folder:
        write(folder / name, file)
        write_scheme(folder, file.keypoints)
    log.info("written: %s (%d faces)", folder / name, len(file.faces))
    log.info("train on it: %s", converted_command(file, folder, settings.format, name))
    return folder


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments("convert", sys.argv[1:])
    run_command("convert", partial(main, names=NAMES))
