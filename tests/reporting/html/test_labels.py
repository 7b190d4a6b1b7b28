"""The page of the data counts what the table holds, and shows duplicates and suspicious labels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from facekp.core.errors import UserError
from facekp.data.near_duplicates import near_duplicate_groups
from facekp.data.readers.base import READERS
from facekp.reporting.html.collect import Run
from facekp.reporting.html.labels import data_page
from facekp.runs.frames import predictions_frame
from tests.conftest import config_of
from tests.report_page import blocks_of


def data_settings(*overrides):
    return READERS.parse(config_of("data=synthetic", *overrides, name="report")["data"])


@pytest.fixture
def doubled(faces):
    """The faces, and the first 30 a second time with the same pixels and labels off by 1 px in x."""
    again = faces.take(np.arange(30))
    return faces.joined(replace(again, points=again.points + np.float32([1, 0]), row=again.row + 1000))


def test_the_page_counts_what_the_table_holds(doubled):
    sections, store = data_page(doubled, data_settings("data.folds=4"), [], faces=3)
    blocks = blocks_of(sections)
    counts = {row["name"]: row for row in blocks["counts"]["rows"]}
    nose = doubled.mask[:, doubled.keypoints.names.index("nose_tip")]
    assert counts["nose tip"]["dense"] == nose[doubled.source == 0].sum()
    assert counts["nose tip"]["sparse"] == nose[doubled.source == 1].sum()
    assert "sparse" not in counts["mouth left corner"]
    assert sum(row["faces"] for row in blocks["patterns"]["rows"]) == len(doubled)
    suspicious = blocks["suspicious"]["choices"][0]["groups"][0]["faces"]
    assert len(suspicious) == 3
    assert blocks["suspicious-labels"]["rows"][0]["times"] == max(
        row["times"] for row in blocks["suspicious-labels"]["rows"]
    )
    assert blocks["duplicates"]["choices"][0]["groups"][0]["faces"]
    assert set(store.images) >= {face["image"] for face in suspicious}
    assert "Noise floor" in sections[0]["blocks"][0]["lines"][1]


def test_a_pair_shows_one_label_as_ring_and_the_other_as_dot(doubled):
    blocks = blocks_of(data_page(doubled, data_settings("data.folds=4"), [], faces=2)[0])
    face = blocks["duplicates"]["choices"][0]["groups"][1]["faces"][-1]
    both = [point for point in face["points"] if "ring" in point and "dot" in point]
    assert both
    assert all(point["dot"][0] - point["ring"][0] == pytest.approx(1, abs=0.11) for point in both)


def test_runs_decide_which_labels_are_suspicious_and_are_marked_on_the_scale(faces):
    points = np.nan_to_num(faces.points) + np.random.default_rng(0).normal(0, 0.5, faces.points.shape)
    frame = predictions_frame(faces, "val", points.astype(np.float32), np.ones(points.shape[:2]))
    run = Run("sweep/mine", "mine", {}, {}, {"rmse": 0.5}, pd.DataFrame(), frame, pd.DataFrame(), True)
    sections, _ = data_page(faces, data_settings("data.folds=4"), [run], faces=0)
    note = next(section["note"] for section in sections if section["title"] == "Suspicious labels")
    assert f"mean prediction of 1 run on faces outside of the training rows: {len(faces)} of {len(faces)} faces" in note
    marks = {trace["name"]: trace["x"] for trace in blocks_of(sections)["scale"]["figure"]["data"]}
    assert marks["best run: mine"] == [0.5]


def test_runs_on_other_data_are_not_on_the_page(faces, caplog):
    def run(name, rmse, labels):
        frame = predictions_frame(replace(faces, points=labels), "val", labels, np.ones(labels.shape[:2]))
        return Run(name, name, {}, {}, {"rmse": rmse}, pd.DataFrame(), frame, pd.DataFrame(), True)

    other = run("other data", 0.1, faces.points + np.float32([2, 0]))
    corrected = np.concatenate((faces.points[:5] + np.float32([2, 0]), faces.points[5:]))
    sections, _ = data_page(
        faces, data_settings("data.folds=4"), [other, run("before a correction", 0.5, corrected)], faces=0
    )
    marks = {trace["name"]: trace["x"] for trace in blocks_of(sections)["scale"]["figure"]["data"]}
    assert marks["best run: before a correction"] == [0.5]
    assert "best run: other data" not in marks
    assert any("mean prediction of 1 run" in section["note"] for section in sections)
    assert "1 run has no predictions on these data" in caplog.text


def test_data_without_duplicates_or_pictures_still_make_a_page(faces):
    few = faces.take(np.unique(near_duplicate_groups(faces.images))[:20])
    settings = data_settings("data.folds=2")
    sections, store = data_page(few, settings, [], faces=0)
    assert "unknown" in sections[0]["blocks"][0]["lines"][1]
    assert store.images == {}
    one_face = data_page(few.take(np.arange(1)), settings, [], faces=0)[0][0]["blocks"][0]["lines"][0]
    assert one_face.startswith("1 face (")
    of_one_photo = replace(few, photo_hash=np.zeros(len(few), np.int64))
    assert "Baselines: unknown" in data_page(of_one_photo, settings, [], faces=0)[0][0]["blocks"][0]["lines"][2]
    with pytest.raises(UserError, match="no labelled point"):
        data_page(replace(few, points=np.full_like(few.points, np.nan)), settings, [], faces=0)
