"""`python -m facekp.pack ckpt=FILE out=FILE`: a checkpoint without what only training needs, a third of the size."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig

from facekp import cli
from facekp.checkpoint import KEY, WEIGHTS, load_checkpoint, read_tensors
from facekp.errors import UserError
from facekp.files import atomic

log = logging.getLogger(__name__)


def pack(source: str | Path, target: Path) -> None:
    """Write the detector, its settings and what trained it, and nothing else.

    Args:
        source: a checkpoint of `facekp.train`.
        target: is accepted wherever a checkpoint is.

    Raises:
        UserError: ``source`` is no checkpoint of `facekp.train`.
    """
    raw = read_tensors(load_checkpoint(source).path)
    if KEY not in raw:
        raise UserError(f"{source}: is the starting system's, which holds nothing but weights already")
    weights = {name: value.contiguous() for name, value in raw["state_dict"].items() if name.startswith(WEIGHTS)}
    with atomic(target) as draft:
        torch.save({KEY: raw[KEY], "state_dict": weights}, draft)


def main(cfg: DictConfig) -> Path:
    """Hydra's task: pack and tell."""
    config = cli.plain(cfg)
    target = Path(config["out"])
    pack(config["ckpt"], target)
    log.info("ckpt: %s (%.1f MB)", target, target.stat().st_size / 1e6)
    return target


if __name__ == "__main__":
    cli.run("pack", main)
