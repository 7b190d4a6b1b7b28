"""Groups of near-duplicates that took long are kept, and built again where the file is damaged."""

import numpy as np
import pytest

from facekp.data import group_cache
from facekp.data.group_cache import cached_groups

HASHES = np.array([7, -3, 7, 12])
GROUPS = np.array([0, 1, 0, 3])


@pytest.fixture
def build():
    calls = []

    def build():
        calls.append(1)
        return GROUPS

    build.calls = calls
    return build


@pytest.mark.parametrize(("moment", "built"), [(-1.0, 1), (60.0, 2)], ids=["took long", "took a moment"])
def test_only_groups_that_took_long_are_kept(tmp_path, build, monkeypatch, moment, built):
    monkeypatch.setattr(group_cache, "MOMENT", moment)
    for _ in range(2):
        groups = cached_groups(tmp_path / "cache", HASHES, build)
        np.testing.assert_array_equal(groups, GROUPS)
        assert groups.dtype == np.int64
    assert len(build.calls) == built


def test_other_images_have_other_groups(tmp_path, build, monkeypatch):
    monkeypatch.setattr(group_cache, "MOMENT", -1.0)
    for hashes in (HASHES, HASHES[::-1], HASHES):
        cached_groups(tmp_path, hashes, build)
    assert len(build.calls) == 2


def test_without_a_folder_nothing_is_kept(build):
    for _ in range(2):
        cached_groups(None, HASHES, build)
    assert len(build.calls) == 2


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:40] + b"x" + content[41:]])
def test_a_damaged_file_is_reported_and_replaced(tmp_path, build, monkeypatch, damage, caplog):
    monkeypatch.setattr(group_cache, "MOMENT", -1.0)
    cached_groups(tmp_path, HASHES, build)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(cached_groups(tmp_path, HASHES, build), GROUPS)
    assert "damaged cache; comparing the images again" in caplog.text
    cached_groups(tmp_path, HASHES, build)
    assert len(build.calls) == 2


def test_a_folder_that_can_t_be_written_is_reported(tmp_path, build, monkeypatch, caplog):
    monkeypatch.setattr(group_cache, "MOMENT", -1.0)
    (tmp_path / "file").write_text("")
    np.testing.assert_array_equal(cached_groups(tmp_path / "file", HASHES, build), GROUPS)
    assert "groups of near-duplicates not cached" in caplog.text
