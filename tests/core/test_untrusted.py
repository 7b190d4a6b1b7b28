"""Only regular files of a bounded size are read."""

import os

import pytest

from facekp.core.errors import UserError
from facekp.core.untrusted import check_regular, read_bytes


def test_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_bytes(tmp_path / "a") == read_bytes(tmp_path / "link") == b"abc"


def test_what_would_block_or_fill_the_memory_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"abcd")
    for path, most, message in (
        (tmp_path / "pipe", 9, "not a regular file"),
        (tmp_path, 9, "is a folder"),
        (tmp_path / "large", 3, "at most"),
    ):
        with pytest.raises(UserError, match=f"^{path}: .*{message}"):
            check_regular(path, most)
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "none")
