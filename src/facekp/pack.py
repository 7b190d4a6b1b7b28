"""`python -m facekp.pack ckpt=FILE out=FILE`: shrinks a checkpoint to what prediction needs, a third of the size.

With ``half=true`` convolution kernels are stored in 16 bits, which halves it again; they are read back as float32.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from facekp.config.command import read_settings, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Path:
    """Write the packed checkpoint, and return its path."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.core.outputs import output_file
    from facekp.models.command_settings import PackSettings
    from facekp.models.packing import pack
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, PackSettings))
    with output_file(settings.out, overwrite=settings.overwrite) as out:
        pack(settings.ckpt, out, settings.half, settings.decoder, settings.offsets)
    log.info("ckpt: %s (%.1f MB)", out, out.stat().st_size / 1e6)
    return out


if __name__ == "__main__":
    run_command("pack", main)
