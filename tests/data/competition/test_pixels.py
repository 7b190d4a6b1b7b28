"""Images as text: every number up to 255 is exact, every other pixel is named."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekp.data.competition import read_training_csv
from facekp.data.competition.pixels import parse_regular
from tests.data.competition.samples import IMAGE, PAIR, error, training, with_pixel


@given(
    st.lists(
        st.one_of(st.integers(0, 255), st.sampled_from([0, 9, 10, 99, 100, 199, 200, 255])), min_size=9, max_size=99
    )
)
@settings(max_examples=50, deadline=None)
def test_pixels_in_any_order_of_lengths_are_exact(values):
    image = np.resize(values, 9216)
    text = " ".join(map(str, image)).encode()
    np.testing.assert_array_equal(parse_regular([text, text[: -len(str(image[-1]))] + b"255"])[:9216], image)


def test_fast_pixels_take_exactly_the_numbers_up_to_255():
    for value in range(1300):
        tokens = [b"0"] * 9216
        tokens[4000] = b"%d" % value
        read = parse_regular([b" ".join(tokens)])
        assert (read is None) if value > 255 else (read[4000] == value and read.sum() == value), value


def test_several_blanks_and_leading_zeros_are_read_as_numbers(tmp_path):
    training(tmp_path, "1,2,3,4,5,6,  " + IMAGE.replace("7 7", "0007  7", 1))
    assert (read_training_csv(tmp_path, PAIR).images == 7).all()


@pytest.mark.parametrize("count", [9215, 9217, 0])
def test_wrong_number_of_pixels_names_row_and_count(tmp_path, count):
    good = f"1,2,3,4,5,6,{IMAGE}"
    training(tmp_path, good, good, "1,2,3,4,5,6," + " ".join(["7"] * count), good)
    assert re.search(rf"row 3 \(line 4\), Image: .*{count} pixels; a row has 9216", error(tmp_path))


def test_two_blanks_do_not_stand_for_a_missing_pixel(tmp_path):
    training(tmp_path, "1,2,3,4,5,6," + "7  " + " ".join(["7"] * 9214))
    assert re.search(r"row 1 \(line 2\), Image: .*9215 pixels; a row has 9216", error(tmp_path))


def test_a_number_of_thousands_of_digits_is_no_pixel(tmp_path):
    training(tmp_path, with_pixel(12, "1" * 5000))
    assert re.search(r"Image, pixel 12: '1+'… is not a whole number in 0\.\.255", error(tmp_path))


def test_pixels_that_move_from_one_row_to_the_next_are_noticed(tmp_path):
    short, long = (" ".join(["7"] * n) for n in (9215, 9217))
    training(tmp_path, f"1,2,3,4,5,6,{short}", f"1,2,3,4,5,6,{long}")
    assert "row 1 (line 2)" in error(tmp_path)


@pytest.mark.parametrize("value", ["256", "999", "1000", "-1", "1.0", "1e2", "x", "nan", "1_0", "12\x00"])
def test_bad_pixel_names_row_position_and_value(tmp_path, value):
    training(tmp_path, with_pixel(3, "255"), with_pixel(4711, value))
    assert f"row 2 (line 3), Image, pixel 4711: {value!r} is not a whole number in 0..255" in error(tmp_path)
