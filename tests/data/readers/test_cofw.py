"""COFW's .mat: photos out of the file, points from 1, hidden points, boxes, and the error of every fault."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.readers.cofw import point_names
from tests.data.label_readers import read_labels

h5py = pytest.importorskip("h5py")
POINTS = np.array([(31, 21), (11, 21), (21, 31), (29, 41), (13, 41)], float)  # MATLAB's, from 1
HIDDEN = np.array([0, 0, 1, 0, 0])
GREY = np.random.default_rng(0).integers(0, 256, (50, 60), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8)


def write(folder, end="Tr", values=None, boxes=None, photos=(GREY, COLOUR)):
    """A file as MATLAB writes it: arrays transposed, photos behind references."""
    face = np.concatenate([POINTS.T.ravel(), HIDDEN])
    with h5py.File(folder / "COFW_test.mat", "w") as file:
        references = file.create_dataset(f"Is{end}", (1, len(photos)), dtype=h5py.ref_dtype)
        for i, photo in enumerate(photos):
            references[0, i] = file.create_dataset(f"#refs#/{i}", data=photo.T).ref
        file[f"phis{end}"] = np.stack([face] * 2, axis=1) if values is None else values
        file[f"bboxes{end}"] = np.tile([[6.0], [11], [40], [38]], (1, 2)) if boxes is None else boxes


def read(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/COFW_test.mat")
    return read_labels("cofw", *paths, *more)


@pytest.mark.parametrize("end", ["Tr", "T"])
def test_photos_are_written_once_and_points_count_from_1(tmp_path, end):
    write(tmp_path, end)
    table = read(tmp_path)
    assert table.name.tolist() == ["COFW_test/0001.png", "COFW_test/0002.png"]
    for name, pixels in zip(table.name, (GREY, COLOUR), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "photos" / name)), pixels)
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS - 1, atol=1e-4)
    np.testing.assert_allclose(table.photo_matrix[0, :, 2], (5, 9), atol=0.7)
    assert table.visible.tolist() == [[2, 2, 1, 2, 2]] * 2
    assert point_names(tmp_path / "COFW_test.mat") == ["0", "1", "2", "3", "4"]
    kept = (tmp_path / "photos" / "COFW_test" / "0001.png").stat().st_mtime_ns
    read(tmp_path)
    assert (tmp_path / "photos" / "COFW_test" / "0001.png").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.full((15, 2), np.nan)}, "COFW_test.mat: face 1: its points or its box are not finite numbers"),
        ({"values": np.ones((87, 2))}, "COFW_test.mat: has 29 points, but keypoints five has 5"),
        ({"boxes": np.ones((4, 3))}, r"photos \(1, 2\), points \(15, 2\) and boxes \(4, 3\) do not fit together"),
        ({"end": "Q"}, "COFW_test.mat: has no IsT; give COFW_train_color.mat or COFW_test_color.mat"),
        ({"photos": (GREY.astype(float), GREY)}, r"0001.png: its pixels are float64 \(50, 60\), not a photo in 8 bits"),
    ],
)
def test_faults_are_refused(tmp_path, change, message):
    write(tmp_path, **change)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_a_photo_with_a_fault_can_be_left_out_and_other_files_are_refused(tmp_path):
    write(tmp_path, photos=(GREY.astype(float), GREY))
    assert read(tmp_path, "data.skip_broken=true").row.tolist() == [2]
    (tmp_path / "COFW_test.mat").write_text("name,x,y")
    with pytest.raises(UserError, match=r"COFW_test.mat: can't be read as MATLAB's format 7.3 .*; give COFW's .mat"):
        read(tmp_path)


def test_the_photos_of_another_file_of_the_same_name_are_written(tmp_path):
    write(tmp_path)
    read(tmp_path)
    write(tmp_path, photos=(COLOUR[..., 0], COLOUR))
    os.utime(tmp_path / "COFW_test.mat", (1e9, 1e9))
    read(tmp_path)
    np.testing.assert_array_equal(Image.open(tmp_path / "photos" / "COFW_test" / "0001.png"), COLOUR[..., 0])


def test_the_photos_of_a_file_in_another_folder_are_not_mixed_up(tmp_path):
    folders = (("a", (GREY, COLOUR), 1e9), ("b", (COLOUR[..., 0], COLOUR), 2e9), ("c", (GREY, COLOUR), 1e9))
    for name, photos, seconds in folders:
        (tmp_path / name).mkdir()
        write(tmp_path / name, photos=photos)
        os.utime(tmp_path / name / "COFW_test.mat", (seconds, seconds))
    images = f"data.images={tmp_path}/photos"
    expected = read(tmp_path / "a", images)
    with pytest.raises(
        UserError,
        match=r"0001.png: is not known to be a photo of .*/b/COFW_test.mat; choose .* delete the folder .*/COFW_test",
    ):
        read(tmp_path / "b", images)
    np.testing.assert_array_equal(read(tmp_path / "c", images).images, expected.images)  # a copy


def test_written_photos_are_used_where_the_file_can_t_be_read_again(tmp_path, monkeypatch, caplog):
    write(tmp_path)
    before = read(tmp_path)
    os.utime(tmp_path / "COFW_test.mat", (1e9, 1e9))  # copied without its time

    def refuse(*_):
        raise UserError("broken")

    monkeypatch.setattr("facekp.data.readers.cofw._pixels", refuse)
    np.testing.assert_array_equal(read(tmp_path).images, before.images)
    assert caplog.text.count("may have changed since its photos were written") == 1


def test_photos_of_a_moved_file_are_neither_read_again_nor_written(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    images, photo = f"data.images={tmp_path}/photos", tmp_path / "photos" / "COFW_test" / "0001.png"
    expected = read(tmp_path / "a", images).images
    content = photo.read_bytes()
    status = (tmp_path / "a" / "COFW_test.mat").stat()
    os.utime(tmp_path / "b" / "COFW_test.mat", ns=(status.st_atime_ns, status.st_mtime_ns))  # moved
    os.utime(tmp_path / "c" / "COFW_test.mat", (1e9, 1e9))  # copied without its time
    np.testing.assert_array_equal(read(tmp_path / "c", images).images, expected)
    monkeypatch.setattr("facekp.data.readers.cofw._pixels", None)
    for name in "bc":
        np.testing.assert_array_equal(read(tmp_path / name, images).images, expected)
    assert photo.read_bytes() == content


def test_photos_that_state_no_file_count_if_they_have_its_time(tmp_path, monkeypatch):
    write(tmp_path)
    expected = read(tmp_path).images
    seconds = (tmp_path / "COFW_test.mat").stat().st_mtime
    for name, pixels in (("0001.png", GREY), ("0002.png", COLOUR)):  # as earlier versions wrote them
        Image.fromarray(pixels).save(tmp_path / "photos" / "COFW_test" / name)
        os.utime(tmp_path / "photos" / "COFW_test" / name, (seconds, seconds))
    monkeypatch.setattr("facekp.data.readers.cofw._pixels", None)
    np.testing.assert_array_equal(read(tmp_path).images, expected)


def test_slightly_different_pixels_of_a_copied_file_are_used_with_a_warning(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    write(tmp_path)
    expected = read(tmp_path).images
    brighter = np.clip(GREY.astype(int) + 5, 0, 255).astype(np.uint8)  # as another decoder gives them
    write(tmp_path / "b", photos=(brighter, COLOUR))
    np.testing.assert_array_equal(read(tmp_path / "b", f"data.images={tmp_path}/photos").images, expected)
    assert "are used as they are (its frames are decoded differently here)" in caplog.text
