"""Files that paths of another computer name."""

import pytest

from facekp.core.errors import UserError
from facekp.data.labels.photo_paths import FilesOfAddresses, in_folder


def test_a_file_is_found_by_the_longest_end_of_its_path(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    deep = f"{300_000 * 'x/'}clips/a.mp4"
    for address in ("C:\\videos\\clips\\a.mp4", "../clips/a.mp4", "https://x.org/clips/a.mp4", deep):
        assert in_folder(address, tmp_path) == "clips/a.mp4"
    assert in_folder("/videos/b.mp4", tmp_path) == "b.mp4"
    assert in_folder("", tmp_path) == ""


def test_spellings_of_one_path_have_one_file_and_two_paths_may_not(tmp_path):
    (tmp_path / "v.mp4").touch()
    files = FilesOfAddresses(tmp_path, "rename one")
    assert {files.find(address, "") for address in ("C:\\d\\v.mp4", "C:/d/v.mp4", "C:/d/./v.mp4")} == {"v.mp4"}
    with pytest.raises(UserError, match=r"line 3: e/v.mp4 and C:.*v.mp4 are both v.mp4 in .*; rename one"):
        files.find("e/v.mp4", "line 3")
