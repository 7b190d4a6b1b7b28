"""The cache gives back what was parsed, notices every change and every damage, and never stands in the way."""

import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.cache import atomic, cached
from facekp.data.competition import read_training_csv, reading, write_training
from facekp.data.table import FaceTable

POINT = Keypoints("point", ("eye", "nose"), (), (), {"dense": ("eye", "nose")}, ("eye", "nose"))


def faces(n: int = 4, seed: int = 0) -> FaceTable:
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (n, 96, 96)).astype(np.uint8)
    points = draw.uniform(0, 96, (n, 2, 2)).astype(np.float32)
    points[0, 1] = np.nan
    return FaceTable(POINT, images, points, np.zeros(n, np.int8), np.arange(1, n + 1))


def same(left: FaceTable, right: FaceTable) -> bool:
    pairs = [(getattr(left, name), getattr(right, name)) for name in ("images", "points", "source", "row")]
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def forbidden() -> FaceTable:
    raise AssertionError("parsed, although the cache has it")


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_second_call_maps_what_the_first_one_kept(tmp_path):
    assert same(cached(tmp_path, ["a", 1], POINT, faces), faces())
    again = cached(tmp_path, ["a", 1], POINT, forbidden)
    assert same(again, faces())
    assert isinstance(again.images, np.memmap)
    assert not again.images.flags.writeable
    assert again.keypoints == POINT


def test_photos_are_kept_too(tmp_path):
    table = replace(
        faces(),
        name=np.array(["a", "ü.png", "c/d e", "a"]),
        photo_matrix=np.random.default_rng(0).random((4, 2, 3)),
        photo_hash=np.array([2**62, -3, 5, 2**62]),
    )
    for build in (lambda: table, forbidden):
        again = cached(tmp_path, ["a"], POINT, build)
        assert again.name.tolist() == table.name.tolist()
        assert (again.photo_matrix == table.photo_matrix).all()
        assert again.photo_hash.tolist() == table.photo_hash.tolist()
        assert isinstance(again.images, np.memmap)
    only_file(tmp_path)


def test_subsets_hidden_points_and_boxes_are_kept_too(tmp_path):
    box = np.arange(16, dtype=np.float32).reshape(4, 4)
    box[2] = np.nan
    visible = np.array([[2, 0], [1, 2], [2, 2], [1, 1]], np.uint8)
    attributes = {"pose": np.array(["large", "", "ü", "small"]), "blur": np.array(["0", "1", "0", "1"])}
    for build in (lambda: replace(faces(), attributes=attributes, visible=visible, box=box), forbidden):
        again = cached(tmp_path, ["a"], POINT, build)
        assert {name: values.tolist() for name, values in again.attributes.items()} == {
            "pose": ["large", "", "ü", "small"],
            "blur": ["0", "1", "0", "1"],
        }
        assert again.visible.tolist() == visible.tolist()
        np.testing.assert_array_equal(again.box, box)
        assert again.name is None
        assert same(again, faces())


def test_another_key_or_scheme_has_its_own_entry(tmp_path):
    cached(tmp_path, ["a", 1], POINT, faces)
    other = replace(POINT, sources={"dense": ("eye", "nose"), "sparse": ("eye",)})
    for key, scheme in ((["a", 2], POINT), (["a", 1], other)):
        assert same(cached(tmp_path, key, scheme, lambda: faces(seed=5)), faces(seed=5))
    assert same(cached(tmp_path, ["a", 1], POINT, forbidden), faces())


def test_changed_file_and_changed_parser_are_parsed_again(tmp_path, monkeypatch):
    path, cache = tmp_path / "training.csv", tmp_path / "cache"
    for seed in (0, 1):
        write_training(path, faces(seed=seed))
        os.utime(path, (0, 0))  # the same size and time do not matter
        assert same(read_training_csv(tmp_path, POINT, cache), faces(seed=seed))
    parsed = []
    parse = reading._read_training
    monkeypatch.setattr(reading, "_read_training", lambda *args: parsed.append(args) or parse(*args))
    read_training_csv(tmp_path, POINT, cache)
    assert not parsed
    monkeypatch.setattr(reading, "PARSER_VERSION", reading.PARSER_VERSION + 1)
    read_training_csv(tmp_path, POINT, cache)
    assert len(parsed) == 1


def flip_a_bit_in_the_images(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit_in_the_images,
        lambda content: content[:32] + bytes([content[32] ^ 255]) + content[33:],
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: b"",
        lambda content: content + b"x",
    ],
)
def test_damaged_entry_is_replaced_with_one_line(tmp_path, caplog, damage):
    cached(tmp_path, ["a"], POINT, faces)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert same(cached(tmp_path, ["a"], POINT, faces), faces())
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert only_file(tmp_path).read_bytes() == whole


def test_entry_of_other_shapes_or_types_is_replaced(tmp_path, caplog):
    table = faces()
    for wrong in (
        replace(table, points=table.points[:, :1]),
        replace(table, points=table.points.astype(np.float64)),
        replace(table, row=table.row[:2]),
        replace(table, images=table.images.astype(np.int16)),
        replace(table, visible=np.zeros((4, 3), np.uint8)),
        replace(table, box=np.zeros((4, 4))),
    ):
        cached(tmp_path, ["a"], POINT, lambda wrong=wrong: wrong)
        caplog.clear()
        assert same(cached(tmp_path, ["a"], POINT, faces), faces())
        assert len(caplog.messages) == 1
        only_file(tmp_path).unlink()


def test_folder_that_cannot_be_written_costs_one_line(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert same(cached(tmp_path / "file", ["a"], POINT, faces), faces())
    assert len(caplog.messages) == 1
    assert "cannot be written" in caplog.messages[0]


def test_failed_parse_leaves_nothing(tmp_path):
    def fail() -> FaceTable:
        raise UserError("row 3")

    with pytest.raises(UserError, match="row 3"):
        cached(tmp_path / "cache", ["a"], POINT, fail)
    assert not (tmp_path / "cache").exists()


def test_writers_at_the_same_time_do_no_harm(tmp_path):
    barrier = threading.Barrier(4)

    def build() -> FaceTable:
        barrier.wait()
        return faces(20)

    results: list[FaceTable] = []
    threads = [threading.Thread(target=lambda: results.append(cached(tmp_path, ["a"], POINT, build))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(same(result, faces(20)) for result in results)
    only_file(tmp_path)
    assert same(cached(tmp_path, ["a"], POINT, forbidden), faces(20))


def test_atomic_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with pytest.raises(UnicodeEncodeError), atomic(path) as part:
        part.write_text("half \ud800", encoding="utf-8")
    assert not path.parent.exists()
    for text in ("one", "two"):
        with atomic(path) as part:
            part.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert only_file(path.parent) == path


def test_what_was_warned_of_is_warned_of_again(tmp_path, caplog):
    def build() -> FaceTable:
        logging.getLogger("facekp.data.any").warning("%d points are missing", 3)
        return faces()

    cached(tmp_path, ["a"], POINT, build)
    assert caplog.text.count("3 points are missing") == 1
    cached(tmp_path, ["a"], POINT, forbidden)
    assert caplog.text.count("3 points are missing") == 2


def test_what_a_killed_process_left_is_removed_later(tmp_path):
    new, old = (tmp_path / f".{name}.faces.{12 * 'a'}.part" for name in ("new", "old"))
    for part in (new, old):
        part.touch()
    os.utime(old, (0, 0))
    cached(tmp_path, ["a"], POINT, faces)
    assert new.exists()
    assert not old.exists()
