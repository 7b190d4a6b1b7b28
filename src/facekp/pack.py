"""`python -m facekp.pack ckpt=FILE out=FILE`: a checkpoint without what only training needs, a third of the size.

With ``half=true`` the networks' kernels are kept in 16 bits, which halves it again; they are read back as float32.
"""

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


def pack(source: str | Path, target: Path, half: bool = False) -> None:
    """Write the detector, its settings and what trained it, and nothing else.

    Args:
        source: a checkpoint of `facekp.train`.
        target: is accepted wherever a checkpoint is.
        half: round kernels to float16; biases, scales and statistics, a hundredth of it all, stay float32.

    Raises:
        UserError: ``source`` is no checkpoint of `facekp.train`.
    """
    raw = read_tensors(load_checkpoint(source).path)
    if KEY not in raw:
        raise UserError(f"{source}: is the starting system's, which holds nothing but weights already")
    weights = {name: value.contiguous() for name, value in raw["state_dict"].items() if name.startswith(WEIGHTS)}
    if half:
        kernels = f"{WEIGHTS}network."
        weights |= {n: v.half() for n, v in weights.items() if n.startswith(kernels) and v.ndim > 1}
    with atomic(target) as draft:
        torch.save({KEY: raw[KEY], "state_dict": weights}, draft)


def main(cfg: DictConfig) -> Path:
    """Hydra's task: pack and tell."""
    config = cli.plain(cfg)
    target = Path(config["out"])
    pack(config["ckpt"], target, config["half"])
    log.info("ckpt: %s (%.1f MB)", target, target.stat().st_size / 1e6)
    return target


if __name__ == "__main__":
    cli.run("pack", main)
