"""The order in which the rows of a large file are read."""

import mmap
from types import SimpleNamespace

import numpy as np
import pytest

from facekp.data import chunks
from facekp.data.chunks import POOL, cut, even_sizes, pools_in_order, shuffled_pools, start_reading, while_reading_ahead
from facekp.data.datamodule import FaceData
from facekp.data.table import HostImages
from tests.conftest import settings_of

ROWS = np.flatnonzero(np.arange(1000) % 5)  # 800 rows of 1000


def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("chunk", [0, 1, 7, 50, 10_000])
def test_every_row_is_in_one_pool(chunk):
    assert sorted(np.concatenate(shuffled_pools(ROWS, chunk, generator()))) == ROWS.tolist()
    assert np.concatenate(pools_in_order(ROWS, chunk)).tolist() == ROWS.tolist()


def test_a_pool_mixes_a_few_chunks_of_neighbouring_rows():
    first, second = shuffled_pools(ROWS, 50, generator())  # 16 chunks
    chunks = np.unique(np.searchsorted(ROWS, first) // 50)
    assert len(chunks) == POOL
    assert chunks.tolist() != list(range(POOL))  # drawn from the whole file
    assert len(np.unique(np.searchsorted(ROWS, first[:50]) // 50)) > POOL / 2  # a chunk's rows are spread
    assert len(first) == len(second) == 400


def test_without_chunks_the_order_is_that_of_a_permutation():
    (pool,) = shuffled_pools(ROWS, 0, generator())
    assert pool.tolist() == generator().permutation(ROWS).tolist()


def test_pieces_cross_pools_and_ask_for_no_pool_that_they_do_not_need():
    asked = []

    def pools():
        for start in range(0, 40, 10):
            asked.append(start)
            yield np.arange(start, start + 10)

    pieces = list(cut(pools(), even_sizes(25, 4)))
    assert [len(piece) for piece in pieces] == [7, 6, 6, 6]
    assert np.concatenate(pieces).tolist() == list(range(25))
    assert asked == [0, 10, 20]


class Recorder(mmap.mmap):
    """A memory-mapped file that notes what the system is asked to read."""

    def __new__(cls, *arguments, **named):
        made = super().__new__(cls, *arguments, **named)
        made.wanted = []
        return made

    def madvise(self, advice, start, length):
        assert advice == mmap.MADV_WILLNEED
        self.wanted.append((start, start + length))
        super().madvise(advice, start, length)


@pytest.fixture
def mapped(tmp_path):
    """Images in a file after 40 bytes of something else, and the file's mapping."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 96, 96), np.uint8)
    (tmp_path / "images").write_bytes(bytes(40) + images.tobytes())
    with (tmp_path / "images").open("rb") as file:
        mapping = Recorder(file.fileno(), 0, access=mmap.ACCESS_READ)
    return HostImages(np.ndarray(images.shape, np.uint8, mapping, 40)), mapping


def test_the_system_is_asked_for_the_images_of_the_rows_and_few_others(mapped):
    images, mapping = mapped
    rows = np.array([3, 500, 4, 7, 510])
    start_reading(images.take(ROWS), rows)
    wanted = [range(first - 40, end - 40) for first, end in mapping.wanted]
    assert len(wanted) == 2
    for row in ROWS[rows]:
        image = range(row * 96 * 96, (row + 1) * 96 * 96)
        assert any(image[0] in span and image[-1] in span for span in wanted)
    assert sum(map(len, wanted)) < 25 * 96 * 96


def test_a_pool_is_read_while_the_one_before_it_is_used(mapped):
    images, mapping = mapped
    pools = while_reading_ahead(images, [np.arange(100), np.arange(300, 400), np.arange(600, 700)])
    ends = [(end - 40) // (96 * 96) for _ in pools for _, end in [mapping.wanted[-1]]]
    assert ends == [400, 700, 700]


def test_images_in_memory_are_not_asked_for(mapped):
    images, mapping = mapped
    start_reading(images[:], np.arange(10))
    start_reading(HostImages(images[:]), np.arange(10))
    start_reading(images, np.empty(0, np.int64))
    assert mapping.wanted == []


@pytest.mark.parametrize(("chunk", "asked"), [(0, False), (4, True)])
def test_loaders_read_ahead_where_rows_are_in_chunks(faces, monkeypatch, chunk, asked):
    wanted = []
    monkeypatch.setattr(chunks, "start_reading", lambda images, rows: wanted.extend(rows.tolist()))
    data = FaceData(faces, np.arange(80) % 5, 2, "full", 8, settings_of().augment, 0, chunk_rows=chunk)
    data.trainer = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
    for loader, rows in ((data.train_dataloader(), data.train_rows), (data.val_dataloader(), data.val_rows)):
        wanted.clear()
        assert sorted(np.concatenate([batch.rows for batch in loader])) == rows.tolist()
        assert sorted(wanted) == (rows.tolist() if asked else [])
