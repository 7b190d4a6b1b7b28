"""Weights of a checkpoint for another model: what fits is copied, everything else keeps its fresh weights.

A tensor fits if name and shape are equal. Tensors with an axis of heatmap channels, as in the network's heads, are
copied channel by channel: channels with the same source and point name take the checkpoint's weights. So weights for 15
points start a network for 5 of them. Axes: S sources, K points, C heatmap channels.

Weights for grey images start a network for colour images, and the other way round: the first convolution's weights for
grey levels are divided among the three colours, or the colours' weights are added up. Either network then predicts the
same for an image whose colours are grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from facekp.core.channels import CHANNEL_NAMES
from facekp.core.console import listed
from facekp.core.keypoints import Keypoints
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.networks.base import build_network

Pairs = list[tuple[int, int]]  # (index in the model, index in the checkpoint)


@dataclass(frozen=True)
class TransferReport:
    """Names of a model's tensors, by what was copied from a checkpoint.

    Attributes:
        copied: as a whole.
        partly_copied: for the channels, or points, that both have.
        not_copied: initialised as in a new network.
        channels: channels of the checkpoint's images and the model's, where they differ.
        recoloured: names of the tensors that were made of weights for the other number of channels; they are also in
            ``copied``.
    """

    copied: list[str] = field(default_factory=list)
    partly_copied: list[str] = field(default_factory=list)
    not_copied: list[str] = field(default_factory=list)
    channels: tuple[int, int] | None = None
    recoloured: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line for the log.

        Example:
            >>> str(TransferReport(copied=["a", "b"], not_copied=["head"]))
            '2 tensors copied, 0 partly copied, 1 not copied (head)'
        """
        partly = f"{len(self.partly_copied)} partly copied{in_brackets(self.partly_copied)}"
        rest = f"{len(self.not_copied)} not copied{in_brackets(self.not_copied)}"
        return f"{len(self.copied)} tensors copied, {partly}, {rest}{self._recoloured()}"

    def _recoloured(self) -> str:
        if self.channels is None or not self.recoloured:
            return ""
        before, now = (CHANNEL_NAMES[channels] for channels in self.channels)
        how = "divided among 3 colours" if self.channels[1] == 3 else "added up over 3 colours"
        return f"; of {before} images, now of {now}: weights {how}{in_brackets(self.recoloured)}"


def in_brackets(names: list[str]) -> str:
    """Names in brackets after a blank, the first ones of many; empty without names.

    Example:
        >>> in_brackets(["a", "b", "c", "d", "e"])
        ' (a, b, c, d and 1 more)'
    """
    return f" ({listed(names)})" if names else ""


@torch.no_grad()
def copy_matching(model: KeypointModel, loaded: LoadedCheckpoint) -> TransferReport:
    """Copy all weights of a checkpoint that fit into a model, in place.

    With the same scheme and architecture, every tensor is copied. A source that the checkpoint does not know takes the
    channels of its first source. A network's other axes, e.g. its width, must be equal for a tensor to be copied.

    Args:
        model: with fresh weights; changed.
        loaded: the checkpoint.
    """
    old_state, new_state = loaded.model.state_dict(), dict(model.state_dict())
    if model.size != loaded.model.size:
        del old_state["mean_face"]  # in pixels of images of another size
    report = TransferReport()
    if model.image_channels != loaded.model.image_channels:
        report = TransferReport(channels=(loaded.model.image_channels, model.image_channels))
        report.recoloured.extend(_recolour(old_state, model, loaded.model))
    axes = _channel_axes(model, loaded.model)
    for name, fresh in new_state.items():
        merged = _merge(fresh, old_state.get(name), axes.get(name, {}))
        if merged is None:
            report.not_copied.append(name)
            continue
        new_state[name], complete = merged
        (report.copied if complete else report.partly_copied).append(name)
    model.load_state_dict(new_state)
    return report


def _recolour(state: dict[str, Tensor], model: KeypointModel, old: KeypointModel) -> list[str]:
    """Change the checkpoint's tensors with an axis of image channels to those of the model, in place; their names.

    The axes are found by building the network once more for the checkpoint's channels.
    """
    before, now = old.image_channels, model.image_channels
    with torch.random.fork_rng(devices=[]):  # the run's random numbers stay the same
        other = build_network(model.settings.network, len(model.mirrored_channels), before).state_dict()
    changed = []
    for name, tensor in model.network.state_dict().items():
        sides = zip(tensor.shape, other[name].shape, strict=True)
        axis = next((axis for axis, (size, size_before) in enumerate(sides) if size != size_before), None)
        weights = state.get(f"network.{name}")
        if axis is None or weights is None or weights.ndim != tensor.ndim or weights.shape[axis] != before:
            continue
        if now == 3:
            state[f"network.{name}"] = weights.repeat_interleave(now, axis) / now
        else:
            state[f"network.{name}"] = weights.sum(axis, keepdim=True)
        changed.append(f"network.{name}")
    return changed


def _channel_axes(model: KeypointModel, old: KeypointModel) -> dict[str, dict[int, Pairs]]:
    """By tensor, the axes of heatmap channels, or of sources and points, with the pairs of indices to copy."""
    if _same_channels(model, old):
        return {}
    channels = channel_pairs(model, old)
    sources, points = source_pairs(model.keypoints, old.keypoints), point_pairs(model.keypoints, old.keypoints)
    axes: dict[str, dict[int, Pairs]] = {"mean_face": {0: sources, 1: points}}
    for name, axis, values in _heatmap_axes(model):
        pairs = [(new * values + i, before * values + i) for new, before in channels for i in range(values)]
        axes.setdefault(f"network.{name}", {})[axis] = pairs
    return axes


def _same_channels(model: KeypointModel, old: KeypointModel) -> bool:
    schemes = [(scheme.names, list(scheme.sources.items())) for scheme in (model.keypoints, old.keypoints)]
    return schemes[0] == schemes[1] and torch.equal(model.channels.cpu(), old.channels.cpu())


def channel_pairs(model: KeypointModel, old: KeypointModel) -> Pairs:
    """Heatmap channels of both models that hold the same point of the same source."""
    pairs: dict[int, int] = {}
    sources, points = source_pairs(model.keypoints, old.keypoints), point_pairs(model.keypoints, old.keypoints)
    for s, old_s in sources:
        for k, old_k in points:
            pairs.setdefault(int(model.channels[s, k]), int(old.channels[old_s, old_k]))
    return sorted(pairs.items())


def source_pairs(new: Keypoints, old: Keypoints) -> Pairs:
    """Sources with the same name; a source that the old scheme lacks is paired with its first."""
    return [(s, old.source_names.index(n) if n in old.source_names else 0) for s, n in enumerate(new.source_names)]


def point_pairs(new: Keypoints, old: Keypoints) -> Pairs:
    """Points with the same name."""
    return [(k, old.names.index(name)) for k, name in enumerate(new.names) if name in old.names]


def _heatmap_axes(model: KeypointModel) -> Iterator[tuple[str, int, int]]:
    """The axes of the network's tensors that grow with the number of heatmap channels.

    They are found by building the network once more with one channel more, so a plug-in's network needs no declaration.
    An axis may hold several values per channel, side by side: the regression network's x and y.

    Yields:
        name of the tensor, axis, values per channel.
    """
    channels = len(model.mirrored_channels)
    with torch.random.fork_rng(devices=[]):  # the run's random numbers stay the same
        larger = build_network(model.settings.network, channels + 1, model.image_channels).state_dict()
    for name, tensor in model.network.state_dict().items():
        for axis, (size, grown) in enumerate(zip(tensor.shape, larger[name].shape, strict=True)):
            if size == channels * (grown - size):
                yield name, axis, grown - size


def _merge(fresh: Tensor, old: Tensor | None, axes: dict[int, Pairs]) -> tuple[Tensor, bool] | None:
    """The fresh tensor with the checkpoint's values, and whether none is left fresh; None where nothing fits."""
    if old is None or old.ndim != fresh.ndim:
        return None
    if not axes:
        return (old, True) if old.shape == fresh.shape else None
    other_axes = [axis for axis in range(fresh.ndim) if axis not in axes]
    if any(old.shape[axis] != fresh.shape[axis] for axis in other_axes) or not all(axes.values()):
        return None
    pairs = [axes.get(axis, [(i, i) for i in range(size)]) for axis, size in enumerate(fresh.shape)]
    if any(max(before for _, before in pairs[axis]) >= old.shape[axis] for axis in axes):
        return None
    new_index, old_index = ([torch.tensor([pair[side] for pair in axis]) for axis in pairs] for side in (0, 1))
    merged = fresh.clone()
    merged[torch.meshgrid(*new_index, indexing="ij")] = old[torch.meshgrid(*old_index, indexing="ij")].to(fresh)
    return merged, all(len(axis) == size for axis, size in zip(pairs, fresh.shape, strict=True))
