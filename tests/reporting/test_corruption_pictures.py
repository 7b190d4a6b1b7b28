"""Pictures of corrupted images: a part for each condition, and curves from the table."""

import numpy as np
import pandas as pd
import pytest

from facekp.data.corruptions import Condition, corrupted_table
from facekp.models.prediction import Prediction
from facekp.models.robustness import CorruptedFaces
from facekp.reporting.corruption_pictures import (
    draw_corrupted_face,
    draw_corruption_curves,
    write_corruption_pictures,
)
from facekp.runs.folder import RunFolder

CONDITIONS = [Condition("noise", 10.0), Condition("noise", 40.0), Condition("rotation", 60.0)]


@pytest.fixture
def corrupted(faces):
    table = corrupted_table(faces.take(np.arange(5)), CONDITIONS, 0)
    return CorruptedFaces(CONDITIONS, table, Prediction(np.nan_to_num(table.points), table.mask * 1.0, None, None))


@pytest.fixture
def frame():
    rows = [("none", 0.0, 1.0), ("noise", 10.0, 2.0), ("noise", 40.0, 4.0), ("rotation", 60.0, 5.0)]
    return pd.DataFrame(rows, columns=["corruption", "strength", "rmse/trimmed"])


def test_a_face_is_shown_under_each_condition(corrupted):
    axes = draw_corrupted_face(corrupted, 2).axes
    assert [ax.get_title() for ax in axes] == ["noise 10 levels", "rotation 60 °", "noise 40 levels", ""]
    for c, ax in ((0, axes[0]), (1, axes[2]), (2, axes[1])):
        assert np.array_equal(ax.images[0].get_array(), corrupted.table.images[5 * c + 2])
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), corrupted.table.points[5 * c + 2])
    assert not axes[3].images


def test_each_corruption_has_a_curve_beside_the_images_as_they_are(frame):
    noise, rotation = draw_corruption_curves(frame).axes
    assert (noise.get_title(), rotation.get_title()) == ("noise", "rotation")
    assert noise.lines[0].get_ydata().tolist() == [2.0, 4.0]
    assert set(noise.lines[1].get_ydata()) == {1.0}
    assert [label.get_text() for label in noise.get_xticklabels()] == ["10 levels", "40 levels"]


def test_both_are_written(corrupted, frame, tmp_path):
    write_corruption_pictures(RunFolder(tmp_path), corrupted, frame)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"corrupted_face.png", "corruptions.png"}
