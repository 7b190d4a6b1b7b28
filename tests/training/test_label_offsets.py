"""Labels to one side of the predictions: reported where a good network shows it, silent on noise."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.functional.metrics import mean_face
from facekp.training.label_offsets import _is_certain, find_offsets, warn_of_offsets
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


@pytest.fixture
def predicted(faces):
    """The drawn faces, and predictions of a good network: half a pixel off in any direction."""
    noise = np.random.default_rng(0).normal(0, 0.5, faces.points.shape).astype(np.float32)
    return faces, np.nan_to_num(faces.points) + noise


def shifted(points, table, source, right):
    points = points.copy()
    points[table.source == table.keypoints.source_names.index(source), :, 0] -= right
    return points


def test_an_offset_of_one_source_is_reported_with_the_setting_that_corrects_it(predicted, caplog):
    table, points = predicted
    warn_of_offsets(table, shifted(points, table, "sparse", 0.75), table, {"dense": 0.25, "sparse": 1})
    (message,) = caplog.messages
    assert "(sparse: 0.8 px to the right)" in message
    offset = float(message.split(",sparse:")[1].split("}")[0])
    assert offset == pytest.approx(1.75, abs=0.1)
    assert "'data.offsets={dense:0.25,sparse:" in message


def test_labels_to_the_left_are_called_left(predicted, caplog):
    table, points = predicted
    warn_of_offsets(table, shifted(points, table, "sparse", -2), table, None)
    assert "(sparse: 2.0 px to the left)" in caplog.text
    assert "'data.offsets={sparse:-1.9" in caplog.text


def test_an_offset_as_large_as_faces_differ_is_reported(predicted):
    table, points = predicted
    (found,) = find_offsets(table, shifted(points, table, "sparse", 8), table).values()
    assert found == pytest.approx(8, abs=0.2)


def test_groups_of_alike_faces_count_once_whatever_their_order():
    group = np.arange(500) % 25
    spread = np.linspace(-1, 2.1, 25)[group][:, None]  # of 500 different faces, the median would be certain
    assert _is_certain(spread, np.arange(500))
    assert not _is_certain(spread, group)
    assert _is_certain(np.where(group < 2, -1.0, 1.0)[:, None], group)


def test_offsets_that_do_not_matter_are_not_reported(predicted):
    table, points = predicted
    assert find_offsets(table, points, table) == {}
    assert find_offsets(table, shifted(points, table, "sparse", 0.4), table) == {}


def test_an_untrained_network_is_not_judged(faces, predicted):
    face = mean_face(faces.points, faces.source, faces.keypoints)[faces.source]
    assert find_offsets(faces, face + np.float32([2.8, 0]), faces) == {}
    rough = faces.points + np.random.default_rng(0).normal(0, 4, faces.points.shape) + [2.8, 0]
    assert find_offsets(faces, np.nan_to_num(rough), faces) == {}


def test_an_offset_of_some_points_only_is_the_network_s_error(predicted):
    table, points = predicted
    moved = shifted(points, table, "sparse", 2)
    nose = table.keypoints.names.index("nose_tip")
    moved[:, nose, 0] += 2.5
    assert find_offsets(table, moved, table) == {}


def test_few_different_faces_are_not_enough(predicted):
    table, points = predicted
    few = np.flatnonzero(table.source == 1)[:8]
    again = np.tile(few, 6)  # 48 rows of 8 faces
    moved = shifted(points, table, "sparse", 2)[again]
    assert find_offsets(table.take(again), moved, table) == {}
    assert set(find_offsets(table, shifted(points, table, "sparse", 2), table)) == {"sparse"}


def test_an_interval_that_reaches_chance_is_not_reported(predicted):
    """From face to face the labels lie 2 px to the left to 3.6 px to the right: other faces may give another median."""
    table, points = predicted
    moved = points.copy()
    sparse = np.flatnonzero(table.source == 1)
    moved[sparse, :, 0] -= np.linspace(-2, 3.6, len(sparse))[:, None]
    assert np.nanmedian((table.points - moved)[sparse, :, 0]) > 0.5
    assert find_offsets(table, moved, table) == {}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_training_gives_no_advice(tmp_path, caplog, seed):
    train(settings_of(*TINY, f"seed={seed}"), tmp_path / "run")
    assert "data.offsets" not in caplog.text


def test_without_mirror_images_nothing_is_reported(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("facekp.training.setup.warn_of_offsets", lambda *args: pytest.fail("asked"))
    train(settings_of(*TINY, "augment=none"), tmp_path / "run")


def test_a_source_without_labels_is_passed_over(predicted):
    table, points = predicted
    bare = replace(table, points=np.where((table.source == 1)[:, None, None], np.nan, table.points))
    assert find_offsets(bare, shifted(points, table, "dense", 1.5), bare).keys() == {"dense"}
