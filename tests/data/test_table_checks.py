"""Checks of a whole table: how many rotated or mirrored faces give a warning, and which face it names."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.table_checks import check_table

TURNED, SWAPPED = "have their left and right points above each other", "have their left points to the left"


def changed(faces, count, change):
    """The table with the points of its last faces changed."""
    points = faces.points.copy()
    points[len(faces) - count :] = change(points[len(faces) - count :])
    return replace(faces, points=points)


def quarter_turn(sign):
    return lambda points: np.stack((47.5 + sign * (points[..., 1] - 47.5), 47.5 - sign * (points[..., 0] - 47.5)), -1)


def mirrored(points):
    return np.stack((95 - points[..., 0], points[..., 1]), axis=-1)


@pytest.mark.parametrize("sign", [1, -1])
def test_faces_on_either_side_are_reported_where_they_are_more_than_a_fifth(faces, caplog, sign):
    check_table(changed(faces, 16, quarter_turn(sign)), "mine")
    assert caplog.text == ""
    check_table(replace(changed(faces, 17, quarter_turn(sign)), row=np.arange(80) + 100), "mine")
    assert f"data=mine: 17 of 80 faces {TURNED}" in caplog.text
    assert caplog.text.rstrip().endswith("the first: row 163")


def test_labels_that_the_scheme_does_not_have_of_a_source_are_reported(faces, caplog):
    check_table(faces, "mine")
    assert caplog.text == ""
    dense = np.flatnonzero(faces.source == 0)
    source = faces.source.copy()
    source[dense[:2]] = 1
    check_table(replace(faces, source=source), "mine")
    assert "data=mine: 2 faces of source sparse with labels of " in caplog.text
    assert "which sources.sparse of keypoints kaggle15 lacks: they are learnt as those of source dense" in caplog.text
    assert caplog.text.rstrip().endswith(f"the first: row {faces.row[dense[0]]}")


def test_exchanged_sides_are_reported_from_three_faces_on_and_the_first_is_named(faces, caplog):
    names = np.array([f"{i}.png" for i in range(80)])
    points = np.where(np.arange(80)[:, None, None] < 10, np.nan, faces.points)  # ten faces say nothing
    few, more = (replace(changed(replace(faces, points=points), count, mirrored), name=names) for count in (2, 3))
    check_table(few, "mine")
    assert caplog.text == ""
    check_table(more, "mine")
    assert f"data=mine: 3 of 70 faces {SWAPPED}" in caplog.text
    assert caplog.text.rstrip().endswith(f"the first: row {faces.row[77]}, 77.png")


def test_profiles_have_no_clear_left_and_are_not_judged(faces, caplog):
    def narrow(points):
        return np.stack((47.5 + (47.5 - points[..., 0]) / 10, points[..., 1]), axis=-1)

    check_table(changed(faces, 60, narrow), "mine")
    assert caplog.text == ""
    check_table(changed(faces, 60, lambda points: narrow(narrow(mirrored(points)))), "mine")
    assert caplog.text == ""


def test_points_as_fractions_on_either_side_of_0_are_refused(faces):
    for low, high in ((0, 1), (-1, 1), (-1, 0)):
        points = low + (high - low) * faces.points / 96
        with pytest.raises(UserError, match="data=mine: all points are within one pixel"):
            check_table(replace(faces, points=points), "mine")
    for scale in (1.01, -5):
        check_table(replace(faces, points=scale * faces.points / np.nanmax(faces.points)), "mine")


def test_points_on_the_image_s_edges_can_be_judged(faces, caplog):
    points = faces.points.copy()
    points[:, 0], points[:, 1] = (96, 30), (0, 96)
    check_table(replace(faces, points=points), "mine")
    assert "transposed" not in caplog.text


def test_images_are_judged_from_twenty_on_and_where_they_are_square(faces, caplog):
    turned = replace(faces, images=np.ascontiguousarray(faces.images.transpose(0, 2, 1)))
    check_table(turned.take(np.arange(19)), "mine")
    check_table(replace(turned, images=np.pad(turned.images, ((0, 0), (0, 0), (0, 8)))), "mine")
    assert caplog.text == ""
    check_table(turned, "mine")
    assert "data=mine: the images look transposed: " in caplog.text
