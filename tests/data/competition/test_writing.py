"""What is written is read back identically; a submission is complete or does not appear."""

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.competition import (
    read_test_csv,
    read_training_csv,
    write_submission,
    write_test,
    write_training,
)
from facekp.data.table import FaceTable
from tests.data.competition.samples import PAIR, assert_same, faces


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 20))
def test_what_is_written_is_read_back_identically(tmp_path_factory, seed, n):
    folder = tmp_path_factory.mktemp("written")
    table = faces(n, seed)
    write_training(folder / "training.csv", table)
    assert_same(read_training_csv(folder, PAIR), table)


def test_shipped_scheme_is_read_back_identically(tmp_path):
    conf = CONF_DIR / "keypoints" / "kaggle15.yaml"
    table = faces(20, keypoints=Keypoints.from_dict(yaml.safe_load(conf.read_text())))
    write_training(tmp_path / "training.csv", table)
    read = read_training_csv(tmp_path, table.keypoints)
    assert_same(read, table)
    frame = pd.read_csv(tmp_path / "training.csv")
    assert list(frame.columns) == [*table.keypoints.columns, "Image"]
    np.testing.assert_array_equal(frame.drop(columns="Image").to_numpy(np.float32).reshape(20, 15, 2), read.points)
    np.testing.assert_array_equal(
        [list(map(int, image.split())) for image in frame["Image"]], read.images.reshape(20, -1)
    )


def test_submission_follows_the_lookup_table_and_stays_inside_the_image(tmp_path):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    (tmp_path / "IdLookupTable.csv").write_text("RowId,ImageId,FeatureName\n9,2,lip_y\n4,1,eye_x\n5,1,nose_y\n")
    table, lookup = read_test_csv(tmp_path, PAIR)
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2) + 0.1
    points[0, 0, 0], points[0, 1, 1] = -3, 200
    points[1, 0] = np.nan  # not requested
    write_submission(tmp_path / "new/submission.csv", table, points, lookup)
    assert (tmp_path / "new/submission.csv").read_text() == "RowId,Location\n9,11.1000004\n4,0\n5,96\n"


def test_submission_with_a_gap_is_refused_and_no_file_appears(tmp_path):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    table, lookup = read_test_csv(tmp_path, PAIR)
    points = np.ones((2, 3, 2))
    points[1, 0, 1] = np.nan
    out = tmp_path / "out"
    with pytest.raises(UserError, match="RowId 8: ImageId 2, eye_y has no finite prediction"):
        write_submission(out / "submission.csv", table, points, lookup)
    with pytest.raises(UserError, match="RowId 7: ImageId 2, eye_x is not among the predictions"):
        write_submission(out / "submission.csv", table.take(np.array([0])), points[:1], lookup)
    unknown = lookup.replace({"FeatureName": {"eye_y": "chin_y"}})
    with pytest.raises(UserError, match="RowId 2: ImageId 1, chin_y is not among the predictions"):
        write_submission(out / "submission.csv", table, np.ones((2, 3, 2)), unknown)
    assert not out.exists()


@pytest.mark.parametrize("damage", [lambda rows: rows.iloc[::-1], lambda rows: rows.assign(Location=97.0)])
def test_submission_is_checked_before_it_appears(tmp_path, monkeypatch, damage):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    table, lookup = read_test_csv(tmp_path, PAIR)
    write = pd.DataFrame.to_csv
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda self, *args, **kwargs: write(damage(self), *args, **kwargs))
    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        write_submission(out / "submission.csv", table, np.ones((2, 3, 2)), lookup)
    assert not out.exists()


def test_a_file_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/training\.csv: cannot be written"):
        write_training(tmp_path / "file/training.csv", faces(1))


def test_images_of_another_size_are_refused(tmp_path):
    table = faces(1)
    small = FaceTable(PAIR, table.images[:, :48], table.points, table.source, table.row)
    with pytest.raises(UserError, match="48 x 96"):
        write_training(tmp_path / "training.csv", small)
    assert not list(tmp_path.iterdir())
