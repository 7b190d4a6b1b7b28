"""Predictions as COCO's JSON: `data=coco` reads the same points in the same crops, whatever became of the photos."""

import json

import numpy as np
import pytest

from facekp.data.coco.writing import write_table_coco
from facekp.data.readers.read import read_table
from tests.data.photo_folder import folder_settings
from tests.data.samples import data_settings
from tests.drawn_photos import FIVE, five, write_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 6)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return read_table(folder_settings(folder), five())


@pytest.fixture(scope="module")
def predicted(table):
    """Points and confidence; every point is predicted, also those without a label."""
    points = np.nan_to_num(table.points, nan=40) + np.float32(1.5)
    return points, np.linspace(0.2, 1, points[..., 0].size, dtype=np.float32).reshape(points.shape[:2])


@pytest.fixture
def coco(folder, table, predicted, tmp_path):
    write_table_coco(tmp_path / "coco.json", table, *predicted, str(folder / "photos"))
    return json.loads((tmp_path / "coco.json").read_text())


def test_the_points_are_read_back_in_the_same_crops(folder, table, predicted, coco, tmp_path):
    paths = (f"data.images={folder}/photos", f"data.labels={tmp_path}/coco.json", "data.cache=null")
    again = read_table(data_settings("data=coco", *paths), five())
    order = np.argsort(again.row)
    assert again.row[order].tolist() == sorted(table.row.tolist())
    again, expected = again.take(order), np.argsort(table.row)
    np.testing.assert_allclose(again.to_photo(again.points), table.to_photo(predicted[0])[expected], atol=2e-3)
    assert again.name.tolist() == table.name[expected].tolist()
    np.testing.assert_allclose(again.photo_matrix, table.photo_matrix[expected], atol=2e-3)
    assert np.abs(again.images.astype(int) - table.images[expected]).max() <= 1  # resampled a thousandth of a pixel off


def test_entries_have_what_other_programs_read(folder, table, predicted, coco):
    assert coco["info"]["folder"] == str(folder / "photos")
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    assert sorted(names.values()) == sorted(set(table.name))
    assert all(image["width"] > 0 and image["height"] > 0 for image in coco["images"])
    (category,) = coco["categories"]
    assert category["keypoints"] == FIVE["names"]
    assert category["skeleton"] == [[1, 3], [3, 2], [4, 5]]
    for face, annotation in enumerate(coco["annotations"]):
        assert annotation["id"] == table.row[face]
        assert names[annotation["image_id"]] == table.name[face]
        assert annotation["num_keypoints"] == 5
        assert annotation["score"] == pytest.approx(predicted[1][face].mean(), abs=1e-4)
        assert annotation["area"] == pytest.approx(annotation["bbox"][2] * annotation["bbox"][3])


def test_a_point_that_is_not_finite_and_a_photo_that_is_gone_leave_gaps(table, predicted, tmp_path):
    points, confidence = predicted[0].copy(), predicted[1].copy()
    points[0, 1], confidence[0, 1] = np.nan, np.nan
    write_table_coco(tmp_path / "coco.json", table, points, confidence, str(tmp_path / "gone"))
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert coco["images"][0] == {"id": 1, "file_name": table.name[0]}
    first = coco["annotations"][0]
    assert first["keypoints"][3:6] == [0, 0, 0]
    assert first["num_keypoints"] == 4
    assert first["score"] == pytest.approx(confidence[0, [0, 2, 3, 4]].mean(), abs=1e-4)
