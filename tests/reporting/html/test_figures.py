"""Figures hold the numbers of the runs, and plotly accepts every one of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from plotly import graph_objects

from facekp.reporting.html import figures
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.compare import Difference


@pytest.fixture(scope="module")
def runs(example_runs):
    return read_runs([example_runs])[0]


def is_valid(figure):
    graph_objects.Figure(data=figure["data"], layout=figure["layout"])  # raises where a name or value is unknown
    return True


def test_learning_curves_over_epochs_or_minutes(runs):
    figure = figures.learning_curves(runs)
    assert is_valid(figure)
    assert len(figure["data"]) == 9
    assert [trace["visible"] for trace in figure["data"]] == [True] * 8 + ["legendonly"]
    assert figure["data"][0]["x"] == list(range(1, 31))
    assert figure["choices"]["x"]["minutes of training"][0][:2] == [0.1, 0.2]
    assert list(figure["choices"]["y"]) == ["validation RMSE, px", "training loss"]
    assert figure["data"][0]["y"] == pytest.approx(runs[0].curves["val/rmse"], abs=1e-4)


def test_few_epochs_have_a_tick_each_so_that_all_ticks_are_whole_numbers(runs):
    long = figures.learning_curves(runs)
    assert long["layout"]["xaxis"]["dtick"] is None
    short = figures.learning_curves([replace(runs[0], curves=runs[0].curves.head(3))])
    assert is_valid(short)
    assert short["layout"]["xaxis"]["dtick"] == 1
    assert short["steps"] == {"epochs": 1}  # the axis of minutes has none


def test_no_figure_without_curves(runs):
    assert figures.learning_curves([]) is None
    assert figures.metric_curves([]) == {}
    assert figures.reliability([]) is None
    assert figures.behind_best(["a"], {}) is None


def test_the_cumulative_error_is_that_of_metrics_json_with_the_mean_face_last(runs):
    drawn = figures.metric_curves(runs)
    assert list(drawn) == ["curve", "nme/curve"]
    figure = drawn["curve"]
    assert is_valid(figure)
    assert figure["data"][0]["y"] == pytest.approx(runs[0].metrics["curve"]["share"], abs=1e-4)
    assert figure["data"][-1]["name"] == "mean face"
    assert figure["layout"]["yaxis"]["tickformat"] == ".0%"
    assert figure["layout"]["xaxis"]["title"]["text"] == "error of a point, px"
    of_faces = drawn["nme/curve"]
    assert is_valid(of_faces)
    assert of_faces["data"][0]["y"] == pytest.approx(runs[0].metrics["nme/curve"]["faces"], abs=1e-4)
    assert of_faces["layout"]["xaxis"]["title"]["text"] == "NME"


def test_reliability_shows_the_accepted_deviation(runs):
    figure = figures.reliability(runs)
    assert is_valid(figure)
    line, over, under, calibrated = figure["data"]
    assert (calibrated["name"], calibrated["x"], calibrated["y"]) == ("run002", [1, 2], [1.1, 1.5])
    assert [trace["y"][1] / trace["x"][1] for trace in (line, over, under)] == pytest.approx([1, 1.15, 0.85])


def test_a_run_that_is_alone_in_a_figure_is_visible_whatever_its_rank(runs):
    measured = pd.DataFrame({"corruption": ["none"], "strength": [0.0], "rmse/trimmed": [1.0]})
    tenths = {"expected": [1.0], "measured": [1.1]}
    nothing = {"curves": pd.DataFrame(), "metrics": {"rmse": 1.0, "mean_face": {}}, "reliability": None}
    others = [replace(runs[0], **nothing) for _ in range(figures.VISIBLE_TRACES)]
    last = [*others, replace(runs[0], corruptions=measured, reliability=tenths)]
    drawn = [figures.learning_curves(last), figures.corruptions(last), figures.reliability(last)]
    traces = [trace for figure in [*drawn, *figures.metric_curves(last).values()] for trace in figure["data"]]
    assert [trace["visible"] for trace in traces if "visible" in trace] == [True] * 5


def test_how_far_runs_are_behind_the_best():
    pairs = {1: Difference(images=10, first=1.0, second=1.5, low=-0.8, high=-0.1, better=0.99)}
    figure = figures.behind_best(["a", "<b>"], pairs)
    assert is_valid(figure)
    (dots,) = figure["data"]
    assert dots["x"] == [0, 0.5]
    assert dots["text"] == ["a", "&lt;b&gt;"]
    assert dots["error_x"]["array"][1] == pytest.approx(0.3)  # up to 0.8
    assert dots["error_x"]["arrayminus"][1] == pytest.approx(0.4)  # down to 0.1


def test_runs_whose_shortened_names_are_equal_are_told_apart_by_their_rank(runs):
    names = [f"augment.rotation-10_optimizer-adamw_lr-{lr}_weight_decay-0.0001_seed-0" for lr in (0.001, 0.002)]
    figure = figures.learning_curves([replace(runs[i], short_name=name) for i, name in enumerate(names)])
    assert [trace["name"] for trace in figure["data"]] == [
        "1: augment.rotation-10 … ecay-0.0001_seed-0",
        "2: augment.rotation-10 … ecay-0.0001_seed-0",
    ]
    pairs = {1: Difference(images=10, first=1.0, second=1.5, low=-0.8, high=-0.1, better=0.99)}
    narrow = figures.behind_best(names, pairs)["narrow"]["yaxis.ticktext"]
    assert [name[:3] for name in narrow] == ["1: ", "2: "]


def test_marks_on_one_line_per_source():
    figure = figures.scale({"all": {"noise floor": 0.5, "mean face": 3.0}, "dense": {"mean face": 2.0}}, "RMSE, px")
    assert is_valid(figure)
    assert [(trace["name"], trace["x"], trace["y"]) for trace in figure["data"]] == [
        ("noise floor", [0.5], ["all"]),
        ("mean face", [3.0, 2.0], ["all", "dense"]),
    ]


def test_a_long_curve_is_thinned_out_and_keeps_its_last_epoch(runs):
    figure = figures.learning_curves([long_run(runs[0])])
    x = figure["data"][0]["x"]
    assert len(x) <= figures.MAX_EPOCHS
    assert (x[0], x[-1]) == (1, 5000)


def long_run(run):
    epochs = np.arange(1, 5001)
    return replace(run, curves=pd.DataFrame({"epoch": epochs, "val/rmse": 1.0 + 1 / epochs}))
