"""Packed checkpoints: a model, its settings and the hashes of its training images, without what only training needs.

A packed file has a third of the size. With ``half`` the convolution kernels are kept in 16 bits, which halves it again;
they are read back as float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facekp.core.errors import UserError
from facekp.core.files import write_tensors
from facekp.functional.finite import first_not_finite
from facekp.models.checkpoint import KEY, PREFIX, describe, load_checkpoint, model_tensors, read_facekp_tensors
from facekp.models.settings import DecoderOverride

# Keys of a training's settings that hold paths.
PATH_KEYS = ("dir", "images", "labels", "cache", "out", "init_from", "resume", "ckpt", "weights")


def pack(
    source: str | Path,
    target: Path,
    half: bool = False,
    decoder: DecoderOverride | None = None,
    offsets: Mapping[str, float] | None = None,
) -> None:
    """Write the model, its settings and what trained it, and nothing else; no path of the machine that trained it.

    Args:
        source: a checkpoint of `facekp.train`.
        target: the file to write; it is read wherever a checkpoint is.
        half: round convolution kernels to float16; biases, scales and statistics stay float32, as they make up a
            hundredth of the file.
        decoder: replaces settings of the checkpoint's decoder.
        offsets: replace those of the checkpoint, pixels by source (`facekp.core.keypoints.Keypoints.offsets`), for a
            network that was trained with mirror images but without offsets. Calibrations are dropped. None: keep both.

    Raises:
        UserError: ``source`` is not a checkpoint of `facekp.train`, has no such source, or holds a weight that is too
            large for float16.
    """
    loaded = load_checkpoint(source)
    raw = read_facekp_tensors(loaded.path, "there is nothing to pack")
    loaded.model.override_decoder(decoder or DecoderOverride())
    weights = {PREFIX + name: value.contiguous() for name, value in model_tensors(raw).items()}
    if half:
        network = f"{PREFIX}network."
        weights |= {name: w.half() for name, w in weights.items() if name.startswith(network) and w.ndim > 1}
        if (name := first_not_finite(weights)) is not None:
            raise UserError(
                f"half=true: the weights {name} of {loaded.path} exceed {torch.finfo(torch.half).max:.0f}, the largest "
                "number of 16 bits; leave out half=true"
            )
    entry = describe(loaded.model, loaded.trained_on, _without_paths(loaded.config), loaded.labels)
    if offsets is not None:
        loaded.model.keypoints.offsets(offsets)  # refuses an unknown source
        entry |= {"offsets": dict(offsets), "calibrations": []}
    write_tensors(target, {KEY: entry, "state_dict": weights})


def _without_paths(config: Any) -> Any:
    """The training's config with null for every path."""
    if not isinstance(config, dict):
        return config
    return {key: None if key in PATH_KEYS else _without_paths(value) for key, value in config.items()}
