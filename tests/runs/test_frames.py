"""Tables of a run's folder: the set of every row, and every labelled point with its prediction."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.runs.frames import predictions_frame, split_frame


def test_every_row_has_its_set_fold_and_group(faces):
    rows = np.arange(len(faces))
    groups = rows.copy()
    groups[3] = 2  # near-duplicates
    frame = split_frame(faces, rows % 5, groups, rows[10:], rows[:5])
    assert frame["set"].tolist() == ["val"] * 5 + ["unused"] * 5 + ["train"] * (len(faces) - 10)
    assert frame["row"].tolist() == faces.row.tolist()
    assert frame["group"][3] == faces.row[2]
    assert frame["fold"].tolist() == (rows % 5).tolist()
    assert "name" not in frame


def test_only_labelled_points_are_listed_with_their_error_in_pixels(faces):
    points = faces.points + np.float32([3, 4])
    confidence = np.random.default_rng(0).random(faces.mask.shape)
    frame = predictions_frame(faces, "val", points, confidence)
    assert len(frame) == faces.mask.sum()
    assert frame["error"].to_numpy() == pytest.approx(5, abs=1e-4)
    assert frame["confidence"].tolist() == confidence[faces.mask].tolist()
    last = frame.iloc[-1]
    k = faces.keypoints.names.index(last["keypoint"])
    assert (last["true_x"], last["true_y"]) == tuple(faces.points[-1, k])
    assert set(frame["set"]) == {"val"}


def test_of_photos_the_positions_in_the_photo_are_listed_too(faces):
    count = len(faces)
    double = np.tile(np.float32([[2, 0, 10], [0, 2, 20]]), (count, 1, 1))
    photos = replace(faces, name=np.array([f"{i}.jpg" for i in range(count)]), photo_matrix=double)
    frame = predictions_frame(photos, "val", faces.points, np.ones(faces.mask.shape))
    assert frame["photo_x"].to_numpy() == pytest.approx(2 * frame["x"] + 10, abs=1e-2)
    assert frame["photo_true_y"].to_numpy() == pytest.approx(2 * frame["true_y"] + 20, abs=1e-2)
    assert frame["name"].iloc[0] == "0.jpg"
    rows = np.arange(count)
    assert split_frame(photos, rows % 5, rows, rows[1:], rows[:1])["name"].tolist() == photos.name.tolist()


def test_attributes_are_in_the_split_and_hidden_points_in_the_predictions(faces):
    visible = np.where(faces.mask, 2, 0).astype(np.uint8)
    visible[:, 0] //= 2
    pose = np.array(["large", "normal"])[faces.row % 2]
    table = replace(faces, attributes={"pose": pose}, visible=visible)
    rows = np.arange(len(table))
    split = split_frame(table, np.zeros(len(table), int), rows, rows[:-1], rows[-1:])
    assert split["attribute_pose"].tolist() == pose.tolist()
    found = predictions_frame(table, "val", table.points, np.ones(table.mask.shape))
    assert found["visible"].tolist() == [1 if name == faces.keypoints.names[0] else 2 for name in found["keypoint"]]
    assert "visible" not in predictions_frame(faces, "val", faces.points, np.ones(faces.mask.shape))
