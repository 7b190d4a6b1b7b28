"""Settings of a keypoint model: its network, its targets, and how heatmaps are decoded.

`ModelSettings` is the config group ``model``. `DecoderSettings` is ``decoder`` of a training and of a checkpoint;
`DecoderOverride` is ``decoder`` of all commands that load one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from facekp.core.settings import NonNegative, Positive, Settings, one_of
from facekp.functional.decoders import DECODERS
from facekp.networks.base import NETWORKS, NetworkSettings


class NormaliseSettings(Settings):
    """``model.normalise``: network input = (pixel - mean) / std.

    Attributes:
        mean: in grey levels.
        std: in grey levels.
    """

    mean: float
    std: Positive


class ModelSettings(Settings):
    """``model``: the network and the heatmaps it learns.

    Attributes:
        network: name and settings of a network in `facekp.networks.base.NETWORKS`.
        by_source: a separate heatmap channel for each pair of source and point; False: the sources share K channels.
        sigma: of the target Gaussian, in heatmap cells; a narrower one lies within one cell.
        normalise: mean and standard deviation by which input images are normalised.
    """

    network: Annotated[NetworkSettings, NETWORKS.validator]
    by_source: bool
    sigma: Annotated[float, Field(ge=0.05)]
    normalise: NormaliseSettings


def _is_decoder(rule: str) -> str:
    if rule not in DECODERS:
        raise ValueError(one_of(DECODERS, rule))
    return rule


Rule = Annotated[str, AfterValidator(_is_decoder)]
Scale = Annotated[float, Field(ge=0, le=0.5)]


class DecoderSettings(Settings):
    """``decoder``: how heatmaps become points.

    Attributes:
        rule: a name in `facekp.functional.decoders.DECODERS`.
        floor: confidence below which the mean face replaces a predicted point.
        flip: average the raw heatmaps with those of the mirrored image.
        shift: pixels; above 0, also predict on four views that are moved this far left, right, up and down.
        scale: fraction; above 0, also predict on two views that are enlarged and shrunk by it.
    """

    rule: Rule
    floor: NonNegative
    flip: bool
    shift: NonNegative
    scale: Scale


ViewsChoice = Literal["one", "all"]  # ``views`` of a command: the image itself, or all views of the decoder
Engine = Literal["auto", "torch", "onnx"]  # what runs the network of a checkpoint (`facekp.models.engine`)
ONE_VIEW = {"shift": 0.0, "scale": 0.0}


class DecoderOverride(Settings):
    """``decoder`` of a command that loads a checkpoint; None keeps the checkpoint's value.

    Attributes: as in `DecoderSettings`.

    Example:
        >>> decoder = DecoderSettings(rule="mean", floor=0.0, flip=True, shift=0.0, scale=0.05)
        >>> DecoderOverride(flip=False).applied_to(decoder)
        DecoderSettings(rule='mean', floor=0.0, flip=False, shift=0.0, scale=0.05)
    """

    rule: Rule | None = None
    floor: NonNegative | None = None
    flip: bool | None = None
    shift: NonNegative | None = None
    scale: Scale | None = None

    def changes(self) -> dict[str, Any]:
        """The values that are not None."""
        return {key: value for key, value in self.plain().items() if value is not None}

    def for_views(self, views: ViewsChoice) -> DecoderOverride:
        """These changes with ``views=one``: without other views, except those of ``shift`` and ``scale`` given here.

        Example:
            >>> DecoderOverride(scale=0.1).for_views("one").changes()
            {'shift': 0.0, 'scale': 0.1}
        """
        return self if views == "all" else DecoderOverride(**{**ONE_VIEW, **self.changes()})

    def applied_to(self, decoder: DecoderSettings) -> DecoderSettings:
        """The decoder with these changes."""
        return decoder.replaced(**self.changes())
