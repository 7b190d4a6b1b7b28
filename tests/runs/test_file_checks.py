"""Checks of what files of runs hold: each refuses one wrong part, and keeps the whole."""

import numpy as np
import pandas as pd
import pytest

from facekp.runs import file_checks
from facekp.runs.file_checks import MAX_EPOCH, MAX_NUMBER, DamagedRunFile, reading


def test_texts_are_a_list_and_all_of_its_values_are_text():
    assert file_checks.texts(["a", "b"]) == ["a", "b"]
    assert file_checks.texts([]) == []
    for values in (["a", 1], "ab", None, {"a": "b"}):
        with pytest.raises(ValueError, match="not a list of strings"):
            file_checks.texts(values)


def test_a_mapping_has_texts_as_names():
    assert file_checks.mapping({"a": 1}) == {"a": 1}
    for values in ({"a": 1, 2: 3}, ["a"], None):
        with pytest.raises(ValueError, match="not a mapping"):
            file_checks.mapping(values)


def test_a_config_has_every_group_that_is_needed():
    values = {"data": {"fold": 0}, "model": {}}
    assert file_checks.config(values, ("data", "model")) == values
    for damaged, missing in (({"data": {}}, "model"), ({"data": {}, "model": 3}, "model"), ([], "data")):
        with pytest.raises(ValueError, match=f"lacks the settings {missing}"):
            file_checks.config(damaged, ("data", "model"))


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("rmse", (1.5, 0, float("nan"), 10**11), ("1.5", None, True, 10**13, -3.0)),
        ("rmse/dense", (1.5,), ("x", -0.1)),
        ("epochs", (0, MAX_EPOCH), (-1, MAX_EPOCH + 1, 1.5)),
        ("minutes", (0, 2.5), (-0.1, float("inf"), "2")),
        ("finished", (True, False), (1, "yes")),
        ("mean_face", ({}, {"rmse": 3.7}), ([], {"rmse": "x"}, {"rmse": -1.0})),
        ("anything", ("x", None), ()),
    ],
)
def test_metrics_have_the_types_that_commands_calculate_with(key, good, bad):
    for value in good:
        assert file_checks.metrics({key: value}) == {key: value}
    for value in bad:
        with pytest.raises(ValueError, match=f"{key} is"):
            file_checks.metrics({key: value})


def test_curves_are_numbers_of_increasing_epochs():
    frame = pd.DataFrame({"epoch": [1, 2, 4], "val/rmse": [3.0, None, 2.0]})
    pd.testing.assert_frame_equal(file_checks.curves(frame), frame)
    older = pd.DataFrame({"epoch": [0, 1], "val/rmse": [3.0, 2.0]})  # version 0.1 counted from 0
    assert file_checks.curves(older)["epoch"].tolist() == [1, 2]
    for epochs in ([2, 1], [1, 1], [1, MAX_EPOCH + 1], [-3, 1]):
        with pytest.raises(ValueError, match="do not increase"):
            file_checks.curves(pd.DataFrame({"epoch": epochs}))
    with pytest.raises(ValueError, match="the column lr is not of numbers"):
        file_checks.curves(pd.DataFrame({"epoch": [1], "lr": ["fast"]}))


COLUMNS = ["row", "source", "keypoint", *file_checks.PREDICTION_NUMBERS]
ROW = [3, "dense", "nose_tip", 1.0, 2.0, 3.0, 4.0, 5.0]


def test_predictions_are_complete_finite_rows():
    frame = pd.DataFrame([ROW, ROW], columns=COLUMNS)
    pd.testing.assert_frame_equal(file_checks.predictions(frame, COLUMNS), frame)
    cut = pd.DataFrame([ROW, [*ROW[:-1], None]], columns=COLUMNS)  # the last row was being written
    assert len(file_checks.predictions(cut, COLUMNS)) == 1
    assert len(file_checks.predictions(frame.head(0), COLUMNS)) == 0
    for number in (np.inf, MAX_NUMBER):
        with pytest.raises(ValueError, match="not finite or too large"):
            file_checks.predictions(frame.assign(y=[1.0, number]), COLUMNS)
    with pytest.raises(ValueError, match="the column error is missing"):
        file_checks.predictions(frame.drop(columns="error"), COLUMNS)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(), "metrics.json does not exist"),
        (KeyError("rmse"), "metrics.json can't be read: it lacks 'rmse'"),
        (ValueError("first\nsecond"), "metrics.json can't be read: first; it is damaged, or facekp did not write it"),
        (MemoryError(), "metrics.json can't be read: MemoryError;"),
        (ValueError("x" * 300), f"metrics.json can't be read: {'x' * 160};"),
    ],
)
def test_every_error_names_the_file_in_one_line(tmp_path, error, text):
    with pytest.raises(DamagedRunFile) as raised, reading(tmp_path / "metrics.json"):
        raise error
    assert f"{tmp_path}/{text}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_reliability_has_as_many_finite_errors_of_both_kinds():
    values = {"expected": [0.5, 1], "measured": [0.6, 1.1], "more": 3}
    assert file_checks.reliability(values) == {"expected": [0.5, 1.0], "measured": [0.6, 1.1]}
    for measured, text in (
        ([0.6], "differ in length"),
        ([0.6, float("nan")], "not finite"),
        ([0.6, "x"], "could not convert"),
    ):
        with pytest.raises(ValueError, match=text):
            file_checks.reliability({**values, "measured": measured})
    with pytest.raises(ValueError, match="or are empty"):
        file_checks.reliability({"expected": [], "measured": []})
    with pytest.raises(KeyError):
        file_checks.reliability({"expected": [0.5]})
