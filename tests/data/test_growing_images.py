"""Images that are appended: the same array in memory and in a file."""

import numpy as np
import pytest

from facekp.core.errors import CannotWrite
from facekp.data import growing_images
from facekp.data.growing_images import GrowingImages
from facekp.data.readers.read import read_table
from facekp.data.table import HostImages
from tests.data.samples import data_settings

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8)


def grown(parts, folder=None):
    images = GrowingImages(folder)
    for part in parts:
        images.append(part)
    return images.finish()


@pytest.mark.parametrize("limit", [0, 500, 10_000])
def test_images_are_kept_in_order_in_memory_and_in_a_file(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(growing_images, "IN_MEMORY", limit)
    parts = [IMAGES[:7], IMAGES[7:8], IMAGES[8:][:, ::-1][:, ::-1]]
    together = grown(parts, tmp_path / "cache")
    np.testing.assert_array_equal(together, IMAGES)
    assert isinstance(together, np.memmap) == (limit < IMAGES.nbytes)
    assert list(tmp_path.glob("cache/*")) == []  # the file has no name


def test_without_a_folder_that_can_be_written_the_system_s_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(growing_images, "IN_MEMORY", 0)
    (tmp_path / "file").touch()
    np.testing.assert_array_equal(grown([IMAGES], tmp_path / "file" / "cache"), IMAGES)


def test_a_full_disk_is_an_error_in_one_line(monkeypatch):
    monkeypatch.setattr(growing_images, "IN_MEMORY", 0)
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(growing_images.tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(CannotWrite, match="No space left on device"):
            grown([IMAGES])


def test_rows_of_a_large_table_are_chosen_without_reading_it(scheme, monkeypatch):
    settings = data_settings("data=synthetic", "data.rows=30")
    whole = read_table(settings, scheme)
    monkeypatch.setattr(growing_images, "IN_MEMORY", 0)
    hosted = read_table(settings.replaced(device_bytes=0), scheme)
    assert isinstance(hosted.images, HostImages)
    np.testing.assert_array_equal(hosted.images[:], whole.images)
