"""Subsets of faces by the values of their attributes: ``data.only`` reads some, ``data.held_out`` validates on some.

Faces come in, as a table or as a label file describes them, and a mapping such as ``{"split": ["train", "val"]}``. A
bool for each face goes out: whether every attribute of the mapping has one of its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from facekp.core.console import listed
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import did_you_mean
from facekp.data.labels.face import LabelledFace
from facekp.data.table import FaceTable

SOURCE = "source"  # an attribute of all faces: the name of the convention that they are labelled by
Attributes = dict[str, np.ndarray]  # str (N,) by name; "" where a face has no value


def subset_of_table(table: FaceTable, subset: Mapping[str, Sequence[str]], key: str) -> np.ndarray:
    """Which rows of a table are in a subset, bool (N,).

    Args:
        table: N rows.
        subset: the values of each attribute.
        key: of the setting, for messages.

    Raises:
        UserError: no row has such an attribute, or such a value.
    """
    return _chosen(attributes_of_table(table), subset, key)


def subset_of_faces(
    faces: Sequence[LabelledFace], keypoints: Keypoints, subset: Mapping[str, Sequence[str]], key: str
) -> np.ndarray:
    """Which faces of a label file are in a subset, bool (N,); arguments and errors as for `subset_of_table`."""
    names = dict.fromkeys(name for face in faces for name in face.attributes)
    values = {name: np.array([face.attributes.get(name, "") for face in faces], str) for name in names}
    sources = np.array(keypoints.source_names)[[face.source for face in faces]]
    return _chosen({SOURCE: sources, **values}, subset, key)


def attributes_of_table(table: FaceTable) -> Attributes:
    """The attributes of a table, and `SOURCE` unless it has another attribute of that name."""
    return {SOURCE: np.array(table.keypoints.source_names)[table.source], **table.attributes}


def check_attribute(name: str, attributes: Attributes, key: str) -> None:
    """Refuse an attribute that no face has.

    Raises:
        UserError: names the attributes that there are.
    """
    if name not in attributes:
        raise UserError(
            f"{key}: the faces have no attribute {name!r}{did_you_mean(name, attributes)}; they have "
            f"{listed(list(attributes))}"
        )


def _chosen(attributes: Attributes, subset: Mapping[str, Sequence[str]], key: str) -> np.ndarray:
    chosen = np.ones(len(attributes[SOURCE]), dtype=bool)
    for name, wanted in subset.items():
        check_attribute(name, attributes, key)
        values = attributes[name]
        known = np.unique(values).tolist()
        for value in wanted:
            if value not in known:
                equal = [
                    other for other in known if _number(other) == _number(value)
                ]  # YAML reads 03 and 1e5 as numbers
                hint = f"; write '{equal[0]}' in quotes" if equal else did_you_mean(value, known)
                raise UserError(
                    f"{key}.{name}={value}: no face has this value{hint}; there are "
                    f"{listed([other for other in known if other], noun='values')}"
                )
        chosen &= np.isin(values, wanted)
    if not chosen.any():
        raise UserError(f"{key}: no face has all of these values; choose values that occur together")
    return chosen


def _number(text: str) -> float:
    """The number that a text is, or NaN."""
    try:
        return float(text)
    except ValueError:
        return np.nan
