"""`python -m facekp.data.convert FILE out=DIR`: writes a label file of any format in another format."""

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
    from facekp.core.console import count  # imported here: --help and mistakes in a key must answer at once
    from facekp.core.errors import UserError
    from facekp.core.outputs import output_folder
    from facekp.data.label_commands import ConvertSettings, open_named, read_named, write_scheme
    from facekp.data.label_report import converted_command
    from facekp.data.writers.base import WRITERS, Written, left_out

    settings = read_named(cfg, ConvertSettings)
    file = open_named(settings, names)
    for warning in file.warnings:
        log.warning("%s", warning)
    write = WRITERS[settings.format]
    with output_folder(settings.out, overwrite=settings.overwrite) as folder:
        written = write(folder, file)
        if not isinstance(written, Written):
            raise UserError(f"format={settings.format}: the writer returned {type(written).__name__}, not Written")
        write_scheme(folder, file.keypoints)
    if lost := list(left_out(file, written)):
        log.warning("format=%s can't hold, left out: %s", settings.format, ", ".join(lost))
    log.info("written: %s (%s)", written.path, count(len(file.faces), "face"))
    log.info("train on it: %s", converted_command(file, folder, written, settings.plugins))
    return folder


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments("convert", sys.argv[1:])
    run_command("convert", partial(main, names=NAMES))
