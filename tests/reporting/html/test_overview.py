"""The tables of the page hold the runs' own figures; the summary says which differences are significant."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from facekp.reporting.html.cells import scores_of
from facekp.reporting.html.collect import SkippedRun, read_runs
from facekp.reporting.html.compare import Difference
from facekp.reporting.html.grouping import cell
from facekp.reporting.html.overview import runs_page
from facekp.reporting.html.summary import headline, summary
from tests.report_page import blocks_of


@pytest.fixture(scope="module")
def runs(example_runs):
    return read_runs([example_runs])[0]


@pytest.fixture(scope="module")
def sections(runs):
    return runs_page(runs, [SkippedRun("killed", "no metrics.json: unfinished")], faces=0, resamples=200)[0]


@pytest.fixture(scope="module")
def blocks(sections):
    return blocks_of(sections)


def test_each_run_has_a_row_with_its_figures(example_runs, blocks):
    rows = {row["name"]: row for row in blocks["runs"]["rows"]}
    assert len(rows) == 9
    for name, row in rows.items():
        metrics = json.loads((example_runs / name / "metrics.json").read_text())
        for key in ("rmse", "nme", "rmse/trimmed", "minutes"):
            assert row[key] == pytest.approx(metrics[key])
        assert row["low"] < row["rmse"] < row["high"]
    labels = [column["label"] for column in blocks["runs"]["columns"]]
    assert {"lr", "seed", "RMSE, px", "NME", "RMSE without the worst 1 %, px"} <= set(labels)
    assert len(labels) == len(set(labels))
    hints = {column["key"]: column["hint"] for column in blocks["runs"]["columns"]}
    assert hints["rmse/trimmed"].endswith("lower is better")


def test_keypoints_and_sources_have_a_column_and_other_metrics_have_none(example_runs, blocks, scheme):
    rows = {row["name"]: row for row in blocks["points"]["rows"]}
    metrics = json.loads((example_runs / "run003" / "metrics.json").read_text())
    assert rows["run003"]["rmse/nose_tip"] == pytest.approx(metrics["rmse/nose_tip"], abs=1e-4)
    assert rows["mean face"]["rmse"] == pytest.approx(metrics["mean_face"]["rmse"])
    assert blocks["points"]["rows"][-1]["apart"]
    titles = [column["label"] for column in blocks["points"]["columns"]]
    assert titles == ["run", "all", "dense", "sparse", *(name.replace("_", " ") for name in scheme.names)]


def test_a_metric_is_not_rounded_twice(runs):
    run = replace(runs[0], metrics={**runs[0].metrics, "rmse": 14.043546})
    assert f"{scores_of(run, ['rmse'])['rmse']:.3f}" == "14.044"


def test_a_metric_that_is_a_curve_in_one_run_and_a_number_in_another_is_shown_of_the_latter(runs):
    curve = {"pixels": [1, 2], "fraction": [0.5, 1]}
    first, second = (
        replace(run, metrics={**run.metrics, "nme": nme}) for run, nme in zip(runs[:2], (curve, 0.25), strict=True)
    )
    blocks = blocks_of(runs_page([first, second], [], faces=0, resamples=20)[0])
    assert [row["nme"] for row in blocks["runs"]["rows"]] == [None, 0.25]
    assert [unit["metrics"].get("nme") for unit in blocks["versus"]["units"][:2]] == [None, 0.25]


def test_seeds_are_summarised(blocks):
    rows = {row["name"]: row for row in blocks["runs"]["rows"]}
    group = next(row for row in blocks["groups"]["rows"] if row["name"] == "lr=0.003")
    rmse = [rows[f"run{i:03d}"]["rmse"] for i in (6, 7, 8)]
    assert group["mean"] == pytest.approx(np.mean(rmse))
    assert group["spread"] == pytest.approx(np.std(rmse, ddof=1))
    assert group["repeated"] == "seed 0 1 2"


def test_seeds_are_listed_in_the_order_of_their_numbers(runs):
    same = runs[0].compared
    repeated = [replace(run, compared={**same, "seed": seed}) for run, seed in zip(runs[:3], (10, 9, 1), strict=True)]
    blocks = blocks_of(runs_page(repeated, [], faces=0, resamples=10)[0])
    assert [row["repeated"] for row in blocks["groups"]["rows"]] == ["seed 1 9 10"]


def test_every_pair_of_runs_and_groups_can_be_compared(blocks, runs):
    versus = blocks["versus"]
    assert len(versus["units"]) == 9 + 3
    assert len(versus["pairs"]) == 12 * 11 / 2
    scores = {score["key"]: score for score in versus["scores"]}
    assert scores["nme"] == {"key": "nme", "label": "NME", "digits": 4}
    assert scores["rmse/nose_tip"]["label"] == "RMSE nose tip, px"
    of_group = versus["units"][9]["metrics"]["rmse"]
    assert of_group == pytest.approx(np.mean([run.metrics["rmse"] for run in runs[:3]]), abs=1e-4)


def test_skipped_folders_are_listed_with_their_reason(sections):
    assert sections[-1]["blocks"][0]["lines"] == ["killed: no metrics.json: unfinished"]


def test_the_summary_says_whether_the_second_run_is_worse(runs):
    better = Difference(images=80, first=1.0, second=1.5, low=-0.8, high=-0.1, better=0.99)
    second, *_ = summary(runs, {(0, 1): better}, [])
    assert "The difference is significant (+0.500 px, 95 % interval +0.100 to +0.800, 80 images)." in second
    equal = Difference(images=80, first=1.4, second=1.5, low=-0.4, high=0.2, better=0.7)
    lines = summary(runs, {(0, 1): equal, (0, 2): equal}, [SkippedRun("a", "b")])
    assert "not significant" in lines[0]
    assert lines[1].startswith("2 of the other 8 runs do not differ significantly")
    assert lines[-1] == "1 folder was skipped; the reasons are below."


def scored(run, rmse, baseline):
    return replace(run, metrics={**run.metrics, "rmse": rmse, "mean_face": {"rmse": baseline}})


def test_the_headline_says_whether_the_best_run_is_better_than_the_mean_face(runs):
    (good,) = headline([scored(runs[0], 1.0, 4.0)], [(0.9, 1.1)])
    name = runs[0].name
    assert good == (
        f"{name}, RMSE 1.000 px (95 % interval over images: 0.900 to 1.100). "
        "That is 3.000 px (75%) better than the mean face (4.000 px)."
    )
    bad = headline([scored(runs[0], 5.0, 4.0), scored(runs[1], 6.0, 4.0)], [None, None])
    assert bad[0] == f"Best run: {name}, RMSE 5.000 px. That is 1.000 px (25%) worse than the mean face (4.000 px)."
    assert "has not learnt to find points" in bad[1]
    assert bad[2] == "None of the 2 runs is better than the mean face."
    mixed = headline([scored(runs[0], 3.0, 4.0), scored(runs[1], 6.0, 4.0)], [None, None])
    assert mixed[1:] == ["1 of 2 runs are not better than the mean face."]


def test_a_best_run_that_is_worse_than_the_mean_face_is_an_alert_on_the_page(runs):
    def style(rmse):
        return runs_page([scored(runs[0], rmse, 4.0)], [], faces=0, resamples=100)[0][0]["blocks"][0]["style"]

    assert (style(3.0), style(5.0)) == ("", "alert")


def test_a_run_whose_mean_face_has_no_rmse_is_shown(runs):
    bare = replace(runs[0], metrics={**runs[0].metrics, "mean_face": {}})
    sections = runs_page([bare, runs[1]], [], faces=0, resamples=100)[0]
    assert "mean face is unknown" in sections[0]["blocks"][0]["lines"][0]
    assert blocks_of(sections)["runs"]["rows"][0]["gain"] is None


def in_fold(run, fold, rows):
    """The run, as if it had been validated on some of its images, which are a fold of their own."""
    config = {**run.config, "data": {**run.config["data"], "fold": fold}}
    return replace(run, config=config, images=run.images.iloc[rows])


def test_runs_of_different_splits_are_compared_on_the_images_that_both_predicted(runs):
    units = [in_fold(runs[0], 0, slice(0, 40)), in_fold(runs[1], 1, slice(30, 80)), in_fold(runs[2], 2, slice(40, 80))]
    sections = runs_page(units, [], faces=0, resamples=100)[0]
    lines = sections[0]["blocks"][1]["lines"]
    assert "10 images that both runs predicted, of 40 and 50" in lines[0]
    assert any("validated on 3 different sets of images" in line for line in lines)
    versus = blocks_of(sections)["versus"]
    assert [unit["images"] for unit in versus["units"][:3]] == [40, 50, 40]
    assert versus["units"][1]["split"] == "synthetic, 80 rows, fold 1 of 5"
    assert set(versus["pairs"]) >= {"0,1", "1,2"}
    assert "0,2" not in versus["pairs"]
    shared = runs[0].images.iloc[30:40]
    expected = np.sqrt(shared["squared"].sum() / shared["values"].sum())
    assert versus["pairs"]["0,1"]["first"] == pytest.approx(expected, abs=1e-4)


def test_runs_that_share_no_image_are_not_compared_and_the_page_says_why(runs):
    apart = [in_fold(runs[0], 0, slice(0, 40)), in_fold(runs[1], 1, slice(40, 80))]
    reason = "The difference can't be tested, as the two runs were validated on different images"
    assert f"{reason} (synthetic, 80 rows, fold 0 of 5; synthetic, 80 rows, fold 1 of 5)." in summary(apart, {}, [])[0]
    one = [in_fold(run, 0, slice(0, 1)) for run in runs[:2]]
    assert "as the runs have only one image in common, or near-duplicates of one." in summary(one, {}, [])[0]
    empty = [in_fold(runs[0], 0, slice(0, 0)), runs[1]]
    assert "as a run has no predictions.csv" in summary(empty, {}, [])[0]


def test_a_single_run_has_no_comparison(runs):
    blocks = blocks_of(runs_page(runs[:1], [], faces=0, resamples=100)[0])
    assert not {"versus", "groups", "behind"} & set(blocks)
    assert cell([1, None, "Left"]) == '[1, null, "Left"]'


def test_runs_that_were_evaluated_on_corrupted_images_have_a_row_and_a_curve(runs, blocks):
    assert not {"corruptions", "corruption-strengths", "corrupted-reliability"} & set(blocks)  # none was
    rows = [("none", 0.0, 1.0), ("noise", 10.0, 2.0), ("noise", 20.0, 4.0), ("shift", 4.0, 5.0)]
    frame = pd.DataFrame(rows, columns=["corruption", "strength", "rmse/trimmed"])
    tenths = {"expected": [1.0, 2.0], "measured": [1.1, 1.5]}
    evaluated = [runs[0], replace(runs[1], corruptions=frame, corrupted_reliability=tenths), *runs[2:]]
    found = blocks_of(runs_page(evaluated, [], faces=0, resamples=200)[0])
    (row,) = found["corruptions"]["rows"]
    assert row["name"] == runs[1].short_name
    assert {key: row[f"corruption {key}"] for key in ("none", "noise", "shift")} == {"none": 1, "noise": 3, "shift": 5}
    assert row["mean"] == 4  # of 3 and 5
    (trace,) = found["corruption-strengths"]["figure"]["data"]
    assert (trace["x"], trace["y"]) == (["none", "noise 10", "noise 20", "shift 4"], [1.0, 2.0, 4.0, 5.0])
    assert found["corrupted-reliability"]["figure"]["data"][-1]["y"] == [1.1, 1.5]


def test_the_means_of_corruptions_are_over_those_that_all_runs_have(runs):
    rows = [("none", 0.0, 1.0), ("noise", 10.0, 2.0), ("noise", 20.0, 4.0), ("shift", 4.0, 5.0)]
    frame = pd.DataFrame(rows, columns=["corruption", "strength", "rmse/trimmed"])
    evaluated = [replace(runs[0], corruptions=frame), replace(runs[1], corruptions=frame.iloc[:2]), *runs[2:]]
    table = blocks_of(runs_page(evaluated, [], faces=0, resamples=100)[0])["corruptions"]
    assert [row["mean"] for row in table["rows"]] == [2, 2]
    assert [row["corruption noise"] for row in table["rows"]] == [2, 2]
    assert "corruption shift" not in {column["key"] for column in table["columns"]}


def test_runs_with_images_of_different_sizes_are_said_not_to_compare_in_pixels(runs):
    def of_size(run, size):
        return replace(run, config={**run.config, "data": {**run.config["data"], "size": size}})

    lines = summary([of_size(runs[0], 48), of_size(runs[1], 96)], {}, [])
    assert (
        "(synthetic, 80 rows at 48 px, fold 0 of 5; synthetic, 80 rows at 96 px, fold 0 of 5)" in lines[0]
        or len(lines) > 1
    )
    assert any("The images have 48 and 96 pixels a side" in line and "Compare their NME" in line for line in lines)
    assert not any("pixels a side" in line for line in summary([of_size(run, 96) for run in runs[:2]], {}, []))


def test_the_pooled_rmse_of_a_group_is_within_its_interval(runs):
    """One fold has been trained with two seeds, the other with one."""
    rows = [slice(0, 40), slice(0, 40), slice(40, 80)]
    config = {**runs[0].config, "lr": 1}
    folds = [in_fold(run, i // 2, each) for i, (run, each) in enumerate(zip(runs[:3], rows, strict=True))]
    units = [replace(run, compared={"seed": i}) for i, run in enumerate(folds)]
    units = [replace(run, config={**config, "data": run.config["data"]}) for run in units]
    units[2] = replace(units[2], images=units[2].images.assign(squared=units[2].images["squared"] * 25))
    (group,) = blocks_of(runs_page(units, [], faces=0, resamples=400)[0])["groups"]["rows"]
    assert group["low"] < group["pooled"] < group["high"]


def test_pruned_and_unfinished_runs_are_marked_and_not_in_the_means(runs):
    group = [run for run in runs if run.compared["lr"] == 0.003]
    given = [*group[:2], runs[-1], replace(group[2], pruned=True), replace(runs[-2], finished=False)]
    sections = runs_page(given, [], faces=0, resamples=100)[0]
    blocks = blocks_of(sections)
    assert [row["state"] for row in blocks["runs"]["rows"]] == ["finished"] * 3 + ["pruned", "unfinished"]
    (row,) = blocks["groups"]["rows"]
    assert row["runs"] == 2
    assert row["mean"] == pytest.approx(np.mean([run.metrics["rmse"] for run in group[:2]]))
    (note,) = next(part for part in sections if part["title"] == "Seeds and folds")["blocks"][1]["lines"]
    assert note == "Not counted: 2 unfinished or pruned runs."
    lines = sections[0]["blocks"][1]["lines"]
    assert "1 of 5 runs was pruned by a search." in lines
    assert "Finished runs come first; only they are in the means over seeds and folds." in lines


def test_the_summary_compares_finished_runs_where_there_are_two(runs):
    equal = Difference(images=80, first=1.4, second=1.5, low=-0.4, high=0.2, better=0.7)
    pairs = {(0, i): equal for i in range(1, 5)}
    lines = summary([*runs[:3], *(replace(run, pruned=True) for run in runs[3:5])], pairs, [])
    assert lines[1] == "2 of the other 2 finished runs do not differ significantly from the best run."
    (second, *_) = summary([runs[0], replace(runs[1], pruned=True)], pairs, [])
    assert second.startswith(f"Second: {runs[1].name} (pruned), RMSE")


def test_runs_with_equal_seed_and_split_count_once(runs):
    group = [run for run in runs if run.compared["lr"] == 0.003]
    lone = next(run for run in runs if run.compared["lr"] == 0.002)
    given = [*group, replace(group[0], name="copy"), lone, replace(lone, name="repeated")]
    sections = runs_page(given, [], faces=0, resamples=100)[0]
    (row,) = blocks_of(sections)["groups"]["rows"]
    assert (row["runs"], row["repeated"]) == (3, "seed 0 1 2")
    assert row["spread"] == pytest.approx(np.std([run.metrics["rmse"] for run in group], ddof=1))
    (note,) = next(part for part in sections if part["title"] == "Seeds and folds")["blocks"][1]["lines"]
    assert note == "Not counted: 2 runs with the seed, fold and split seed of a newer run."
