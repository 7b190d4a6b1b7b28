"""`python -m facekp.pack ckpt=FILE out=FILE`: a checkpoint without what only training needs, a third of the size.

With ``half=true`` the networks' kernels are kept in 16 bits, which halves it again; they are read back as float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.models.checkpoint import FORMAT, KEY, PREFIX, load_checkpoint, model_tensors, read_tensors

# Keys of a training's config that hold paths.
PLACES = ("dir", "images", "labels", "cache", "out", "init_from", "resume", "ckpt")


def pack(
    source: str | Path,
    target: Path,
    half: bool = False,
    decoder: Mapping[str, Any] | None = None,
    offsets: Mapping[str, float] | None = None,
) -> None:
    """Write the model, its settings and what trained it, and nothing else; no path of the machine that trained it.

    Args:
        source: a checkpoint of `facekp.train`.
        target: is accepted wherever a checkpoint is.
        decoder: what its decoder shall do otherwise from now on; None values change nothing.
        half: round kernels to float16; biases, scales and statistics, a hundredth of it all, stay float32.
        offsets: pixels by source that every answer gets from now on instead of its own
            (`facekp.core.keypoints.Keypoints.offsets`), for a network that was trained with mirror images and without; a
            calibration is dropped with the old ones. None changes nothing.

    Raises:
        UserError: ``source`` is no checkpoint of `facekp.train`, or knows no such source.
    """
    trained = load_checkpoint(source)
    raw = read_tensors(trained.path)
    if KEY not in raw:
        raise UserError(f"{source}: is the starting system's, which holds nothing but weights already")
    trained.model.override_decoder(decoder or {})
    weights = {PREFIX + name: value.contiguous() for name, value in model_tensors(raw).items()}
    if half:
        kernels = f"{PREFIX}network."
        weights |= {n: v.half() for n, v in weights.items() if n.startswith(kernels) and v.ndim > 1}
    entry = {
        **raw[KEY],
        "format": FORMAT,
        "decoder": trained.model.decoder,
        "config": _without_places(raw[KEY]["config"]),
    }
    if offsets is not None:
        trained.model.keypoints.offsets(offsets)  # refuses a source that isn't there
        entry |= {"offsets": dict(offsets), "calibration": None}
    with atomic(target) as draft:
        torch.save({KEY: entry, "state_dict": weights}, draft)


def _without_places(config: Any) -> Any:
    """The training's config, null where it names a place on the machine that trained."""
    if not isinstance(config, dict):
        return config
    return {key: None if key in PLACES else _without_places(value) for key, value in config.items()}
