"""`python -m facekp.pack ckpt=FILE out=FILE`: a checkpoint without what only training needs, a third of the size.

With ``half=true`` the networks' kernels are kept in 16 bits, which halves it again; they are read back as float32.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from facekp import cli
from facekp.checkpoint import KEY, WEIGHTS, load_checkpoint, read_tensors
from facekp.errors import UserError
from facekp.files import atomic

log = logging.getLogger(__name__)
# Keys of a training's config that hold paths.
PLACES = ("dir", "images", "labels", "cache", "out", "init_from", "resume", "ckpt")


def pack(
    source: str | Path,
    target: Path,
    half: bool = False,
    decoder: Mapping[str, Any] | None = None,
    offsets: Mapping[str, float] | None = None,
) -> None:
    """Write the detector, its settings and what trained it, and nothing else; no path of the machine that trained it.

    Args:
        source: a checkpoint of `facekp.train`.
        target: is accepted wherever a checkpoint is.
        decoder: what its decoder shall do otherwise from now on; None values change nothing.
        half: round kernels to float16; biases, scales and statistics, a hundredth of it all, stay float32.
        offsets: pixels by source that every answer gets from now on instead of its own
            (`facekp.keypoints.Keypoints.offsets`), for a network that was trained with mirror images and without; a
            calibration is dropped with the old ones. None changes nothing.

    Raises:
        UserError: ``source`` is no checkpoint of `facekp.train`, or knows no such source.
    """
    trained = load_checkpoint(source)
    raw = read_tensors(trained.path)
    if KEY not in raw:
        raise UserError(f"{source}: is the starting system's, which holds nothing but weights already")
    trained.detector.override_decoder(decoder or {})
    weights = {name: value.contiguous() for name, value in raw["state_dict"].items() if name.startswith(WEIGHTS)}
    if half:
        kernels = f"{WEIGHTS}network."
        weights |= {n: v.half() for n, v in weights.items() if n.startswith(kernels) and v.ndim > 1}
    entry = {**raw[KEY], "decoder": trained.detector.decoder, "config": _without_places(raw[KEY]["config"])}
    if offsets is not None:
        trained.detector.keypoints.offsets(offsets)  # refuses a source that isn't there
        entry |= {"offsets": dict(offsets), "calibration": None}
    with atomic(target) as draft:
        torch.save({KEY: entry, "state_dict": weights}, draft)


def _without_places(config: Any) -> Any:
    """The training's config, null where it names a place on the machine that trained."""
    if not isinstance(config, dict):
        return config
    return {key: None if key in PLACES else _without_places(value) for key, value in config.items()}


def main(cfg: DictConfig) -> Path:
    """Hydra's task: pack and tell."""
    config = cli.plain(cfg)
    target = Path(config["out"])
    pack(config["ckpt"], target, config["half"], config["decoder"], config["offsets"])
    log.info("ckpt: %s (%.1f MB)", target, target.stat().st_size / 1e6)
    return target


if __name__ == "__main__":
    cli.run("pack", main)
