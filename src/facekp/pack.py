"""`python -m facekp.pack ckpt=FILE out=FILE`: a checkpoint without what only training needs, a third of the size.

With ``half=true`` the networks' kernels are kept in 16 bits, which halves it again; they are read back as float32.
"""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.models.packing import pack

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Path:
    """Hydra's task: pack and tell."""
    config = plain(cfg)
    target = Path(config["out"])
    pack(config["ckpt"], target, config["half"], config["decoder"], config["offsets"])
    log.info("ckpt: %s (%.1f MB)", target, target.stat().st_size / 1e6)
    return target


if __name__ == "__main__":
    run_command("pack", main)
