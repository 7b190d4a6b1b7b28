"""Finding a file of the competition, plain or in zip files."""

import io
import re
import zipfile

import pytest

from facekp.data.competition import MissingFile, find_file, read_training_csv, write_training
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
