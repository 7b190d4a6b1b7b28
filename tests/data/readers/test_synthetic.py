"""data=synthetic: as many drawn faces as data.rows says, from data.seed."""

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.read import read_table
from facekp.data.synthetic.faces import draw_faces
from tests.data.samples import data_settings


def test_faces_are_drawn_from_rows_and_seed(scheme):
    table = read_table(data_settings("data=synthetic", "data.rows=5", "data.seed=3"), scheme)
    np.testing.assert_array_equal(table.images, draw_faces(5, 3, scheme).images)


def test_the_number_of_faces_is_needed():
    with pytest.raises(UserError, match=r"data\.rows=null: must be a whole number"):
        data_settings("data=synthetic", "data.rows=null")
