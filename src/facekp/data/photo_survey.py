"""Looks at photos that belong together before they are read: how their deep levels are scaled, what is left out.

Only the header of a photo is read, unless it has more than 8 bits per channel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.console import count
from facekp.data.image_formats.deep_levels import deep_levels
from facekp.data.image_formats.grey_levels import Extent, Scale, Scales, common_scales, extent_of, is_dark, scale_of
from facekp.data.images import UnreadableImage, count_pages, is_animation, open_image

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Survey:
    """What `_look_at` has seen in the photos.

    Attributes:
        deep: extents of the photos with more than 8 bits per channel.
        holes: those of them with levels that are NaN or infinite.
        animations: files with pictures that follow each other in time.
        pages: files with several pages.
    """

    deep: dict[str, Extent]
    holes: list[str]
    animations: list[str]
    pages: list[str]


def survey_photos(files: Iterable[str], animations: bool = False) -> Scales:
    """The scales that the deep levels of photos share. The log says how deep levels and several pictures are read.

    Args:
        files: paths; those that can't be read as photos are passed over.
        animations: whether all pictures of an animation are read, not only the first.
    """
    seen = _look_at(files)
    scales = common_scales(seen.deep.values())
    if seen.deep:
        parts = [_described(scale) for scale in (scales.whole, scales.fractional) if scale]
        log.info("%s with more than 8 bits per channel: %s", count(len(seen.deep), "photo"), " and ".join(parts))
    dark = [name for name, extent in seen.deep.items() if is_dark(extent, scales)]
    _warn(dark, "nearly black at this scale: convert them to 8 bits per channel")
    _warn(seen.holes, "with levels that are NaN or infinite: NaN is read as black")
    _warn(
        seen.pages,
        "with several pages: the first page that is not a thumbnail is read; save the others as files of their own",
    )
    if not animations:
        _warn(seen.animations, "with several pictures (animations): the first picture is read")
    return scales


def _look_at(files: Iterable[str]) -> _Survey:
    seen = _Survey({}, [], [], [])
    for name in files:
        try:
            with open_image(name) as opened:
                if is_animation(opened):
                    seen.animations.append(name)
                if count_pages(opened) > 1:
                    seen.pages.append(name)
                deep = deep_levels(opened, name)
                if deep is None:
                    continue
                extent = extent_of(deep.colours, deep.is_negative)
                scale_of(extent)
        except (UnreadableImage, UnidentifiedImageError):
            continue
        seen.deep[name] = extent
        if not extent.whole and not np.isfinite(deep.colours).all():
            seen.holes.append(name)
    return seen


def _described(scale: Scale) -> str:
    return f"levels {scale.black:g} to {scale.white:g} become 0 to 255"


def _warn(names: list[str], what: str) -> None:
    if names:
        log.warning("%s %s; the first: %s", count(len(names), "photo"), what, names[0])
