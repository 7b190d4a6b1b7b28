"""Rows of a table are predicted again in another crop of their image, where that is more certain."""

import dataclasses

import numpy as np
import pytest

from facekp.core.crop import rotation
from facekp.models.ensemble import load_models, predict_table
from facekp.photos.table_refining import predict_refined
from tests.photos.test_second_look import turned


@pytest.fixture(scope="module")
def models():
    return load_models("shipped", views="one")


@pytest.fixture
def few(faces):
    """Two dense and two sparse drawn faces."""
    return faces.take(np.concatenate([np.flatnonzero(faces.source == source)[:2] for source in (0, 1)]))


def distances(prediction, table):
    return np.nanmedian(np.linalg.norm(prediction.points - table.points, axis=-1), axis=1)  # (N,)


def test_turned_faces_are_predicted_better_and_by_their_source(models, few):
    points = ((few.points - 47.5) @ rotation(100).T + 47.5).astype(np.float32)
    table = dataclasses.replace(few, images=np.stack([turned(image, 100) for image in few.images]), points=points)
    first, refined = predict_table(models, table), predict_refined(models, table)
    changed = (refined.points != first.points).any(axis=(1, 2))
    assert changed.any()
    assert (distances(refined, table) < distances(first, table))[changed].all()
    assert (refined.confidence.mean(axis=1) > first.confidence.mean(axis=1))[changed].all()
    assert (refined.expected_error.mean(axis=1) < first.expected_error.mean(axis=1))[changed].all()


def test_rows_that_fit_keep_their_prediction(models, few, caplog):
    caplog.set_level("INFO")
    dense = few.take(np.array([0, 1]))
    first, refined = predict_table(models, dense), predict_refined(models, dense)
    np.testing.assert_array_equal(refined.points, first.points)
    np.testing.assert_array_equal(refined.confidence, first.confidence)
    assert "second look: 0 of 2 faces" in caplog.text


def test_every_row_is_looked_at_by_its_own_source(models, few, monkeypatch):
    looked = []

    def look(faces, photos, predictor):
        looked.append((predictor.source, [photo.file for photo in photos]))
        return [dataclasses.replace(face, points=face.points + 1, confidence=face.confidence + 2) for face in faces]

    monkeypatch.setattr("facekp.photos.table_refining.second_look", look)
    first, refined = predict_table(models, few), predict_refined(models, few)
    assert looked == [(0, ["row 0", "row 1"]), (1, ["row 2", "row 3"])]
    np.testing.assert_array_equal(refined.points, first.points + 1)
    np.testing.assert_array_equal(refined.confidence, first.confidence + 2)
