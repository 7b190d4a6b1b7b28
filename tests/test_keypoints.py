"""Schemes: channels, sources, mirror order, and what a bad one is told."""

import numpy as np
import pytest

from facekp.errors import UserError
from facekp.keypoints import Keypoints, flip_channels


def test_up_to_eight_values_make_a_row_sparse(scheme):
    assert scheme.source_of(np.array([0, 6, 8, 9, 10, 30])).tolist() == [1, 1, 1, 0, 0, 0]


def test_every_source_and_point_has_a_channel_of_its_own(scheme):
    dense, sparse = scheme.channels(by_source=True)
    own = [scheme.names.index(n) for n in scheme.sources["sparse"]]
    assert dense.tolist() == list(range(15))
    assert sparse[own].tolist() == [15, 16, 17, 18]
    others = np.setdiff1d(np.arange(15), own)
    assert (sparse[others] == others).all()  # what sparse never labels is read from dense
    assert (scheme.channels(by_source=False) == np.arange(15)).all()


def test_mirroring_swaps_left_and_right_in_both_sources(scheme):
    order = scheme.flip_order()
    for k, name in enumerate(scheme.names):
        mirrored = scheme.names[order[k]]
        swap = name.replace("left", "#").replace("right", "left").replace("#", "right")
        assert mirrored == swap
    channels = scheme.channels(by_source=True)
    flipped = flip_channels(channels, order)
    for s in range(2):
        assert (flipped[channels[s]] == channels[s][order]).all()


def test_a_scheme_survives_its_plain_form(scheme):
    assert Keypoints.from_dict(scheme.to_dict()) == scheme


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"names": ["a", "a"]}, "'a' stands twice"),
        ({"pairs": [["a", "z"]]}, "'z' is not among names"),
        ({"sources": {"some": ["a"]}}, "sources.some is the first source"),
    ],
)
def test_a_bad_scheme_is_named(change, told):
    good = {
        "name": "x",
        "names": ["a", "b"],
        "pairs": [],
        "lines": [],
        "sources": {"all": None},
        "normaliser": ["a", "b"],
    }
    with pytest.raises(UserError, match=told):
        Keypoints.from_dict({**good, **change})
