"""Scripts that were written for 0.1 read tables by the names and the plain settings of then."""

import numpy as np

from facekp.data.reader import read_table
from facekp.keypoints import Keypoints
from tests.data.photo_folder import read_folder
from tests.drawn_photos import five, write_photos


def test_tables_are_read_by_plain_settings(tmp_path):
    write_photos(tmp_path, 6)
    given = {"name": "folder", "images": str(tmp_path / "photos"), "labels": str(tmp_path / "labels.csv")}
    more = {"size": 96, "margin": 0.2, "skip_broken": False, "cache": None, "rows": None, "device_bytes": 2**31}
    table = read_table({**given, **more}, Keypoints.from_dict(five().to_dict()))
    now = read_folder(tmp_path, "data.margin=0.2")
    np.testing.assert_array_equal(table.images, now.images)
    np.testing.assert_array_equal(table.points, now.points)
