"""Metrics against numpy; pooled errors in uneven batches and in two processes; metrics of plug-ins."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributed

from facekp.core.errors import UserError
from facekp.functional.metrics import (
    METRICS,
    Curve,
    Metric,
    MetricInput,
    Ratio,
    all_metrics,
    compute_figures,
    epoch_metrics,
    keys_of,
    mean_face,
    metric,
    metric_of,
    metrics_shown,
    trimmed_mean,
)
from facekp.functional.pooled_errors import KeypointErrors
from tests.forked import CONTEXT


def labelled(scheme, n=37, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(n, 15, 2, generator=generator) * 95
    truth[torch.rand(n, 15, generator=generator) < 0.5] = torch.nan
    truth[0, :2] = torch.tensor([[60.0, 40.0], [30.0, 40.0]])  # one face whose eyes are labelled
    found = torch.nan_to_num(truth) + 2 * torch.randn(n, 15, 2, generator=generator)
    return found, truth, torch.randint(0, 2, (n,), generator=generator)


def by_hand(found, truth, source, scheme):
    error = (found - truth).numpy().astype(np.float64)
    rmse = lambda e: np.sqrt(np.nanmean(e**2))  # noqa: E731
    figures = {"rmse": rmse(error)}
    for s, name in enumerate(scheme.source_names):
        figures[f"rmse/{name}"] = rmse(error[source.numpy() == s])
    for k, name in enumerate(scheme.names):
        figures[f"rmse/{name}"] = rmse(error[:, k])
    distance = np.linalg.norm(error, axis=-1)
    eyes = np.linalg.norm((truth[:, 0] - truth[:, 1]).numpy(), axis=-1)
    figures["nme"] = np.nanmean(distance / eyes[:, None])
    return figures, distance


def test_figures_equal_numpy_whatever_the_batches(scheme):
    found, truth, source = labelled(scheme)
    expected, distance = by_hand(found, truth, source, scheme)
    errors = KeypointErrors(scheme)
    for part in torch.arange(37).split([1, 20, 3, 13]):
        errors.update(found[part], truth[part], source[part])
    summary = errors.summary()
    for name, value in expected.items():
        assert summary[name] == pytest.approx(value, rel=1e-5), name
    assert summary["labelled_values"] == np.isfinite(truth.numpy()).sum()
    at = summary["curve"]["pixels"].index(3.0)
    assert summary["curve"]["share"][at] == pytest.approx((distance[~np.isnan(distance)] < 3.0).mean(), abs=1e-6)


def test_without_a_normaliser_there_is_no_nme(scheme):
    plain = replace(scheme, normaliser=None)
    errors = KeypointErrors(plain)
    errors.update(*labelled(plain))
    figures = errors.summary()
    assert "nme" not in figures
    assert figures["rmse"] > 0


def test_the_nme_of_two_points_is_that_of_older_versions_to_the_bit(scheme):
    found, truth, source = labelled(scheme)
    errors = KeypointErrors(scheme)
    errors.update(found, truth, source)
    left, right = truth[:, [0, 1]].unbind(dim=1)
    fraction = (found - truth).norm(dim=-1) / (left - right).norm(dim=-1)[:, None]
    assert errors.compute()["nme"] == fraction.nansum() / (~fraction.isnan()).sum()


def test_the_nme_of_groups_divides_by_the_distance_of_their_means(scheme):
    found, truth, source = labelled(scheme, n=300)
    left, right = ("left_eye_center", "nose_tip"), ("right_eye_center",)
    errors = KeypointErrors(replace(scheme, normaliser=(left, right)))
    errors.update(found, truth, source)
    faces = truth.numpy().astype(float)
    length = np.linalg.norm((faces[:, 0] + faces[:, 10]) / 2 - faces[:, 1], axis=-1)
    expected = np.nanmean(np.linalg.norm(found.numpy() - faces, axis=-1) / length[:, None])
    assert errors.compute()["nme"].item() == pytest.approx(expected, rel=1e-5)


def test_a_face_whose_normalising_points_lie_in_one_place_does_not_count_in_the_nme(scheme):
    truth = torch.zeros(2, 15, 2)
    truth[0, 0] = torch.tensor([50.0, 0.0])  # the other face has both eyes at the origin
    errors = KeypointErrors(scheme)
    errors.update(truth + torch.tensor([5.0, 0.0]), truth, torch.zeros(2))
    assert errors.compute()["nme"].item() == pytest.approx(0.1)


def test_a_prediction_that_is_nan_makes_no_error_look_small(scheme):
    found, truth, source = labelled(scheme)
    found[0, 0] = torch.nan
    errors = KeypointErrors(scheme)
    errors.update(found, truth, source)
    figures = errors.summary()
    assert "rmse" not in figures
    assert f"rmse/{scheme.names[0]}" not in figures
    assert figures[f"rmse/{scheme.names[1]}"] > 0


def test_the_curve_goes_from_a_tenth_of_a_pixel_to_twenty(scheme):
    truth = torch.full((4, 15, 2), torch.nan)
    truth[:, 0] = 0
    found = torch.zeros(4, 15, 2)
    found[:, 0, 0] = torch.tensor([0.05, 7.25, 19.97, 25.0])
    errors = KeypointErrors(scheme)
    errors.update(found, torch.full_like(truth, torch.nan), torch.zeros(4))
    assert set(errors.summary()["curve"]["share"]) == {0.0}  # no label yet
    errors.update(found, truth, torch.zeros(4))
    curve = errors.summary()["curve"]
    assert curve["pixels"] == pytest.approx([0.1 * i for i in range(1, 201)])
    expected = [np.mean(found[:, 0, 0].numpy() < pixels) for pixels in curve["pixels"]]
    assert curve["share"] == pytest.approx(expected)


def test_a_mean_of_batch_figures_would_be_wrong(scheme):
    truth = torch.zeros(4, 15, 2)
    errors = KeypointErrors(scheme)
    errors.update(truth[:3] + 1, truth[:3], torch.zeros(3))
    errors.update(truth[3:] + 5, truth[3:], torch.zeros(1))
    assert errors.compute()["rmse"].item() == pytest.approx(np.sqrt((3 * 1 + 25) / 4))


def test_mean_face_is_by_source_and_falls_back_to_all_rows(scheme):
    points = np.full((3, 15, 2), np.nan, dtype=np.float32)
    points[0], points[1, 0], points[2, 0] = 10.0, 20.0, 40.0
    face = mean_face(points, np.array([0, 1, 1]), scheme)
    assert face[1, 0].tolist() == [30.0, 30.0]
    assert face[0, 0].tolist() == [10.0, 10.0]
    assert face[1, 5].tolist() == [10.0, 10.0]  # sparse rows never label it


def _worker(rank, file, scheme, queue):
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found, truth, source = labelled(scheme)
    errors = KeypointErrors(scheme)
    mine = torch.arange(37)[rank::2]  # 19 and 18 rows
    errors.update(found[mine], truth[mine], source[mine])
    figures = errors.summary()
    if rank == 0:
        queue.put(figures)
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_with_an_odd_number_of_rows_equal_one(scheme, tmp_path):
    whole = KeypointErrors(scheme)
    whole.update(*labelled(scheme))
    queue = CONTEXT.Queue()
    workers = [CONTEXT.Process(target=_worker, args=(r, tmp_path / "meet", scheme, queue)) for r in range(2)]
    for worker in workers:
        worker.start()
    together = queue.get(timeout=120)
    for worker in workers:
        worker.join(timeout=60)
    alone = whole.summary()
    assert together["labelled_values"] == alone["labelled_values"]
    for name in ("rmse", "rmse/dense", "rmse/sparse", "rmse/nose_tip", "nme"):
        assert together[name] == pytest.approx(alone[name], rel=1e-6), name
    np.testing.assert_allclose(together["curve"]["share"], alone["curve"]["share"], atol=1e-6)


@pytest.fixture
def scored(scheme):
    predicted, truth, source = labelled(scheme)
    confidence = np.linspace(0, 1, predicted.shape[0] * 15, dtype=np.float32).reshape(-1, 15)
    return MetricInput(predicted.numpy(), truth.numpy(), source.numpy(), scheme, confidence, floor=0.5)


def test_facekp_s_own_metrics_equal_numpy(scored, scheme):
    figures = compute_figures(scored)
    error = (scored.points - scored.truth).astype(np.float64)
    values = np.sort((error**2)[~np.isnan(error)])
    assert figures["rmse"] == pytest.approx(np.sqrt(np.nanmean(error**2)), rel=1e-6)
    assert figures["rmse/trimmed"] == pytest.approx(np.sqrt(values[: len(values) - len(values) // 100].mean()))
    for s, name in enumerate(scheme.source_names):
        assert figures[f"offset/{name}"] == pytest.approx(-np.nanmedian(error[scored.source == s, :, 0]), abs=6e-4)
    assert figures["below_floor"] == pytest.approx((scored.confidence[scored.labelled] < 0.5).mean(), abs=6e-5)
    parts = [*scheme.source_names, *scheme.names]
    assert list(figures) == [
        "rmse",
        *(f"rmse/{part}" for part in parts),
        "labelled_values",
        "curve",
        "rmse/trimmed",
        *(f"offset/{name}" for name in scheme.source_names),
        "below_floor",
        *("nme", "nme/box", "nme/diagonal"),
        *(f"{name}/{threshold}" for name in ("failure_rate", "auc") for threshold in ("0.08", "0.10")),
        *("pck/0.05", "pck/0.10", "nme/curve"),
    ]


def test_a_baseline_has_no_metric_of_the_confidence(scored):
    assert set(compute_figures(scored)) - set(compute_figures(replace(scored, confidence=None))) == {"below_floor"}


def test_a_confidence_that_is_nan_counts_as_below_the_floor(scored):
    confidence = np.where(scored.confidence < 0.75, np.float32(np.nan), scored.confidence)
    expected = (scored.confidence[scored.labelled] < 0.75).mean()
    figures = compute_figures(replace(scored, confidence=confidence))
    assert figures["below_floor"] == pytest.approx(expected, abs=6e-5)


def test_without_labels_only_their_number_and_the_curve_are_left(scored):
    nothing = replace(scored, truth=np.full_like(scored.truth, np.nan), confidence=None)
    assert set(compute_figures(nothing)) == {"labelled_values", "curve"}


def test_the_worst_hundredth_is_trimmed():
    assert trimmed_mean(np.append(np.ones(99), 1000)) == 1
    assert trimmed_mean(np.append(np.ones(98), 1000)) > 1  # 99 values are no full hundred


def test_a_key_belongs_to_the_longest_matching_metric():
    assert metric_of("rmse/trimmed") is METRICS["rmse/trimmed"]
    assert metric_of("rmse/nose_tip") is METRICS["rmse"]
    assert metric_of("rmsex") is None
    assert keys_of(METRICS["rmse"], ["minutes", "rmse/trimmed", "rmse", "rmse/dense"]) == ["rmse", "rmse/dense"]


def test_titles_and_decimals():
    assert METRICS["rmse"].title("rmse/nose_tip") == "RMSE nose tip, px"
    assert METRICS["rmse"].title("rmse/nose_tip", unit=False) == "RMSE nose tip"
    assert METRICS["nme"].title("nme") == "NME"
    assert (METRICS["nme"].text(0.12345), METRICS["nme"].text(None)) == ("0.1235", "")


@contextmanager
def declared(name, compute, **details):
    """A metric of a plug-in, while the context lasts."""
    try:
        yield metric(name, label="of a plug-in", **details)(compute)
    finally:
        METRICS.entries.pop(name, None)


def test_a_metric_of_a_plug_in_that_changes_its_arrays_changes_no_other_figure(scored):
    def careless(scored):
        truth, points = scored.truth, scored.points
        truth[np.isnan(truth)] = 0
        points -= truth
        return float(np.abs(points).mean())

    expected, points = compute_figures(scored), scored.points.copy()
    fresh = replace(scored)  # nothing is cached
    with declared("a_first", careless):
        assert compute_figures(fresh).items() >= expected.items()
    np.testing.assert_array_equal(fresh.points, points)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda n: Curve(x=[1.0, 2.0], y=[1.0]), r"a Curve with columns of lengths \[2, 1\]; a Curve has two columns"),
        (lambda n: Curve(x=[1.0, 2.0]), r"a Curve with columns of lengths \[2\]; a Curve has two columns"),
        (lambda n: Ratio(np.ones(n + 1), np.ones(n + 1)), r"a Ratio of shapes \(\d+,\) and \(\d+,\); total and count"),
        (lambda n: {"all": Ratio(np.ones(n), np.array(n))}, r"a Ratio of shapes \(\d+,\) and \(\); total and count"),
    ],
)
def test_a_value_that_would_fail_after_the_training_is_refused_before(scored, value, message):
    odd = Metric("odd", lambda scored: value(len(scored.points)), "of a plug-in")
    with pytest.raises(UserError, match=rf"^metric 'odd' \(.*\): TypeError: returned {message}"):
        odd(scored)


def test_a_ratio_takes_lists(scored):
    faces = len(scored.points)
    listed = Metric("listed", lambda _: Ratio([3.0] * faces, [2] * faces), "of a plug-in")
    assert listed(scored) == {"listed": 1.5}


def test_a_metric_is_computed_and_shown_where_it_says(scored):
    with declared("far", lambda scored: np.float32((scored.distance > 3).mean()), shown=("epoch", "sweep")) as far:
        assert compute_figures(scored)["far"] == pytest.approx((scored.distance > 3).mean())
        assert type(compute_figures(scored)["far"]) is float  # JSON knows no numpy
        assert epoch_metrics() == [far]
        assert far in metrics_shown("sweep")
        assert far not in metrics_shown("console")
    assert epoch_metrics() == []
    assert "far" not in METRICS
    assert all(found.name in METRICS for found in all_metrics())


def test_parts_and_curves_and_missing_values(scored):
    with declared("parts", lambda _: {"": 1, "a": 2.5, "b": np.nan, "c": np.inf}):
        assert {key: value for key, value in compute_figures(scored).items() if key.startswith("parts")} == {
            "parts": 1,
            "parts/a": 2.5,
        }
    with declared("line", lambda _: Curve(x=[0.0, 1.0], y=[1.0, 0.5])):
        assert compute_figures(scored)["line"] == {"x": [0.0, 1.0], "y": [1.0, 0.5]}
    with declared("line", lambda _: Curve(x=np.linspace(0, 1, 2), y=np.array([1, np.nan], np.float32))):
        line = compute_figures(scored)["line"]
    assert line == {"x": [0.0, 1.0], "y": [1.0, None]}
    assert {type(value) for value in line["x"]} == {float}  # checkpoints hold no numbers of NumPy


def test_a_metric_that_fails_is_named(scored):
    def broken(_):
        raise ZeroDivisionError("by zero")

    with declared("broken", broken), pytest.raises(UserError, match=r"metric 'broken' .*ZeroDivisionError: by zero"):
        compute_figures(scored)
    with (
        declared("text", lambda _: "3"),
        pytest.raises(UserError, match=r"metric .text. .*returned str;"),
    ):
        compute_figures(scored)
    with (
        declared("truth", lambda _: np.bool_(True)),
        pytest.raises(UserError, match=r"metric .truth. .*returned bool"),
    ):
        compute_figures(scored)


@pytest.mark.parametrize("name", ["mean_face", "minutes/a", "two words", "a//b", ""])
def test_names_that_metrics_json_can_not_hold_are_refused(name):
    with pytest.raises(UserError, match="not a valid name"):
        metric(name, label="a")


def test_a_name_can_not_be_taken_twice():
    with pytest.raises(UserError, match=r"'rmse'.*has it already"):
        metric("rmse", label="mine")(lambda _: 0.0)


def test_a_metric_can_not_replace_a_figure_of_another_one(scored):
    with (
        declared("rmse/nose_tip", lambda _: 0.0),
        pytest.raises(UserError, match=r"^metric 'rmse/nose_tip' .*: its key rmse/nose_tip is taken by .*'rmse'"),
    ):
        compute_figures(scored)


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"better": "smaller"}, "metric 'wrong': better='smaller': choose one of lower, higher, None"),
        ({"shown": ("nowhere",)}, r"metric 'wrong': shown=\('nowhere',\): choose one of epoch, console"),
        ({"shown": "report"}, "metric 'wrong': shown='report': must be a tuple, of epoch, console"),
        ({"sections": ("run",)}, r"sections=\('run',\): choose one of runs, landmarks, subsets; did you mean runs"),
        ({"digits": "a"}, "metric 'wrong': digits='a': must be a whole number from 0 to 15"),
        ({"digits": -1}, "metric 'wrong': digits=-1: must be a whole number"),
        ({"digits": 16}, "metric 'wrong': digits=16: must be a whole number"),
        ({"digits": True}, "metric 'wrong': digits=True: must be a whole number"),
        ({"unit": 3}, "metric 'wrong': unit=3: must be a text"),
    ],
)
def test_a_wrong_detail_of_a_metric_is_refused_when_it_is_declared(details, message):
    with pytest.raises(UserError, match=message):
        metric("wrong", label="a", **details)(lambda _: 0.0)
    assert "wrong" not in METRICS


def test_only_metrics_are_registered_and_under_their_name():
    def plain(scored):
        return 0.0

    with pytest.raises(UserError, match=r"metric 'plain': .*plain is not a metric; declare it by @metric\('plain', l"):
        METRICS.register("plain")(plain)
    with pytest.raises(UserError, match=r"metric 'plain': .*plain declares 'other'; use the same name"):
        METRICS.register("plain")(Metric("other", plain, "a"))
    assert "plain" not in METRICS
