"""Which files arguments mean: names of all kinds, folders, patterns, what is passed over."""

import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage
from facekp.photos.files import list_files
from facekp.photos.reading import read_photos


def test_files_folders_and_patterns_mean_photos_whatever_their_names(tmp_path, monkeypatch, faces):
    monkeypatch.chdir(tmp_path)
    names = ["a=b.png", "[x] *?.png", "Ä ö\n'\".png", "-dash.png", "deep/er/%02d.png", "clip:1.mp4", "out/old.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[0]).save(tmp_path / name, format="png")
    (tmp_path / "notes.txt").write_text("x")
    assert set(list_files(["."], exclude=tmp_path / "out")) == set(names) - {"out/old.png"}
    assert list_files(["[x] *?.png", "a*.png", "webcam"]) == ["[x] *?.png", "a=b.png", "webcam"]
    assert list_files(["de*"]) == ["deep/er/%02d.png"]


def test_an_argument_that_matches_nothing_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for wrong in ("none.png", "zz*", ""):
        with pytest.raises(UserError, match="no such file or folder, and as a pattern it matches no file"):
            list_files([wrong])
    with pytest.raises(UserError, match="empty: no photo or video in this folder"):
        list_files(["empty"])
    with pytest.raises(UserError, match="no photo given; name files"):
        list_files([])


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_endings_in_folders_count_whatever_their_case_and_whether_they_can_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["A.JPG", "b.HEIC", "c.heif", "d.avif", "e.Mp4", "f.webp"]
    touch(tmp_path, *names)
    assert list_files(["."]) == names


def test_files_that_are_passed_over_are_counted_by_their_endings(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.png", "b.txt", "in/c.TXT", "in/d.cr2", "in/README", ".hidden.jpg", ".cache/e.jpg", "._a.png")
    with caplog.at_level("INFO"):
        assert list_files(["."]) == ["a.png"]
    assert caplog.messages == ["4 files passed over in folders: 2 .txt, 1 .cr2, 1 no ending"]
    with pytest.raises(UserError, match=r"in: no photo or video in this folder or its subfolders \(only 1 .*\.cr2"):
        list_files(["in"])


def test_pictures_of_earlier_calls_are_not_read_again(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.png", "out/points.json", "out/points.csv", "out/pictures/0001_a.jpg", "pictures/b.jpg")
    assert list_files(["."]) == ["a.png", "pictures/b.jpg"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    assert list_files(["a/2.jpg", "a", f"{tmp_path}/a/*.jpg"]) == ["a/2.jpg", "a/1.jpg"]


def test_links_to_folders_are_followed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "real/1.jpg", "photos/2.jpg")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "photos")
    assert list_files(["photos"]) == ["photos/2.jpg", "photos/link/1.jpg"]


def test_a_broken_link_in_a_folder_is_listed_so_that_reading_it_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "photos/1.jpg")
    (tmp_path / "photos" / "2.jpg").symlink_to("nowhere")
    (tmp_path / "photos" / ".#3.jpg").symlink_to("user@host")  # an editor's lock
    assert list_files(["photos"]) == ["photos/1.jpg", "photos/2.jpg"]
    with pytest.raises(UnreadableImage, match="no such file: it is a broken link"):
        next(read_photos("photos/2.jpg"))
