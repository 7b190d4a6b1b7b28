"""Photos whose names another system spelled differently."""

import unicodedata

import pytest

from facekp.core.errors import UserError
from facekp.data.label_file import open_label_file
from tests.data.photo_folder import FACE, HEADER, read_folder, write_one_photo

NAME = "Fête/é.PNG"


@pytest.fixture
def folder(tmp_path):
    write_one_photo(tmp_path)
    target = tmp_path / "photos" / unicodedata.normalize("NFD", NAME)
    target.parent.mkdir()
    (tmp_path / "photos" / "a.png").rename(target)
    return tmp_path


@pytest.mark.parametrize("name", [NAME, "Fête\\é.PNG", "fête/é.png", "./Fête/é.PNG"])
def test_case_slashes_and_unicode_forms_find_the_photo(folder, name):
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE.replace('a.png', name)}\n")
    assert read_folder(folder).name.tolist() == [unicodedata.normalize("NFD", NAME)]


def test_a_name_like_two_photos_is_refused(folder):
    photo = folder / "photos" / unicodedata.normalize("NFD", NAME)
    photo.with_name("X.png").write_bytes(photo.read_bytes())
    photo.with_name("x.PNG").write_bytes(photo.read_bytes())
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE.replace('a.png', 'Fête/x.png')}\n")
    with pytest.raises(
        UserError, match=r"line 2: 'Fête/x.png' is not a file, and several have similar names: .*X.png, .*x.PNG"
    ):
        read_folder(folder)


def test_two_spellings_of_one_photo_must_not_contradict_each_other(folder):
    other = FACE.replace("a.png", NAME)
    first, second = FACE.replace("a.png", NAME.upper()), other.replace("30,20", "34,20")
    assert "34" in second
    (folder / "labels.csv").write_text(f"{HEADER}\n{first}\n{other}\n")
    assert len(read_folder(folder)) == 2
    (folder / "labels.csv").write_text(f"{HEADER}\n{first}\n{second}\n")
    message = r"line 3: 'FÊTE/É.PNG', spelled differently, has other points for the same face of .*; if they are two"
    with pytest.raises(UserError, match=message):
        read_folder(folder)


def test_a_name_like_no_photo_does_not_exist(folder):
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE}\n")
    with pytest.raises(UserError, match=r"a\.png: does not exist"):
        read_folder(folder)


def test_a_name_that_is_too_long_for_a_file_does_not_exist(tmp_path):
    write_one_photo(tmp_path)
    (tmp_path / "labels.csv").write_text(f"{HEADER}\n{FACE}\n{FACE.replace('a.png', 300 * 'a' + '.png')}\n")
    with pytest.raises(UserError, match=r"line 3: .*aaa\.png: does not exist"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, "data.skip_broken=true").name.tolist() == ["a.png"]
    assert len(open_label_file(tmp_path / "labels.csv", None, None, None).faces) == 2


def test_spellings_of_one_path_are_one_photo(tmp_path):
    write_one_photo(tmp_path)
    faces = [FACE, f"./{FACE}", f"{tmp_path}/photos/{FACE}", f"sub/../{FACE}"]
    (tmp_path / "labels.csv").write_text("\n".join([HEADER, *faces]))
    assert read_folder(tmp_path).name.tolist() == 4 * ["a.png"]


def test_a_name_behind_a_link_is_kept(tmp_path):
    """``link/..`` is the folder above the link's target."""
    write_one_photo(tmp_path)
    (tmp_path / "other" / "inner").mkdir(parents=True)
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "other" / "inner")
    (tmp_path / "photos" / "a.png").rename(tmp_path / "other" / "a.png")
    (tmp_path / "labels.csv").write_text(f"{HEADER}\nlink/../{FACE}\n")
    assert read_folder(tmp_path).name.tolist() == ["link/../a.png"]
