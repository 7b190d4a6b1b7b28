"""The benchmark on a folder of photos: what is counted, at which angle."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.detection_benchmark import main
from facekp.photos.photo_benchmark import (
    PhotoResult,
    measure_photos,
    photos_frame,
    read_faces,
    turned_photo,
    turned_points,
)


class Bright:
    """Finds the 20 x 20 pixels around each bright spot."""

    margin = 1.0

    def find(self, image):
        rows, columns = np.nonzero(image[..., 0] > 200)
        spots = {(x // 40, y // 40): (x, y) for x, y in zip(columns.tolist(), rows.tolist(), strict=True)}
        return np.array([[x - 10, y - 10, x + 10, y + 10] for x, y in spots.values()]).reshape(-1, 4)


@pytest.fixture
def folder(tmp_path):
    """A photo with two spots, and one with none."""
    image = np.full((120, 200, 3), 30, np.uint8)
    for x, y in ((50, 60), (150, 90)):
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    Image.fromarray(image).save(tmp_path / "two.png")
    Image.fromarray(np.full((80, 80, 3), 30, np.uint8)).save(tmp_path / "none.png")
    return tmp_path


def counts(result):
    return result.angle, result.photos, result.faces, result.found, result.extra


def test_without_true_faces_those_of_the_upright_photos_are_looked_for(folder, small_predictor):
    results = measure_photos(str(folder), small_predictor, Bright(), [30, 90, 180], refine=False)
    assert [counts(result) for result in results] == [(angle, 2, 2, 2, 0) for angle in (0, 30, 90, 180)]
    assert all(0 < result.detector_seconds < result.seconds for result in results)


def test_missed_and_false_faces_are_counted(folder, small_predictor):
    boxes = {"left": [40, 90], "top": [50, 10], "right": [60, 110], "bottom": [70, 30]}  # the second one is elsewhere
    pd.DataFrame({"file": "two.png", **boxes}).to_csv(folder / "faces.csv", index=False)
    (result,) = measure_photos(str(folder), small_predictor, Bright(), refine=False)
    assert counts(result) == (0, 2, 2, 1, 1)


def test_dropped_boxes_are_counted(folder, small_predictor):
    (result,) = measure_photos(str(folder), small_predictor, Bright(), refine=False, min_confidence=1.0)
    assert (result.faces, result.dropped) == (0, 2)


@pytest.mark.parametrize("angle", [0, 30, -45, 90, 180, -90])
def test_the_points_of_a_photo_follow_its_turn(angle):
    image = np.zeros((90, 140, 3), np.uint8)
    image[18:23, 108:113] = 255
    turned = turned_photo(image, angle)[..., 0].astype(float)
    where = [(turned * axis).sum() / turned.sum() for axis in np.mgrid[: turned.shape[0], : turned.shape[1]][::-1]]
    np.testing.assert_allclose(turned_points(np.array([[110.0, 20.0]]), image.shape, angle)[0], where, atol=0.3)
    corners = turned_points(np.array([[0, 0], [139, 0], [0, 89], [139, 89]]), image.shape, angle)
    assert corners.min() > -1
    assert (corners.max(axis=0) < np.array(turned.shape[::-1])).all()


@pytest.mark.parametrize("text", ["file,x\na.png,3\n", "file;left;top;right;bottom\na.png;1;2;3;4\n"])
def test_a_table_of_faces_that_is_none_is_refused(tmp_path, text):
    assert read_faces(tmp_path) is None
    (tmp_path / "faces.csv").write_text(text)
    message = r"faces\.csv: .*not found.*left.*it needs columns file, left, top, right, bottom, between commas"
    with pytest.raises(UserError, match=message):
        read_faces(tmp_path)


def test_an_empty_field_at_the_end_of_a_row_shifts_no_column(tmp_path):
    (tmp_path / "faces.csv").write_text("file,left,top,right,bottom\na.png,10,20,30,40,\n")
    assert {name: centres.tolist() for name, centres in read_faces(tmp_path).items()} == {"a.png": [[20, 30]]}


def test_a_broken_photo_is_named(tmp_path, small_predictor):
    (tmp_path / "broken.png").write_bytes(b"abc")
    with pytest.raises(UserError, match=r"broken\.png: can't be read"):
        measure_photos(str(tmp_path), small_predictor, Bright())


def test_times_are_shown_in_milliseconds_per_photo():
    (row,) = photos_frame([PhotoResult(30, 4, 5, 3, 1, 2, 0.1, 0.5)]).to_numpy().tolist()
    assert row == ["30", "4", "5", "3", "1", "2", "25", "125"]


def test_the_command_measures_a_folder_and_writes_the_table(folder, small_checkpoint, run_here):
    given = (f"photos={folder}", f"ckpt={small_checkpoint}", "detector=none", "angles=[90]", "out=table.csv")
    code, _ = run_here("detection_benchmark", main, *given)
    assert code == 0
    written = pd.read_csv("table.csv")
    assert written["turned by"].tolist() == [0, 90]
    assert written["found"].tolist() == written["faces"].tolist() == [2, 2]  # each photo is one face
    assert list(written)[-2:] == ["detector ms", "all ms"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("photos/two.png,40,50,60,70", r"faces.csv: file 'photos/two.png' is not a photo in .*; name photos relative"),
        ("two.png,60,50,40,70", r"faces.csv: face 1: left, top, right, bottom are 60, 50, 40, 70; give edges"),
        ("two.png,,50,40,70", r"faces.csv: face 1: left, top, right, bottom are nan, 50, 40, 70; give edges"),
    ],
)
def test_true_faces_that_can_t_be_counted_are_refused(folder, small_predictor, row, message):
    (folder / "faces.csv").write_text(f"file,left,top,right,bottom\n{row}\n")
    with pytest.raises(UserError, match=message):
        measure_photos(str(folder), small_predictor, Bright(), refine=False)


def test_a_folder_with_videos_only_is_refused(tmp_path, small_predictor):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match="holds videos only; give a folder of photos"):
        measure_photos(str(tmp_path), small_predictor, Bright())
