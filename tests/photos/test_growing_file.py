"""A file of whole entries, whatever happens while one is written."""

import errno
import os
import resource

import pytest

from facekp.photos.growing_file import GrowingFile


def test_entries_are_followed_by_the_end(tmp_path):
    with GrowingFile(tmp_path / "a", "[", "]\n") as file:
        assert (tmp_path / "a").read_text() == "[]\n"
        file.append("ü")
        assert (tmp_path / "a").read_text() == "[ü]\n"
        file.append(",b\udcff")  # of a name that is not UTF-8
    assert (tmp_path / "a").read_bytes() == "[ü,b".encode() + b"\xff]\n"


@pytest.mark.parametrize("room", range(10, 31, 5))
def test_an_entry_without_room_leaves_those_before(tmp_path, room):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with GrowingFile(tmp_path / "a", "[", "]\n") as file:
            for _ in range((room - 3) // 5):
                file.append("12345")
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                file.append("12345")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "a").read_text() == "[" + "12345" * ((room - 3) // 5) + "]\n"


def test_entries_can_be_dropped(tmp_path):
    with GrowingFile(tmp_path / "a", "[", "]") as file:
        file.append("1")
        length = file.length
        file.append("2" * 100)
        file.length = length
    assert (tmp_path / "a").read_text() == "[1]"
