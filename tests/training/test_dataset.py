"""What is checked of a training's data before it starts."""

import pytest

from facekp.core.keypoints import Keypoints
from facekp.data.labels.scheme_guess import shipped_schemes
from facekp.training.dataset import warn_of_unpaired


@pytest.mark.parametrize(
    ("names", "pairs", "lacking"),
    [
        (["left_eye", "nose", "right_eye"], [], "pairs lacks [left_eye, right_eye]: "),
        (["l_eye", "r_eye", "l_ear", "r_ear"], [["l_eye", "r_eye"]], "pairs lacks [l_ear, r_ear]: "),
        (["left_eye", "right_eye"], [["left_eye", "right_eye"]], ""),
        (["left_a", "right_a", "left_b", "right_b"], [["left_a", "right_b"], ["left_b", "right_a"]], ""),
        (["left_eye", "nose"], [], ""),
    ],
)
def test_sides_that_a_mirror_image_does_not_exchange_are_reported(names, pairs, lacking, caplog):
    warn_of_unpaired(Keypoints.from_dict({"name": "mine", "names": names, "pairs": pairs}))
    assert lacking in caplog.text
    assert bool(caplog.text) == bool(lacking)


def test_shipped_schemes_have_all_their_pairs(caplog):
    for scheme in shipped_schemes():
        warn_of_unpaired(scheme)
    assert not caplog.text
