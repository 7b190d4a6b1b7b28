"""Packed checkpoints: a model, its settings and the hashes of its training images, without what only a training needs.

A packed file has a third of the size. With ``half`` the convolution kernels are kept in 16 bits, which halves it again;
they are read back as float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facekp.core.errors import UserError
from facekp.core.files import write_tensors
from facekp.functional.finite import first_not_finite
from facekp.models.checkpoint import (
    KEY,
    PREFIX,
    LoadedCheckpoint,
    describe,
    load_checkpoint,
    model_tensors,
    read_facekp_tensors,
)
from facekp.models.keypoint_model import check_offsets
from facekp.models.settings import DecoderOverride

PATH_STARTS = ("/", "~", "./", "../")
# Keys of a training's settings that hold paths; OF_DATA: those of the readers.
OF_DATA = ("dir", "images", "labels", "box_list", "attribute_list", "partition_list", "cache")
PATH_KEYS = (*OF_DATA, "out", "init_from", "resume", "ckpt", "weights")


def pack(
    source: str | Path | Sequence[str | Path],
    target: Path,
    half: bool = False,
    decoder: DecoderOverride | None = None,
    offsets: Mapping[str, float] | None = None,
) -> None:
    """Write the model, its settings and the hashes of its training images, and nothing else; no path of the machine.

    Args:
        source: a checkpoint of `facekp.train`, or several of equal networks, whose weights are averaged (Wortsman et
            al. 2022, arXiv:2203.05482); settings are those of the first.
        target: the file to write; it is read wherever a checkpoint is.
        half: round convolution kernels to float16; biases, scales and statistics stay float32, as they make up a
            hundredth of the file.
        decoder: replaces settings of the checkpoint's decoder.
        offsets: replace those of the checkpoint, pixels by source (`facekp.core.keypoints.Keypoints.offsets`), for a
            network that was trained with mirror images but without offsets. Calibrations are dropped. None: keep both.

    Raises:
        UserError: ``source`` is not a checkpoint of `facekp.train`, its networks differ, it has no such source, an
            offset is larger than the image, or it holds a weight that is too large for float16.
    """
    loaded, *others = [load_checkpoint(path) for path in ([source] if isinstance(source, (str, Path)) else source)]
    loaded.model.override_decoder(decoder or DecoderOverride())
    weights = _mean_weights([loaded, *others])
    if half:
        network = f"{PREFIX}network."
        weights |= {name: w.half() for name, w in weights.items() if name.startswith(network) and w.ndim > 1}
        if (name := first_not_finite(weights)) is not None:
            raise UserError(
                f"half=true: the weights {name} of {loaded.path} exceed {torch.finfo(torch.half).max:.0f}, the largest "
                "number of 16 bits; leave out half=true"
            )
    hashes, labels = _training_data([loaded, *others])
    entry = describe(loaded.model, hashes, _without_paths(loaded.config), labels)
    if others:
        entry |= {"calibrations": []}
    if offsets is not None:
        loaded.model.keypoints.offsets(offsets)  # refuses an unknown source
        check_offsets(offsets, loaded.model.size)
        entry |= {"offsets": dict(offsets), "calibrations": []}
    write_tensors(target, {KEY: entry, "state_dict": weights})


def _mean_weights(checkpoints: Sequence[LoadedCheckpoint]) -> dict[str, Tensor]:
    """The mean of each tensor; those of integers, which only count batches, are the first checkpoint's.

    Raises:
        UserError: a file is not a checkpoint of `facekp.train`, or the networks differ.
    """
    first, *others = checkpoints
    tensors = [model_tensors(read_facekp_tensors(each.path, "there is nothing to pack")) for each in checkpoints]
    expected = _what_must_agree(first)
    for loaded in others:
        for key, value in _what_must_agree(loaded).items():
            if value != expected[key]:
                raise UserError(
                    f"{loaded.path}: another {key} than {first.path}; weights can't be averaged: give checkpoints of "
                    "trainings with the same settings"
                )

    def mean(name: str, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value.contiguous()
        return torch.stack([each[name].double() for each in tensors]).mean(dim=0).to(value.dtype)

    return {PREFIX + name: mean(name, value) for name, value in tensors[0].items()}


def _what_must_agree(loaded: LoadedCheckpoint) -> dict[str, Any]:
    """What the weights of a checkpoint mean, by the key that sets it."""
    model = loaded.model
    return {
        "model": model.settings,
        "keypoints": model.keypoints,
        "loss.activation": model.activation,
        "data.size": model.codec.size,
        "data.channels": model.image_channels,
        "data.offsets": model.offsets,
    }


def _training_data(checkpoints: Sequence[LoadedCheckpoint]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Hashes of all training images of the checkpoints, and their most labels; None where one does not know them."""
    hashes = [each.trained_on for each in checkpoints if each.trained_on is not None]
    labels = [each.labels for each in checkpoints if each.labels is not None]
    complete = len(checkpoints)
    return (
        np.concatenate(hashes) if len(hashes) == complete else None,
        np.maximum.reduce(labels) if len(labels) == complete else None,
    )


def _without_paths(config: Any) -> Any:
    """The training's config with null for every path, also of a callback or a logger by import path."""
    if isinstance(config, dict):
        return {key: None if key in PATH_KEYS else _without_paths(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_without_paths(value) for value in config]
    return None if isinstance(config, str) and config.startswith(PATH_STARTS) else config
