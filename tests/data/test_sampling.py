"""Which rows ``data.rows`` takes: spread over the file, each source in proportion, the same every time."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from facekp.data.competition import write_training
from facekp.data.readers.read import read_table
from facekp.data.sampling import spread_rows
from tests.data.competition.samples import assert_same, faces
from tests.data.photo_folder import read_folder
from tests.data.samples import data_settings
from tests.drawn_photos import write_photos


def test_a_file_whose_first_rows_are_dense_gives_both_sources_in_proportion():
    source = np.repeat([0, 1], [2140, 4909])  # the competition's order: all dense rows come first
    rows = spread_rows(source, 600)
    assert np.bincount(source[rows]).tolist() == [182, 418]
    largest_gap = [np.diff(rows[source[rows] == s]).max() for s in (0, 1)]
    assert max(largest_gap) < 2 * 7049 / 600 + 1
    assert (rows == spread_rows(source, 600)).all()


@example(sizes=[1, 1, 1, 9], count=4)  # three small sources take more than their part
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), count=st.integers(1, 200))
def test_rows_are_distinct_increasing_and_of_every_source(sizes, count):
    source = np.repeat(np.arange(len(sizes)), sizes)
    rows = spread_rows(source, count)
    assert len(rows) == min(count, len(source))
    assert (np.diff(rows) > 0).all()
    if count >= len(sizes):
        assert len(np.unique(source[rows])) == len(sizes)


def test_rows_of_sources_in_any_order_are_increasing():
    source = np.random.default_rng(0).integers(0, 3, 200)
    rows = spread_rows(source, 30)
    assert (np.diff(rows) > 0).all()
    assert np.abs(np.bincount(source[rows]) - np.bincount(source) * 30 / 200).max() < 1


def test_what_small_sources_take_more_than_their_part_is_taken_from_large_ones_in_proportion():
    source = np.repeat(np.arange(6), [1, 1, 1, 1, 40, 60])
    assert np.bincount(source[spread_rows(source, 10)]).tolist() == [1, 1, 1, 1, 2, 4]


def test_the_competition_s_rows_are_spread_or_the_first(tmp_path):
    table = faces(40)
    table = table.take(np.argsort(table.source, kind="stable"))
    write_training(tmp_path / "training.csv", table)
    settings = data_settings(f"data.dir={tmp_path}", "data.cache=null", "data.rows=12")
    spread = read_table(settings, table.keypoints)
    assert len(spread) == 12
    assert set(spread.source) == {0, 1}
    assert_same(spread, read_table(settings, table.keypoints))
    first = read_table(settings.replaced(rows_from="first"), table.keypoints)
    assert first.row.tolist() == list(range(1, 13))


def test_faces_of_photos_are_spread_before_they_are_cropped(tmp_path):
    write_photos(tmp_path, 24)
    table = read_folder(tmp_path, "data.rows=6")
    assert len(table) == 6
    assert all(4 * part < row <= 4 * (part + 1) for part, row in enumerate(table.row))
    assert read_folder(tmp_path, "data.rows=6", "data.rows_from=first").row.tolist() == [1, 2, 3, 4, 5, 6]
