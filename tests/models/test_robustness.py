"""Figures for corrupted images: against those of tables that are corrupted and scored by hand."""

import numpy as np
import pytest

from facekp.core.settings import parse
from facekp.data.corruptions import CORRUPTIONS, Condition, CorruptionSettings, corrupted_table
from facekp.functional.metrics import MetricInput
from facekp.functional.metrics.pixels import corrupted_rmse
from facekp.models.ensemble import load_models, predict_table
from facekp.models.prediction import Prediction
from facekp.models.robustness import (
    CorruptedFaces,
    corrupted_reliability,
    corruptions_frame,
    predict_corrupted,
)
from facekp.models.scoring import compute_metrics, score_models
from tests.conftest import REPOSITORY


def settings(**strengths):
    return parse(CorruptionSettings, {"seed": 0, **{name: [] for name in CORRUPTIONS}, **strengths}, "corruptions")


@pytest.fixture(scope="module")
def models():
    return load_models(str(REPOSITORY / "tests" / "fixtures" / "v0_1" / "run" / "checkpoints" / "best.ckpt"))


@pytest.fixture(scope="module")
def few(faces):
    return faces.take(np.arange(20))


def test_each_row_is_the_figure_of_a_table_that_is_corrupted_alone(models, few):
    corrupted = predict_corrupted(models, few, settings(noise=[20.0], shift=[4.0, 12.0]))
    clean = predict_table(models, few)
    frame = corruptions_frame(few, clean, corrupted)
    assert frame["corruption"].tolist() == ["none", "noise", "shift", "shift"]
    assert frame["strength"].tolist() == [0, 20, 4, 12]
    alone = corrupted_table(few, [Condition("shift", 12.0)], 0)
    by_hand = compute_metrics(predict_table(models, alone).points, alone)
    for key in ("rmse", "rmse/trimmed", "rmse/dense", "rmse/sparse"):
        assert frame[key].iloc[3] == pytest.approx(by_hand[key])
    assert frame["points"].iloc[3] == alone.mask.sum() < frame["points"].iloc[0] == few.mask.sum()
    assert frame["rmse"].iloc[0] == pytest.approx(compute_metrics(clean.points, few)["rmse"])
    assert "expected_error" not in frame


def test_without_strengths_nothing_is_predicted(models, few):
    assert predict_corrupted(models, few, settings()) is None


def test_the_metric_is_the_mean_over_corruptions_of_the_mean_over_strengths(models, few):
    corrupted = predict_corrupted(models, few, settings(noise=[20.0], shift=[4.0, 12.0]))
    frame = corruptions_frame(few, predict_table(models, few), corrupted)
    by_corruption = frame.groupby("corruption")["rmse/trimmed"].mean()
    metrics, _ = score_models(models, few, few, corrupted.scored())
    assert metrics["rmse/corrupted"] == pytest.approx((by_corruption["noise"] + by_corruption["shift"]) / 2)
    assert "rmse/corrupted" not in metrics["mean_face"]
    assert "rmse/corrupted" not in score_models(models, few, few).metrics


def test_strengths_that_leave_no_labelled_point_do_not_count(scheme):
    truth = np.full((3, 15, 2), np.nan, np.float32)
    nothing = MetricInput(truth * 0, truth, np.zeros(3, int), scheme)
    off = MetricInput(np.zeros_like(truth), np.full_like(truth, 2), np.zeros(3, int), scheme)
    assert corrupted_rmse.compute(MetricInput(*vars_of(off), corrupted={"a": [off, nothing], "b": [nothing]})) == 2
    assert np.isnan(corrupted_rmse.compute(MetricInput(*vars_of(off), corrupted={"b": [nothing]})))


def vars_of(scored):
    return scored.points, scored.truth, scored.source, scored.keypoints


def fake(few, expected, error):
    """Predictions for two conditions that are ``error`` pixels right of the labels, and the errors expected of them."""
    table = corrupted_table(few, [Condition("darkness", 0.5), Condition("darkness", 0.25)], 0)
    points = table.points + np.stack([error, np.zeros_like(error)], axis=-1)
    return CorruptedFaces(
        [Condition("darkness", 0.5), Condition("darkness", 0.25)],
        table,
        Prediction(points, expected * 0, None, expected),
    )


def test_expected_errors_are_compared_with_measured_ones_over_all_conditions(few):
    random = np.random.default_rng(0)
    expected = random.uniform(1, 5, (40, 15)).astype(np.float32)
    tenths = corrupted_reliability(fake(few, expected, 1.25 * expected))
    assert tenths["points"] == 2 * few.mask.sum()
    assert len(tenths["expected"]) == 10
    assert np.array(tenths["measured"]) / tenths["expected"] == pytest.approx(1.25, rel=0.03)
    assert tenths["largest_deviation"] == pytest.approx(0.25, abs=0.03)
    frame = corruptions_frame(
        few, Prediction(few.points, expected[:20], None, expected[:20]), fake(few, expected, expected)
    )
    assert frame["expected_error"].iloc[1] == pytest.approx(expected[:20][few.mask].mean(), rel=1e-5)
    assert frame["error"].iloc[1] == pytest.approx(frame["expected_error"].iloc[1], rel=0.05)


def test_models_that_are_not_calibrated_have_no_comparison(models, few):
    assert corrupted_reliability(predict_corrupted(models, few, settings(noise=[20.0]))) is None


def test_errors_of_shrunk_faces_are_in_pixels_of_the_images_as_they_were(few):
    table = corrupted_table(few, [Condition("scale", 0.5)], 0)
    expected = np.full((20, 15), 0.5, np.float32)
    beside = Prediction(table.points + np.float32([0.5, 0]), expected, None, expected)
    frame = corruptions_frame(
        few,
        Prediction(few.points, expected, None, expected),
        shrunk := CorruptedFaces([Condition("scale", 0.5)], table, beside),
    )
    assert frame["error"].tolist() == pytest.approx([0, 1])
    assert frame["rmse"].iloc[1] == pytest.approx(0.5**0.5)  # 1 px along x, 0 along y
    assert frame["expected_error"].tolist() == pytest.approx([0.5, 1])
    assert corrupted_reliability(shrunk)["expected"] == pytest.approx([1] * 10)
