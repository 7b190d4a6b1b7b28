"""Schemes: channels, sources, mirror order, and errors of invalid schemes."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints, KeypointsField, flip_channels
from facekp.core.settings import Settings, parse

FIXTURES = Path(__file__).parent.parent / "fixtures"


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


def test_labels_of_a_source_lie_to_one_side_by_its_offset(scheme):
    dense, sparse = scheme.offsets({"dense": 0.5, "sparse": -1})
    assert (dense == [0.5, 0]).all()
    own = scheme.labels_of("sparse")
    assert (sparse[own] == [-1, 0]).all()
    assert (sparse[~own] == [0.5, 0]).all()  # read from dense's channels
    assert (scheme.offsets({"sparse": 2})[0] == 0).all()
    assert (scheme.offsets(None) == 0).all()
    with pytest.raises(UserError, match=r"offsets: 'spare' is not a source of kaggle15; choose from dense, sparse"):
        scheme.offsets({"spare": 1.0})


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


def test_a_name_and_names_are_all_that_a_scheme_needs():
    scheme = Keypoints.from_dict({"name": "x", "names": ["a", 7]})
    assert scheme.columns == ["a_x", "a_y", "7_x", "7_y"]
    assert scheme.source_names == ["default"]
    assert scheme.flip_order().tolist() == [0, 1]
    assert (scheme.pairs, scheme.lines, scheme.normaliser) == ((), (), None)
    assert Keypoints.from_dict(scheme.to_dict()) == scheme


# As https://github.com/HRNet/HRNet-Facial-Landmark-Detection mirrors 300-W, counted from 1.
PAIRS_300W = [
    [1, 17], [2, 16], [3, 15], [4, 14], [5, 13], [6, 12], [7, 11], [8, 10], [18, 27], [19, 26], [20, 25], [21, 24],
    [22, 23], [32, 36], [33, 35], [37, 46], [38, 45], [39, 44], [40, 43], [41, 48], [42, 47], [49, 55], [50, 54],
    [51, 53], [62, 64], [61, 65], [68, 66], [59, 57], [60, 56],
]  # fmt: skip


def test_ibug68_mirrors_as_others_do_and_names_its_points_by_their_number():
    scheme = Keypoints.from_dict(yaml.safe_load((CONF_DIR / "keypoints" / "ibug68.yaml").read_text()))
    assert [int(name.rsplit("_", 1)[1]) for name in scheme.names] == list(range(68))
    expected = np.arange(68)
    for one, other in PAIRS_300W:
        expected[[one - 1, other - 1]] = other - 1, one - 1
    assert scheme.flip_order().tolist() == expected.tolist()
    ends = {
        name: [[scheme.names.index(point) for point in group] for group in groups]
        for name, groups in scheme.normalisers.items()
    }
    assert ends == {"ocular": [[45], [36]], "pupil": [[*range(42, 48)], [*range(36, 42)]]}
    for left, right in scheme.pairs:  # the person's own left is on the right of the image
        assert left.startswith("left") or not left.startswith("right")
        assert right.replace("right", "left").rsplit("_", 1)[0] == left.rsplit("_", 1)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": []}, "names: is empty"),
        ({"names": "ab"}, "TypeError: 'ab' is a text; a list of names is needed"),
        ({"names": ["a", "a"]}, "names: 'a' is duplicated"),
        ({"pairs": [["a", "b"], ["b", "a"]]}, "pairs: 'b' is duplicated"),
        ({"pairs": [["a", "a"]]}, "pairs: 'a' is duplicated"),
        ({"pairs": [["a"]]}, r"pairs: \['a'\] must have two entries, not 1"),
        ({"lines": [["a"]]}, r"lines: \['a'\] is too short"),
        ({"normaliser": ["b", "b"]}, r"normaliser: \['b', 'b'\] has length 0"),
        ({"normaliser": ["a", "z"]}, "'z' is not among names"),
        ({"normaliser": "ab"}, "TypeError: 'ab' is a text; a list of two points, or of two lists of points"),
        ({"normaliser": ["a", "b", "a"]}, r"^keypoints: normaliser: \['a', 'b', 'a'\] must have two entries, not 3$"),
        ({"normaliser": {"eyes": [["a", "b"]]}}, r"normaliser: \[\['a', 'b'\]\] must have two entries, not 1"),
        ({"pairs": [["a", "b", "c"]]}, r"^keypoints: pairs: \['a', 'b', 'c'\] must have two entries, not 3$"),
        ({"normaliser": [["a", "b"], ["b", "a"]]}, r"normaliser: \[\['a', 'b'\], \['b', 'a'\]\] has length 0"),
        ({"normaliser": [["a"], []]}, "normaliser: a group is empty"),
        ({"normaliser": [["a", "a"], ["b"]]}, "normaliser: 'a' is duplicated"),
        ({"normaliser": {"eyes": ["a", ["z"]]}}, "'z' is not among names"),
        ({"normaliser": {"box": ["a", "b"]}}, "normaliser.box: not a valid name"),
        ({"sources": {"a": None}}, "'a' is the name of another metric"),
        ({"sources": {"all": None}}, "'all' is the name of another metric"),
        ({"sources": {"subset": None}}, "'subset' is the name of another metric"),
        ({"pairs": [["a", "z"]]}, "'z' is not among names"),
        ({"pair": [["a", "b"]]}, r"^keypoints\.pair: unknown key; did you mean pairs\?$"),
        ({"zebra": 1}, r"^keypoints\.zebra: unknown key; the keys here are name, names, pairs"),
        ({"names": [True, "b"]}, "^keypoints: names: true is not a text; quote it$"),
        ({"names": ["a", None]}, "names: null is not a text; quote it"),
        ({"names": ["a", 1.1]}, r"names: 1\.1 is not a text; quote it"),
        ({"names": ["a", ["b"]]}, r"names: \['b'\] is not a text; give the name of a point"),
        ({"names": True}, "names: true is not a list of names"),
        ({"name": None}, "name: null is not a text"),
        ({"pairs": [["a", False]]}, "pairs: false is not a text"),
        ({"lines": [["a", None]]}, "lines: null is not a text"),
        ({"sources": {True: None}}, "sources: true is not a text"),
        ({"sources": {"s": True}}, r"sources\.s: true is not a list of names"),
        ({"normaliser": ["a", True]}, "normaliser: true is not a text"),
        ({"names": ["a", "b", "c\nd"]}, "has a line break or a control character"),
        ({"names": ["a", "b", "c\u2028d"]}, "has a line break or a control character"),
        ({"names": ["a", "b", "c\x00"]}, "has a line break or a control character"),
        ({"names": ["a", "b", "\u00e9", "e\u0301"]}, "'\u00e9' is written in two ways in Unicode"),
        ({"sources": {"some": ["a"]}}, "sources.some: the first source must label every point"),
    ],
)
def test_an_invalid_scheme_is_refused_with_its_fault(change, message):
    good = {
        "name": "x",
        "names": ["a", "b"],
        "pairs": [],
        "lines": [],
        "sources": {"all": None},
        "normaliser": ["a", "b"],
    }
    with pytest.raises(UserError, match=message):
        Keypoints.from_dict({**good, **change})


def test_a_setting_names_an_unknown_key_of_a_scheme_once():
    class OfScheme(Settings):
        keypoints: KeypointsField

    with pytest.raises(UserError, match=r"^keypoints\.pair: unknown key; did you mean pairs\?$"):
        parse(OfScheme, {"keypoints": {"name": "x", "names": ["a", "b"], "pair": [["a", "b"]]}})
    with pytest.raises(UserError, match=r"^keypoints: names: true is not a text; quote it$"):
        parse(OfScheme, {"keypoints": {"name": "x", "names": [True, False]}})


def test_schemes_of_older_versions_load():
    for run in sorted((FIXTURES / "v0_1").glob("*/config.yaml")):
        scheme = Keypoints.from_dict(yaml.safe_load(run.read_text())["keypoints"])
        assert len(scheme.names) == 15
    quoted = Keypoints.from_dict({"name": "x", "names": ["True", "null", "1.1"], "sources": {"all_": []}})
    assert quoted.sources == {"all_": ("True", "null", "1.1")}  # as older versions read an empty list


def test_normalisers_are_pairs_of_points_or_of_groups_alone_or_by_name():
    raw = {"name": "x", "names": ["a", "b", "c"]}
    of = {
        "points": ["a", "b"],
        "groups": [["a", "b"], ["c"]],
        "mixed": ["a", ["b", "c"]],
    }
    expected = {
        "points": (("a",), ("b",)),
        "groups": (("a", "b"), ("c",)),
        "mixed": (("a",), ("b", "c")),
    }
    for name, normaliser in of.items():
        scheme = Keypoints.from_dict({**raw, "normaliser": normaliser})
        assert scheme.normalisers == {"": expected[name]}
        assert scheme.to_dict()["normaliser"] == normaliser  # as it is written, also by older versions
    named = Keypoints.from_dict({**raw, "normaliser": of})
    assert named.normalisers == expected
    assert Keypoints.from_dict(named.to_dict()) == named
    assert Keypoints.from_dict({**raw, "normaliser": dict(reversed(of.items()))}) != named  # the first is the usual one
    assert Keypoints.from_dict(raw).normalisers == {}


class Scheme(Settings):
    keypoints: KeypointsField


def test_settings_hold_a_scheme_and_give_its_plain_form_back(scheme):
    settings = parse(Scheme, {"keypoints": scheme.to_dict()})
    assert settings.keypoints == scheme
    assert settings.plain() == {"keypoints": scheme.to_dict()}
    assert Scheme(keypoints=scheme).keypoints is scheme


def test_settings_name_the_fault_of_an_invalid_scheme():
    with pytest.raises(UserError, match=r"^keypoints: scheme x: names: 'a' is duplicated"):
        parse(Scheme, {"keypoints": {"name": "x", "names": ["a", "a"]}})
