"""training.csv, test.csv and IdLookupTable.csv: labels, sources and requests."""

import re
from pathlib import Path

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.competition import read_test_csv, read_training_csv, reading, write_test, write_training
from facekp.data.table import FaceTable
from tests.data.competition.samples import IMAGE, PAIR, assert_same, error, faces, training


def test_labels_beyond_the_border_are_missing_and_counted(tmp_path, caplog):
    training(tmp_path, f"0,96,-2,50,98,1,{IMAGE}", f"1,2,96.01,4,,,{IMAGE}", f"1,,3,4,1e1,5,{IMAGE}")
    nan = np.nan
    expected = [
        [[0, 96], [nan, nan], [nan, nan]],
        [[1, 2], [nan, nan], [nan, nan]],
        [[nan, nan], [3, 4], [10, 5]],  # one coordinate alone does not make a point
    ]
    np.testing.assert_array_equal(read_training_csv(tmp_path, PAIR).points, np.array(expected, np.float32))
    (line,) = caplog.messages
    assert "3 points" in line
    assert "training.csv" in line


def test_source_follows_from_how_many_values_a_row_has(tmp_path):
    training(tmp_path, f"1,2,3,4,5,6,{IMAGE}", f",,3,4,,,{IMAGE}", f"1,2,3,4,,,{IMAGE}", f",,,,,,{IMAGE}")
    assert read_training_csv(tmp_path, PAIR).source.tolist() == [0, 1, 0, 1]


def test_first_rows_alone_are_read_without_the_rest(tmp_path):
    table = faces(20)
    write_training(tmp_path / "training.csv", table)
    with (tmp_path / "training.csv").open("a") as stream:
        stream.write("rubbish\n")
    assert_same(read_training_csv(tmp_path, PAIR, tmp_path / "cache", rows=18), table.take(np.arange(18)))
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match="rows=0"):
        read_training_csv(tmp_path, PAIR, rows=0)


@pytest.mark.parametrize("value", ["left", "inf", "-inf", "nan", "1e999", "98.01", "-2.5", "1_0", "4711"])
def test_bad_coordinate_names_row_column_and_value(tmp_path, value):
    training(tmp_path, f"1,2,3,4,5,6,{IMAGE}", f"1,2,3,{value},5,6,{IMAGE}")
    assert f"row 2 (line 3), nose_y: {value!r} is " in error(tmp_path)


def test_test_files_are_read_back_with_sources_and_order(tmp_path):
    table = faces(4)
    table = FaceTable(PAIR, table.images, table.points, table.source, np.array([40, 7, -3, 10**12]))
    requested = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
    write_test(tmp_path, table, requested)
    read, lookup = read_test_csv(tmp_path, PAIR)
    np.testing.assert_array_equal(read.images, table.images)
    assert np.isnan(read.points).all()
    assert read.points.shape == (4, 3, 2)
    assert read.row.tolist() == [40, 7, -3, 10**12]
    assert read.source.tolist() == [0, 1, 0, 0]
    assert lookup.columns.tolist() == ["RowId", "ImageId", "FeatureName"]
    assert lookup.RowId.tolist() == list(range(1, 13))
    assert lookup.ImageId.tolist() == [40] * 6 + [7] * 2 + [10**12] * 4
    assert lookup.FeatureName.tolist() == [*PAIR.columns, "nose_x", "nose_y", "eye_x", "eye_y", "lip_x", "lip_y"]


def lookup_error(folder: Path, *rows: str, header: str = "RowId,ImageId,FeatureName,Location") -> str:
    write_test(folder, faces(2), np.ones((2, 3), bool))
    (folder / "IdLookupTable.csv").write_text("\n".join([header, *rows, ""]))
    with pytest.raises(UserError) as caught:
        read_test_csv(folder, PAIR)
    return str(caught.value)


def test_bad_lookup_names_row_column_and_value(tmp_path):
    for rows, words in [
        (["1,1,eye_x,", "2,9,eye_x,"], r"IdLookupTable.csv: row 2 \(line 3\), ImageId: '9' is not in test.csv"),
        (["1,1,eye_x,", "2,1,ear_x,"], r"row 2 \(line 3\), FeatureName: 'ear_x' is not a feature of pair; use eye_x"),
        (["5,1,eye_x,", "5,1,eye_y,"], r"row 2 \(line 3\), RowId: '5' is duplicated: row 1 has it already"),
        (["one,1,eye_x,"], r"row 1 \(line 2\), RowId: 'one' is not a whole number"),
        (["1,1.5,eye_x,"], r"ImageId: '1.5' is not a whole number"),
        (["1," + "9" * 30 + ",eye_x,"], r"ImageId: '9+' is not a whole number"),
        (["1,1"], r"row 1 \(line 2\), FeatureName: .* 2 fields, but the header has 4 columns"),
        ([], "no rows"),
    ]:
        assert re.search(words, lookup_error(tmp_path, *rows)), words


def test_the_column_of_a_lookup_that_is_unknown_is_named(tmp_path):
    fault = lookup_error(tmp_path, header="RowId,ImageId,FeatureName,Location,Usage")
    assert "header: column 5 ('Usage') is unknown; remove it" in fault


def test_lookup_may_lack_the_locations_or_their_column(tmp_path):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    for text in (
        "RowId,ImageId,FeatureName,Location\r\n3,2,lip_y\r\n1,2,lip_x,5\r\n",
        "ImageId,RowId,FeatureName\n2,3,lip_y\n2,1,lip_x",
        "Location,ImageId,RowId,FeatureName\n,2,3,lip_y\n5,2,1,lip_x",
    ):
        (tmp_path / "IdLookupTable.csv").write_text(text)
        table, lookup = read_test_csv(tmp_path, PAIR)
        assert lookup.to_numpy().tolist() == [[3, 2, "lip_y"], [1, 2, "lip_x"]]
        assert table.source.tolist() == [0, 1]


def test_a_duplicated_image_id_is_an_error(tmp_path):
    table = faces(3)
    write_test(
        tmp_path, FaceTable(PAIR, table.images, table.points, table.source, np.array([1, 2, 1])), np.ones((3, 3), bool)
    )
    with pytest.raises(UserError, match=r"row 3 \(line 4\), ImageId: '1' is duplicated: row 1 has it already"):
        read_test_csv(tmp_path, PAIR)


def test_test_table_comes_from_the_cache_while_sources_follow_the_lookup(tmp_path, monkeypatch):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    assert read_test_csv(tmp_path, PAIR, tmp_path / "cache")[0].source.tolist() == [0, 0]
    write_test(tmp_path, faces(2), np.array([[0, 1, 0], [1, 1, 1]], bool))
    monkeypatch.setattr(reading, "_read_test_images", None)
    table, _ = read_test_csv(tmp_path, PAIR, tmp_path / "cache")
    assert table.source.tolist() == [1, 0]
    np.testing.assert_array_equal(table.images, faces(2).images)
