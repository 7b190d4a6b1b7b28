"""The command that writes drawn faces: its settings, and files that read back."""

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.competition import read_test_csv, read_training_csv
from facekp.data.synthetic.__main__ import main
from facekp.data.synthetic.command_settings import SyntheticCommandSettings
from facekp.data.synthetic.faces import draw_faces
from tests.conftest import config_of


def test_the_files_hold_the_drawn_faces(run_here, tmp_path, scheme):
    code, message = run_here("synthetic", main, "out=drawn", "data.rows=4", "data.seed=2", "test_rows=3")
    assert code == 0, message
    read = read_training_csv(tmp_path / "drawn", scheme)
    np.testing.assert_array_equal(read.images, draw_faces(4, 2, scheme).images)
    np.testing.assert_array_equal(read.points, draw_faces(4, 2, scheme).points)
    table, _ = read_test_csv(tmp_path / "drawn", scheme)
    np.testing.assert_array_equal(table.images, draw_faces(3, 3, scheme).images)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("test_rows=0", "test_rows=0: must be at least 1"),
        ("data.rows=null", "data.rows=null: must be a whole number"),
        ("data=kaggle", "data: data=kaggle does not draw faces"),
        ("out='a b'", "out=a b: must be a path of letters"),
    ],
)
def test_an_invalid_setting_is_refused(override, message):
    with pytest.raises(UserError, match=message):
        parse(SyntheticCommandSettings, config_of("out=x", override, name="synthetic"))
