"""Finding a file of the competition, plain or in zip files."""

import io
import re
import zipfile

import pytest

from facekp.data.competition import MissingFile, find_file, read_training_csv, write_training
from facekp.data.competition.files import ARCHIVE, content_key
from tests.data.competition.samples import PAIR, assert_same, error, faces


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


def test_a_damaged_zip_file_is_named(tmp_path, content):
    (tmp_path / "training.zip").write_text("<html>")
    assert re.search(r"training.zip: can't be read as a zip file", error(tmp_path))
    damaged = bytearray(zipped(("training.csv", content)))
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "training.zip").write_bytes(damaged)
    assert "training.zip:training.csv" in error(tmp_path)


def test_another_broken_zip_file_is_skipped(tmp_path, content):
    (tmp_path / "a.zip").write_text("no zip")
    (tmp_path / "b.zip").write_bytes(zipped(("training.csv", content)))
    assert_same(read_training_csv(tmp_path, PAIR), faces(3))


def test_missing_file_names_folder_and_file(tmp_path):
    (tmp_path / "other.zip").write_bytes(zipped(("readme.txt", b"")))
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingFile, match=re.escape(f"{folder}: test.csv not found")):
            find_file(folder, "test.csv")


def test_unreadable_folder_in_place_of_a_file_is_missing(tmp_path):
    (tmp_path / "training.csv").mkdir()
    with pytest.raises(MissingFile):
        read_training_csv(tmp_path, PAIR)


@pytest.mark.parametrize("archive", ["training.zip", "training.csv.zip", "facial-keypoints-detection.zip"])
def test_a_file_s_own_zip_file_and_the_competition_s_come_before_others(tmp_path, archive):
    for name in ("a.zip", archive):
        (tmp_path / name).write_bytes(zipped(("training.csv", b"")))
    assert find_file(tmp_path, "training.csv").archive == tmp_path / archive


def test_a_corrected_file_in_its_own_zip_file_comes_before_the_one_in_the_competition_s(tmp_path):
    for name in (ARCHIVE, "training.zip"):
        (tmp_path / name).write_bytes(zipped(("training.csv", b"")))
    assert find_file(tmp_path, "training.csv").archive == tmp_path / "training.zip"


def test_few_zip_files_inside_of_a_zip_file_are_searched_and_none_inside_of_these(tmp_path):
    empty, full = zipped(("readme.txt", b"")), zipped(("training.csv", b""))
    for inner in (
        [(f"{i}/training.zip", full if i == 4 else empty) for i in range(5)],
        [("training.zip", zipped(("training.zip", full)))],
    ):
        (tmp_path / "a.zip").write_bytes(zipped(*inner))
        with pytest.raises(MissingFile):
            find_file(tmp_path, "training.csv")


def test_two_files_of_one_zip_file_have_different_keys_in_the_cache(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(("training.csv", b"1"), ("test.csv", b"2")))
    keys = [content_key(find_file(tmp_path, name)) for name in ("training.csv", "test.csv")]
    assert keys[0] != keys[1]
