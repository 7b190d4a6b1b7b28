"""NME, failure rate, AUC, PCK and their curve against loops over faces and points."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from facekp.config.location import CONF_DIR
from facekp.config.migration import USUAL_METRICS
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.functional.metrics import (
    MetricInput,
    ScoreSettings,
    check_normaliser,
    compute_figures,
    figures_and_ratios,
)

EYES = {"name": "eyes", "names": ["l1", "l2", "r1", "r2", "chin"], "normaliser": None}
NAMED = {"ocular": ["l1", "r2"], "pupil": [["l1", "l2"], ["r1", "r2"]]}


@pytest.fixture(scope="module")
def scored():
    random = np.random.default_rng(0)
    face = np.array([[30, 30], [40, 30], [60, 30], [70, 30], [50, 80]], np.float32)
    truth = (face + random.normal(0, 3, (60, 5, 2))).astype(np.float32)
    truth[random.random((60, 5)) < 0.1] = np.nan
    points = np.nan_to_num(truth) + random.normal(0, 2.5, truth.shape).astype(np.float32)
    return MetricInput(points, truth, np.zeros(60, int), Keypoints.from_dict({**EYES, "normaliser": NAMED}))


def fractions(scored, length):
    """Normalised distances of each face's labelled points, by a function of its labels; faces without it left out."""
    faces = []
    for points, truth in zip(scored.points.astype(float), scored.truth.astype(float), strict=True):
        labelled = [k for k in range(len(truth)) if not np.isnan(truth[k]).any()]
        size = length(truth)
        if np.isfinite(size) and labelled:
            faces.append([np.hypot(*(points[k] - truth[k])) / size for k in labelled])
    return faces


def ocular(truth):
    return np.hypot(*(truth[0] - truth[3]))


def pupil(truth):
    return np.hypot(*((truth[0] + truth[1]) / 2 - (truth[2] + truth[3]) / 2))


def box(truth):
    return np.sqrt(np.prod(np.nanmax(truth, axis=0) - np.nanmin(truth, axis=0)))


def diagonal(truth):
    return np.hypot(*(np.nanmax(truth, axis=0) - np.nanmin(truth, axis=0)))


@pytest.mark.parametrize(
    ("key", "length"),
    [("nme", ocular), ("nme/ocular", ocular), ("nme/pupil", pupil), ("nme/box", box), ("nme/diagonal", diagonal)],
)
def test_the_nme_is_the_mean_over_all_labelled_points(scored, key, length):
    expected = np.mean([fraction for face in fractions(scored, length) for fraction in face])
    assert compute_figures(scored)[key] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("normaliser", "length"), [(None, ocular), ("pupil", pupil), ("box", box)])
def test_failure_rate_auc_pck_and_curve_are_those_of_the_chosen_normaliser(scored, normaliser, length):
    settings = ScoreSettings(normaliser=normaliser, thresholds=[0.05, 0.1], pck=[0.07])
    figures = compute_figures(replace(scored, settings=settings))
    faces = fractions(scored, length)
    nme = np.array([np.mean(face) for face in faces])
    for key, threshold in (("0.05", 0.05), ("0.10", 0.1)):
        assert figures[f"failure_rate/{key}"] == pytest.approx(np.mean(nme > threshold))
        steps = np.linspace(0, threshold, 20001)
        below = [(nme <= step).mean() for step in steps]
        assert figures[f"auc/{key}"] == pytest.approx(np.trapezoid(below, steps) / threshold, abs=1e-4)
    assert 0 < figures["failure_rate/0.10"] < figures["failure_rate/0.05"]  # the thresholds tell faces apart
    assert figures["pck/0.07"] == pytest.approx(np.mean([fraction <= 0.07 for face in faces for fraction in face]))
    curve = figures["nme/curve"]
    assert curve["NME"][-1] == 0.2
    for at in (20, 50, 100):
        assert curve["faces"][at] == pytest.approx((nme <= curve["NME"][at]).mean(), abs=1e-6)


def test_a_face_exactly_at_a_threshold_has_not_failed_and_its_points_are_correct(scored):
    truth = np.array([[[0, 0], [40, 0], [60, 0], [100, 0], [50, 100]]], np.float32)
    settings = ScoreSettings(normaliser="ocular", thresholds=[0.25, 0.5], pck=[0.25])
    exact = MetricInput(truth + np.float32([25, 0]), truth, np.zeros(1, int), scored.keypoints, settings=settings)
    figures = compute_figures(exact)
    assert exact.face_nme.tolist() == [0.25]
    assert figures["failure_rate/0.25"] == 0
    assert figures["pck/0.25"] == 1
    curve = figures["nme/curve"]
    assert curve["faces"][curve["NME"].index(0.25)] == 1


def test_the_interval_of_the_nme_is_that_of_the_scheme_s_first_normaliser(scored):
    _, ratios = figures_and_ratios(scored)
    expected = np.mean([fraction for face in fractions(scored, ocular) for fraction in face])
    assert ratios["nme"].total.sum() / ratios["nme"].count.sum() == pytest.approx(expected)
    one = Keypoints.from_dict({**EYES, "normaliser": {"ocular": NAMED["ocular"]}})
    figures = compute_figures(replace(scored, keypoints=one))
    assert [key for key in figures if key.startswith("nme")] == ["nme", "nme/box", "nme/diagonal", "nme/curve"]


def test_a_scheme_without_a_normaliser_is_scored_by_the_box(scored):
    plain = replace(scored, keypoints=Keypoints.from_dict(EYES))
    figures = compute_figures(plain)
    assert "nme" not in figures
    faces = fractions(scored, box)
    assert figures["failure_rate/0.08"] == pytest.approx(np.mean([np.mean(face) > 0.08 for face in faces]))


def test_without_a_face_that_has_a_length_there_is_no_figure(scored):
    one_point = scored.truth.copy()
    one_point[:, 1:] = np.nan
    figures = compute_figures(replace(scored, truth=one_point))
    assert figures["rmse"] > 0
    assert not [key for key in figures if key.startswith(("nme", "auc", "failure_rate", "pck"))]


def test_without_thresholds_there_is_neither_auc_nor_failure_rate(scored):
    figures = compute_figures(replace(scored, settings=ScoreSettings(thresholds=[], pck=[])))
    assert not [key for key in figures if key.startswith(("auc", "failure_rate", "pck", "nme/curve"))]
    assert figures["nme"] > 0


def test_the_settings_without_a_config_are_those_of_conf():
    conf = yaml.safe_load((CONF_DIR / "metrics" / "default.yaml").read_text())
    assert ScoreSettings().plain() == conf == USUAL_METRICS


def test_an_unknown_normaliser_is_refused_with_the_known_ones(scored, scheme):
    check_normaliser(ScoreSettings(normaliser="pupil"), scored.keypoints)
    message = "metrics.normaliser=pupils: keypoints eyes has no such normaliser; choose one of ocular, pupil, box, diag"
    with pytest.raises(UserError, match=message):
        check_normaliser(ScoreSettings(normaliser="pupils"), scored.keypoints)
    with pytest.raises(UserError, match="choose one of box, diagonal, or null"):
        check_normaliser(ScoreSettings(normaliser="pupil"), scheme)
