"""The competition's files: what is read is what was written, and every fault is one line that says where."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.readers import competition as csv
from facekp.data.readers.competition import (
    MissingFile,
    find_file,
    read_test_csv,
    read_training_csv,
    write_submission,
    write_test,
    write_training,
)
from facekp.data.table import FaceTable

PAIR = Keypoints.from_dict(
    {
        "name": "pair",
        "names": ["eye", "nose", "lip"],
        "pairs": [],
        "lines": [],
        "sources": {"dense": None, "sparse": ["nose"]},
        "normaliser": ["eye", "nose"],
    }
)
IMAGE = " ".join(["7"] * 9216)
HEADER = "eye_x,eye_y,nose_x,nose_y,lip_x,lip_y,Image"


def faces(n: int, seed: int = 0, keypoints: Keypoints = PAIR) -> FaceTable:
    """Random images and points, about a third unlabelled."""
    draw = np.random.default_rng(seed)
    points = draw.uniform(0, 96, (n, len(keypoints.names), 2)).astype(np.float32)
    points[draw.random(points.shape[:2]) < 0.3] = np.nan
    return FaceTable(
        keypoints=keypoints,
        images=draw.integers(0, 256, (n, 96, 96)).astype(np.uint8),
        points=points,
        source=keypoints.source_of(np.isfinite(points).sum((1, 2))),
        row=np.arange(1, n + 1),
    )


def assert_same(left: FaceTable, right: FaceTable) -> None:
    for name in ("images", "points", "source", "row"):
        a, b = getattr(left, name), getattr(right, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


def training(folder: Path, *rows: str, header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "training.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def error(folder: Path) -> str:
    """The one line that reading the folder's training.csv ends in; nothing is cached."""
    with pytest.raises(UserError) as caught:
        read_training_csv(folder, PAIR, folder / "cache")
    assert not list(folder.glob("cache/*"))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def with_pixel(at: int, value: str) -> str:
    """A row whose pixel ``at``, counted from 1, is ``value``."""
    pixels = IMAGE.split()
    pixels[at - 1] = value
    return "1,2,3,4,5,6," + " ".join(pixels)


# training.csv


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 20))
def test_what_is_written_is_read_back_identically(tmp_path_factory, seed, n):
    folder = tmp_path_factory.mktemp("written")
    table = faces(n, seed)
    write_training(folder / "training.csv", table)
    assert_same(read_training_csv(folder, PAIR), table)


def test_shipped_scheme_is_read_back_identically(tmp_path):
    conf = Path(__file__).parents[3] / "conf/keypoints/kaggle15.yaml"
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


@given(
    st.lists(
        st.one_of(st.integers(0, 255), st.sampled_from([0, 9, 10, 99, 100, 199, 200, 255])), min_size=9, max_size=99
    )
)
@settings(max_examples=50, deadline=None)
def test_pixels_in_any_order_of_lengths_are_exact(values):
    image = np.resize(values, 9216)
    text = " ".join(map(str, image)).encode()
    np.testing.assert_array_equal(csv._pixels([text, text[: -len(str(image[-1]))] + b"255"])[:9216], image)


def test_fast_pixels_take_exactly_the_numbers_up_to_255():
    for value in range(1300):
        tokens = [b"0"] * 9216
        tokens[4000] = b"%d" % value
        read = csv._pixels([b" ".join(tokens)])
        assert (read is None) if value > 255 else (read[4000] == value and read.sum() == value), value


def test_labels_beyond_the_border_are_missing_and_counted(tmp_path, caplog):
    training(tmp_path, f"0,96,-2,50,98,1,{IMAGE}", f"1,2,96.01,4,,,{IMAGE}", f"1,,3,4,1e1,5,{IMAGE}")
    nan = np.nan
    expected = [
        [[0, 96], [nan, nan], [nan, nan]],
        [[1, 2], [nan, nan], [nan, nan]],
        [[nan, nan], [3, 4], [10, 5]],  # one coordinate alone is no point
    ]
    np.testing.assert_array_equal(read_training_csv(tmp_path, PAIR).points, np.array(expected, np.float32))
    (line,) = caplog.messages
    assert "3 points" in line
    assert "training.csv" in line


def test_source_follows_from_how_many_values_a_row_has(tmp_path):
    training(tmp_path, f"1,2,3,4,5,6,{IMAGE}", f",,3,4,,,{IMAGE}", f"1,2,3,4,,,{IMAGE}", f",,,,,,{IMAGE}")
    assert read_training_csv(tmp_path, PAIR).source.tolist() == [0, 1, 0, 1]


def test_columns_may_come_in_any_order_with_quotes_bom_blank_lines_and_crlf(tmp_path):
    rows = [
        "\ufeffImage,nose_y,nose_x,lip_x,lip_y,eye_x,eye_y",
        f"{IMAGE} ,4,3,5,6,1,2",
        "",
        f'"{IMAGE}","4",3,5,6, 1 ,2',
    ]
    (tmp_path / "training.csv").write_bytes("\r\n".join(rows).encode())
    table = read_training_csv(tmp_path, PAIR)
    assert table.points.tolist() == [[[1, 2], [3, 4], [5, 6]]] * 2
    assert (table.images == 7).all()


def test_several_blanks_and_leading_zeros_are_read_as_numbers(tmp_path):
    training(tmp_path, "1,2,3,4,5,6,  " + IMAGE.replace("7 7", "0007  7", 1))
    assert (read_training_csv(tmp_path, PAIR).images == 7).all()


def test_first_rows_alone_are_read_without_the_rest(tmp_path):
    table = faces(20)
    write_training(tmp_path / "training.csv", table)
    with (tmp_path / "training.csv").open("a") as stream:
        stream.write("rubbish\n")
    assert_same(read_training_csv(tmp_path, PAIR, tmp_path / "cache", rows=18), table.take(np.arange(18)))
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match="rows=0"):
        read_training_csv(tmp_path, PAIR, rows=0)


def test_missing_doubled_and_strange_columns_are_named(tmp_path):
    row = f"1,2,3,4,5,6,{IMAGE}"
    training(tmp_path, row, header=HEADER.replace("nose_y", "nase_y"))
    assert re.search(r"training.csv: .*'nose_y' is missing", error(tmp_path))
    training(tmp_path, row, header=HEADER.replace("nose_y", "nose_x"))
    assert re.search("'nose_x' stands 2 times", error(tmp_path))
    training(tmp_path, row + ",0", header=HEADER + ",smile")
    assert re.search("column 8 .*'smile'", error(tmp_path))


@pytest.mark.parametrize("count", [9215, 9217, 0])
def test_wrong_number_of_pixels_names_row_and_count(tmp_path, count):
    good = f"1,2,3,4,5,6,{IMAGE}"
    training(tmp_path, good, good, "1,2,3,4,5,6," + " ".join(["7"] * count), good)
    assert re.search(rf"row 3 \(line 4\), Image: .*{count} pixels; a row has 9216", error(tmp_path))


def test_pixels_that_move_from_one_row_to_the_next_are_noticed(tmp_path):
    short, long = (" ".join(["7"] * n) for n in (9215, 9217))
    training(tmp_path, f"1,2,3,4,5,6,{short}", f"1,2,3,4,5,6,{long}")
    assert "row 1 (line 2)" in error(tmp_path)


@pytest.mark.parametrize("value", ["256", "999", "1000", "-1", "1.0", "1e2", "x", "nan", "1_0", "12\x00"])
def test_bad_pixel_names_row_position_and_value(tmp_path, value):
    training(tmp_path, with_pixel(3, "255"), with_pixel(4711, value))
    assert f"row 2 (line 3), Image, pixel 4711: {value!r} is no whole number in 0..255" in error(tmp_path)


@pytest.mark.parametrize("value", ["left", "inf", "-inf", "nan", "1e999", "98.01", "-2.5", "1_0", "4711"])
def test_bad_coordinate_names_row_column_and_value(tmp_path, value):
    training(tmp_path, f"1,2,3,4,5,6,{IMAGE}", f"1,2,3,{value},5,6,{IMAGE}")
    assert f"row 2 (line 3), nose_y: {value!r} is " in error(tmp_path)


def test_files_of_another_kind_are_called_what_they_are(tmp_path):
    path = tmp_path / "training.csv"
    for content, words in [
        ("", "empty"),
        ("\n\n", "empty"),
        (HEADER + "\n", "no rows"),
        (HEADER.replace(",", ";") + f"\n1;2;3;4;5;6;{IMAGE}\n", "divided by ;.*commas"),
        (HEADER.replace(",", "\t") + f"\n1\t2\t3\t4\t5\t6\t{IMAGE}\n", "divided by a tab.*commas"),
        ("\n  <!DOCTYPE html>\n<html><body>Sign in, please</body></html>", "web page"),
        ("PK\x03\x04 and so on", r"let its name end in .zip"),
        ("\x00" * 3_000_000, "column 'eye_x' is missing"),
        ('{"key": [' + '"' + "1, " * 100_000, "column 'eye_x' is missing"),
    ]:
        path.write_text(content)
        assert re.search(words, error(tmp_path)), content[:20]


@pytest.mark.parametrize("keep", [5, 2000, 18436])
def test_file_cut_in_mid_row_says_so(tmp_path, keep):
    row = f"1,2,3,4,5,6,{IMAGE}"
    (tmp_path / "training.csv").write_text(f"{HEADER}\n{row}\n{row[:keep]}")
    assert re.search(
        r"row 2 \(line 3\), .*ends here without a line end: if it was cut off, fetch it again", error(tmp_path)
    )


def test_row_of_too_many_fields_is_an_error(tmp_path):
    training(tmp_path, f"1,2,3,4,5,6,{IMAGE}", f"1,2,3,4,5,6,{IMAGE},9")
    assert re.search(r"row 2 \(line 3\), Image: .* 8 fields under 7 columns", error(tmp_path))
    training(tmp_path, f"1,2,3,4,5,{IMAGE}")
    assert re.search(r"row 1 \(line 2\), Image: .* 6 fields under 7 columns", error(tmp_path))


# Zip files


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def content(tmp_path) -> bytes:
    write_training(tmp_path / "plain/training.csv", faces(3))
    return (tmp_path / "plain/training.csv").read_bytes()


@pytest.mark.parametrize(
    ("archive", "member"),
    [
        ("training.zip", "training.csv"),
        ("facial-keypoints-detection.zip", "a/training.csv"),
        ("any.zip", "training.csv"),
    ],
)
def test_training_is_read_from_a_zip_file(tmp_path, content, archive, member):
    (tmp_path / archive).write_bytes(zipped(("__MACOSX/training.csv", b"?"), (member, content)))
    for _ in range(2):
        assert_same(read_training_csv(tmp_path, PAIR, tmp_path / "cache"), faces(3))
    assert str(find_file(tmp_path, "training.csv")) == f"{tmp_path / archive}:{member}"


def test_training_is_read_from_a_zip_file_in_the_competitions_zip_file(tmp_path, content):
    inner = zipped(("training.csv", content))
    (tmp_path / "facial-keypoints-detection.zip").write_bytes(zipped(("test.zip", b"?"), ("training.zip", inner)))
    assert_same(read_training_csv(tmp_path, PAIR), faces(3))
    found = str(find_file(tmp_path, "training.csv"))
    assert found == f"{tmp_path}/facial-keypoints-detection.zip:training.zip:training.csv"


def test_plain_file_comes_before_a_zip_file(tmp_path, content):
    (tmp_path / "training.csv").write_bytes(content)
    (tmp_path / "training.zip").write_text("no zip")
    assert_same(read_training_csv(tmp_path, PAIR), faces(3))


def test_zip_that_is_none_or_damaged_is_named(tmp_path, content):
    (tmp_path / "training.zip").write_text("<html>")
    assert re.search(r"training.zip: cannot be read as a zip file", error(tmp_path))
    damaged = bytearray(zipped(("training.csv", content)))
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "training.zip").write_bytes(damaged)
    assert "training.zip:training.csv" in error(tmp_path)


def test_another_broken_zip_file_is_no_obstacle(tmp_path, content):
    (tmp_path / "a.zip").write_text("no zip")
    (tmp_path / "b.zip").write_bytes(zipped(("training.csv", content)))
    assert_same(read_training_csv(tmp_path, PAIR), faces(3))


def test_missing_file_names_folder_and_file(tmp_path):
    (tmp_path / "other.zip").write_bytes(zipped(("readme.txt", b"")))
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingFile, match=re.escape(f"{folder}: no test.csv")):
            find_file(folder, "test.csv")


def test_unreadable_folder_in_place_of_a_file_is_missing(tmp_path):
    (tmp_path / "training.csv").mkdir()
    with pytest.raises(MissingFile):
        read_training_csv(tmp_path, PAIR)


# test.csv and IdLookupTable.csv


def test_test_files_are_read_back_with_sources_and_order(tmp_path):
    table = faces(4)
    table = FaceTable(PAIR, table.images, table.points, table.source, np.array([40, 7, -3, 10**12]))
    asked = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
    write_test(tmp_path, table, asked)
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
        (["1,1,eye_x,", "2,1,ear_x,"], r"row 2 \(line 3\), FeatureName: 'ear_x' is no feature of pair; use eye_x"),
        (["5,1,eye_x,", "5,1,eye_y,"], r"row 2 \(line 3\), RowId: '5' stands in row 1 already"),
        (["one,1,eye_x,"], r"row 1 \(line 2\), RowId: 'one' is no whole number"),
        (["1,1.5,eye_x,"], r"ImageId: '1.5' is no whole number"),
        (["1," + "9" * 30 + ",eye_x,"], r"ImageId: '9+' is no whole number"),
        (["1,1"], r"row 1 \(line 2\), FeatureName: .* 2 fields under 4 columns"),
        ([], "no rows"),
    ]:
        assert re.search(words, lookup_error(tmp_path, *rows)), words


def test_lookup_may_lack_the_locations_or_their_column(tmp_path):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    for text in (
        "RowId,ImageId,FeatureName,Location\r\n3,2,lip_y\r\n1,2,lip_x,5\r\n",
        "ImageId,RowId,FeatureName\n2,3,lip_y\n2,1,lip_x",
    ):
        (tmp_path / "IdLookupTable.csv").write_text(text)
        table, lookup = read_test_csv(tmp_path, PAIR)
        assert lookup.to_numpy().tolist() == [[3, 2, "lip_y"], [1, 2, "lip_x"]]
        assert table.source.tolist() == [0, 1]


def test_doubled_image_id_is_an_error(tmp_path):
    table = faces(3)
    write_test(
        tmp_path, FaceTable(PAIR, table.images, table.points, table.source, np.array([1, 2, 1])), np.ones((3, 3), bool)
    )
    with pytest.raises(UserError, match=r"test.csv: row 3 \(line 4\), ImageId: '1' stands in row 1 already"):
        read_test_csv(tmp_path, PAIR)


def test_test_table_comes_from_the_cache_while_sources_follow_the_lookup(tmp_path, monkeypatch):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    assert read_test_csv(tmp_path, PAIR, tmp_path / "cache")[0].source.tolist() == [0, 0]
    write_test(tmp_path, faces(2), np.array([[0, 1, 0], [1, 1, 1]], bool))
    monkeypatch.setattr(csv, "_test", None)
    table, _ = read_test_csv(tmp_path, PAIR, tmp_path / "cache")
    assert table.source.tolist() == [1, 0]
    np.testing.assert_array_equal(table.images, faces(2).images)


# Submission


def test_submission_answers_the_lookup_in_its_order_and_inside_the_image(tmp_path):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    (tmp_path / "IdLookupTable.csv").write_text("RowId,ImageId,FeatureName\n9,2,lip_y\n4,1,eye_x\n5,1,nose_y\n")
    table, lookup = read_test_csv(tmp_path, PAIR)
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2) + 0.1
    points[0, 0, 0], points[0, 1, 1] = -3, 200
    points[1, 0] = np.nan  # nobody asks
    write_submission(tmp_path / "new/answer.csv", table, points, lookup)
    assert (tmp_path / "new/answer.csv").read_text() == "RowId,Location\n9,11.1000004\n4,0\n5,96\n"


def test_submission_with_a_gap_is_refused_and_no_file_appears(tmp_path):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    table, lookup = read_test_csv(tmp_path, PAIR)
    points = np.ones((2, 3, 2))
    points[1, 0, 1] = np.nan
    out = tmp_path / "out"
    with pytest.raises(UserError, match="RowId 8: ImageId 2, eye_y has no finite prediction"):
        write_submission(out / "answer.csv", table, points, lookup)
    with pytest.raises(UserError, match="RowId 7: ImageId 2, eye_x is not among the predictions"):
        write_submission(out / "answer.csv", table.take(np.array([0])), points[:1], lookup)
    assert not out.exists()


@pytest.mark.parametrize("damage", [lambda answer: answer.iloc[::-1], lambda answer: answer.assign(Location=97.0)])
def test_submission_is_checked_before_it_appears(tmp_path, monkeypatch, damage):
    write_test(tmp_path, faces(2), np.ones((2, 3), bool))
    table, lookup = read_test_csv(tmp_path, PAIR)
    write = pd.DataFrame.to_csv
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda self, *args, **kwargs: write(damage(self), *args, **kwargs))
    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        write_submission(out / "answer.csv", table, np.ones((2, 3, 2)), lookup)
    assert not list(out.iterdir())


def test_place_that_cannot_be_written_is_a_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/training\.csv: cannot be written"):
        write_training(tmp_path / "file/training.csv", faces(1))


def test_images_of_another_size_are_refused(tmp_path):
    table = faces(1)
    small = FaceTable(PAIR, table.images[:, :48], table.points, table.source, table.row)
    with pytest.raises(UserError, match="48 x 96"):
        write_training(tmp_path / "training.csv", small)
    assert not list(tmp_path.iterdir())
