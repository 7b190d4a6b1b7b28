"""Labels of drawn faces: missing, wrong and noisy ones, as in the real data."""

import numpy as np
import pytest

from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.faces import draw_faces
from facekp.data.synthetic.labelling import Mixture
from facekp.data.table import FaceTable
from tests.data.synthetic.samples import pooled

QUIET = Mixture(missing=0, duplicates=0, wrong=0, noise=(0, 0))


def test_points_are_missing_as_in_the_real_data(drawn: FaceTable, keypoints: Keypoints) -> None:
    dense, sparse = drawn.mask[drawn.source == 0], drawn.mask[drawn.source == 1]
    assert 0.02 < (~dense).any(axis=1).mean() < 0.12
    missing = dict(zip(keypoints.names, (~dense).sum(axis=0), strict=True))
    assert missing["left_eyebrow_outer_end"] + missing["right_eyebrow_outer_end"] > 0.3 * (~dense).sum()
    assert missing["nose_tip"] == 0
    assert 0 < (sparse.sum(axis=1) == 3).sum() < 0.02 * len(sparse)
    assert not sparse[:, ~keypoints.labels_of("sparse")].any()


def test_the_two_sources_label_different_points_as_nose_and_lip(keypoints: Keypoints) -> None:
    """One face under both conventions; the offsets are those between the real sources' means."""
    dense, sparse = (
        draw_faces(40, 1, keypoints, Mixture(dense, 0, 0, 0, (0, 0))).points.astype(float) for dense in (1, 0)
    )
    both = keypoints.labels_of("sparse")
    names = np.array(keypoints.names)[both]
    difference = dict(zip(names, np.nanmean((sparse - dense)[:, both], axis=0), strict=True))
    np.testing.assert_allclose(difference["left_eye_center"], 0, atol=1e-6)
    assert difference["nose_tip"][1] == pytest.approx(7.8, abs=1.5)
    assert difference["mouth_center_bottom_lip"][1] == pytest.approx(-5.1, abs=1.5)


def test_wrong_labels_exist_but_do_not_dominate_the_error(keypoints: Keypoints) -> None:
    clean = draw_faces(200, 7, keypoints, QUIET).points.astype(float)
    wrong_points = draw_faces(200, 7, keypoints, Mixture(missing=0, duplicates=0, wrong=0.2, noise=(0, 0))).points
    errors = wrong_points - clean
    wrong = np.nan_to_num(np.abs(errors)).max(axis=(1, 2)) > 3
    assert wrong.mean() == pytest.approx(0.2, abs=0.08)
    assert Mixture().wrong < 0.005
    assert pooled(errors) * np.sqrt(Mixture().wrong / 0.2) < 0.5


def test_label_noise_has_each_sources_size(keypoints: Keypoints) -> None:
    clean = draw_faces(200, 7, keypoints, QUIET)
    noisy = draw_faces(200, 7, keypoints, Mixture(missing=0, duplicates=0, wrong=0, noise=(0.5, 1.0)))
    for source, size in ((0, 0.5), (1, 1.0)):
        rows = clean.source == source
        assert pooled((noisy.points - clean.points)[rows].astype(float)) == pytest.approx(size, rel=0.12)
