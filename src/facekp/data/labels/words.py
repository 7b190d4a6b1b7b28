"""Words that label files use for true, for points that are labelled but hidden, and for the parts of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facekp.data.labels.json_values import shown

YES = ("1", "true", "yes")  # in any case
HIDDEN = ("occluded", "hidden", "invisible")  # names and values of attributes, in any case
SPLIT = "split"  # attribute with the part of the data set that a face is in
TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")  # its values


def is_hidden(value: Any) -> bool:
    """Whether a name or a value is one of the `HIDDEN` words."""
    return isinstance(value, str) and value.strip().lower() in HIDDEN


def says_hidden(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a point say that it is hidden.

    Example:
        >>> says_hidden({"Occluded": True}), says_hidden({"state": "hidden"}), says_hidden({"state": {"hidden": True}})
        (True, True, True)
        >>> says_hidden({"occluded": "no", "state": "visible"})
        False
    """
    for name, value in attributes.items():
        if isinstance(value, Mapping):  # boxes that were ticked
            if any(is_hidden(key) and _is_yes(ticked) for key, ticked in value.items()):
                return True
        elif is_hidden(value) or (is_hidden(name) and _is_yes(value)):
            return True
    return False


def _is_yes(value: Any) -> bool:
    return (value if isinstance(value, str) else shown(value)).strip().lower() in YES
