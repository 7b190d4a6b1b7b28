"""Faces cropped out of photos: their geometry, missing points, the cache, broken photos."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from facekp.core.channels import to_grey
from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.data import crops
from facekp.data.crops import read_crops
from facekp.data.face_crop import square_around
from facekp.data.labels.face import LabelledFace
from tests.data.photo_folder import BOX, FACE, HEADER, folder_settings, read_folder, write_one_photo
from tests.drawn_photos import five, write_photos


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


@given(
    box=st.tuples(*[st.floats(-300, 900, allow_subnormal=False)] * 2, *[st.floats(0.01, 1500)] * 2),
    size=st.integers(32, 256),
    places=st.lists(st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 2), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_points_map_back_from_any_box_at_any_size(box, size, places):
    x, y, width, height = box
    left, top, side = square_around((x, y, x + width, y + height))
    assert side >= max(width, height)
    assert left <= x + 1
    assert left + side >= x + width - 1
    photo = np.zeros((1000, 1000), np.uint8)
    if left + side <= 0 or top + side <= 0:
        return
    crop = Crop(left, top, side, side, (size, size))
    photo_matrix = crop.photo_matrix
    assert crop.cut(photo).shape == (size, size)
    points = np.array(places) * [width, height] + [x, y]
    inside = crop.to_crop(points).astype(np.float32)
    assert ((inside > -1 - size / side) & (inside < size + size / side)).all()
    back = inside @ photo_matrix[:, :2].T + photo_matrix[:, 2]
    np.testing.assert_allclose(back, points, atol=1e-3)


@given(
    side=st.integers(20, 480),
    size=st.integers(32, 160),
    corner=st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 2),
    place=st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
)
@settings(max_examples=60, deadline=None)
def test_a_dot_is_at_its_mapped_point(side, size, corner, place):
    left, top = (int(share * (500 - side)) for share in corner)
    x, y = (start + share * side for start, share in zip((left, top), place, strict=True))
    spread = 1.5 * max(side / size, 1)  # in the photo's pixels
    dot = [np.exp(-((np.arange(500) - centre) ** 2) / (2 * spread**2)) for centre in (y, x)]
    photo = np.rint(255 * np.outer(*dot)).astype(np.uint8)
    crop = Crop(left, top, side, side, (size, size))
    weight = crop.cut(photo).astype(float)
    found = [(weight.sum(axis=axis) * np.arange(size)).sum() / weight.sum() for axis in (0, 1)]
    np.testing.assert_allclose(found, crop.to_crop(np.array([[x, y]]))[0], atol=0.1)


def test_a_box_of_the_crop_s_size_is_not_resampled(folder):
    line = f"{HEADER},{BOX}"
    (folder / "labels.csv").write_text(f"{line}\n{FACE},5,7,37,39\n")
    table = read_folder(folder, "data.size=32")
    photo = np.asarray(Image.open(folder / "photos" / "a.png"))
    assert (table.images[0] == photo[7:39, 5:37]).all()
    assert table.points[0, 0].tolist() == [25, 13]
    assert np.isnan(table.points[0, 3:]).all()  # at y=40, a row below the box
    assert table.to_photo(table.points)[0, 0].tolist() == [30, 20]


@pytest.mark.parametrize("limit", [10**9, 1], ids=["memory", "file"])
def test_colour_crops_are_the_photo_s_pixels_and_their_grey_levels_the_grey_crop_s(folder, limit):
    photo = np.random.default_rng(1).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(photo).save(folder / "photos" / "a.png")
    (folder / "labels.csv").write_text(f"{HEADER},{BOX}\n{FACE},5,7,37,39\n")
    colour = read_folder(folder, "data.size=32", "data.channels=3", f"data.device_bytes={limit}")
    assert (colour.channels, colour.images.shape, colour.size) == (3, (1, 32, 32, 3), (32, 32))
    assert (colour.images[0] == photo[7:39, 5:37]).all()
    grey = read_folder(folder, "data.size=32", f"data.device_bytes={limit}")
    assert (grey.images[0] == to_grey(colour.images[0])).all()
    np.testing.assert_array_equal(grey.points, colour.points)


def test_images_of_more_than_the_limit_lie_in_a_file(folder):
    limit = f"data.device_bytes={3 * 96 * 96}"
    assert not isinstance(crops._allocate(3, folder_settings(folder, limit)), np.memmap)
    assert isinstance(crops._allocate(4, folder_settings(folder, limit)), np.memmap)
    with pytest.raises(UserError, match=r"data\.cache=null: .* set data\.cache to a folder"):
        crops._allocate(4, folder_settings(folder, limit, "data.cache=null"))


def test_of_missing_photos_the_first_is_named(folder):
    lines = [FACE, *(FACE.replace("a.png", name) for name in ("c.png", "b.png", "c.png"))]
    (folder / "labels.csv").write_text("\n".join([HEADER, *lines]))
    with pytest.raises(UserError, match=r"can't be used: 2, the first: .*line 3: .*c\.png: does not exist"):
        read_folder(folder)


def test_margin_is_a_fraction_of_the_points_extent(folder):
    narrow, wide = read_folder(folder, "data.margin=0"), read_folder(folder, "data.margin=0.5")
    scale = [table.photo_matrix[0, 0, 0] * 96 for table in (narrow, wide)]
    assert scale[0] == pytest.approx(20, abs=1.01)
    assert scale[1] == pytest.approx(40, abs=1.01)


def crop_of(table):
    """Left and top edge, and side, of the first crop in its photo."""
    (scale, _, left), (_, _, top) = table.photo_matrix[0]
    side = scale * table.size[1]
    return left + 0.5 - scale / 2, top + 0.5 - scale / 2, side


def test_without_a_margin_a_crop_holds_the_pixels_of_all_points(folder):
    table = read_folder(folder, "data.margin=0")  # points from (10, 20) to (30, 40)
    assert crop_of(table) == pytest.approx((10, 20, 21))
    assert table.mask.all()


def test_a_box_that_is_the_points_extent_is_widened_by_their_pixels(folder):
    (folder / "labels.csv").write_text(f"{HEADER},{BOX}\n{FACE},10,20,30,40\n")
    table = read_folder(folder)
    assert crop_of(table) == pytest.approx((10, 20, 21))
    assert table.mask.all()


def test_a_point_further_than_a_pixel_beyond_its_box_is_missing(folder):
    (folder / "labels.csv").write_text(f"{HEADER},{BOX}\n{FACE},10,20,31,38\n")
    table = read_folder(folder)
    assert crop_of(table)[2] == pytest.approx(21)
    assert table.mask.tolist() == [[True, True, True, False, False]]


def test_faces_of_unknown_position_are_left_out_and_counted(folder, caplog):
    lines = [FACE, "a.png" + "," * 10, "a.png,10,10" + "," * 8, "a.png,10,10,10,10" + "," * 6]
    (folder / "labels.csv").write_text("\n".join([HEADER, *lines]))
    assert read_folder(folder).row.tolist() == [1]
    assert "3 faces left out" in caplog.text
    boxed = [f"{line},0,0,50,50" for line in lines]
    (folder / "labels.csv").write_text("\n".join([f"{HEADER},{BOX}", *boxed]))
    assert read_folder(folder).row.tolist() == [1, 3, 4]


def test_points_beyond_the_photo_are_missing_and_counted(folder, caplog):
    (folder / "labels.csv").write_text(f"{HEADER}\na.png,30,20,-9,20,20,30,28,400,12,40\n")
    assert read_folder(folder).mask.tolist() == [[True, False, True, False, True]]
    assert "2 points outside the photo or box taken as missing, the first: " in caplog.text


def test_an_unlabelled_point_is_not_counted_as_one_beyond_the_photo(folder, caplog):
    face = "a.png,30,20,-9,20,,,28,40,12,40"
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE}\n{face}\n{face}\n")
    assert read_folder(folder).mask.tolist() == [[True] * 5, *[[True, False, False, True, True]] * 2]
    assert "2 points outside the photo or box taken as missing, the first: " in caplog.text
    assert "labels.csv: line 3" in caplog.text
    caplog.clear()
    (folder / "labels.csv").write_text(f"{HEADER}\na.png,30,20,10,20,,,28,40,12,40\n")
    read_folder(folder)
    assert "outside" not in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b.png"},
        {"points": np.ones((5, 2))},
        {"box": (0, 0, 9, 9)},
        {"source": 1},
        {"row": 2},
        {"size": (60, 50)},
        {"attributes": {"pose": "large"}},
        {"visible": np.full(5, 2, np.uint8)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_that_the_label_file_says_of_a_face_is_part_of_the_cache_s_key(change):
    face = LabelledFace("a.png", np.zeros((5, 2)), None, 0, 1, "line 1")
    assert crops._labels_digest([face]) == crops._labels_digest([replace(face, where="line 7")])
    assert crops._labels_digest([face]) != crops._labels_digest([replace(face, **change)])


def test_a_table_is_read_again_when_labels_photos_or_settings_change(tmp_path, monkeypatch):
    write_photos(tmp_path, 6)
    first = read_folder(tmp_path)
    cut = []
    original = Crop.cut
    monkeypatch.setattr(Crop, "cut", lambda self, photo: cut.append(self) or original(self, photo))
    again = read_folder(tmp_path)
    assert cut == []
    assert (again.images == first.images).all()
    assert again.name.tolist() == first.name.tolist()
    assert (again.photo_matrix == first.photo_matrix).all()
    read_folder(tmp_path, "data.margin=0.3")
    assert len(cut) == 6
    os.utime(tmp_path / "photos" / first.name[0], (1, 1))
    read_folder(tmp_path)
    assert len(cut) == 12
    pd.read_csv(tmp_path / "labels.csv").iloc[1:].to_csv(tmp_path / "labels.csv", index=False)
    read_folder(tmp_path)
    assert len(cut) == 17


def test_photos_of_the_same_names_sizes_and_times_in_another_folder_are_other_photos(tmp_path):
    for name, level in (("one", 10), ("two", 200)):
        (tmp_path / name).mkdir()
        write_one_photo(tmp_path / name)
        path = tmp_path / name / "photos" / "a.png"
        Image.fromarray(np.full((50, 60), level, np.uint8)).save(path.with_suffix(".bmp"))
        path.with_suffix(".bmp").rename(path)
        os.utime(path, (1, 1))
    sizes = {(tmp_path / name / "photos" / "a.png").stat().st_size for name in ("one", "two")}
    assert len(sizes) == 1
    shared = f"data.cache={tmp_path}/cache"
    assert read_folder(tmp_path / "one", shared).images.max() < 100
    assert read_folder(tmp_path / "two", shared).images.max() == 200
    (tmp_path / "one" / "photos").rename(tmp_path / "old")
    (tmp_path / "two" / "photos").rename(tmp_path / "one" / "photos")
    assert read_folder(tmp_path / "one", shared).images.max() == 200


def test_broken_photos_are_refused_together_or_skipped(tmp_path, caplog):
    labels = write_photos(tmp_path, 12)
    names = labels["name"].unique()
    (tmp_path / "photos" / names[2]).write_bytes(b"no image")
    whole = (tmp_path / "photos" / names[4]).read_bytes()
    (tmp_path / "photos" / names[4]).write_bytes(whole[: len(whole) // 2])
    line = labels.index[labels["name"] == names[2]][0] + 2
    with pytest.raises(
        UserError, match=f"can't be used: 2, the first: .*labels.csv: line {line}: .*data.skip_broken=true"
    ):
        read_folder(tmp_path)
    table = read_folder(tmp_path, "data.skip_broken=true")
    assert set(table.name) == set(names) - {names[2], names[4]}
    assert "2 photos can't be used and left out" in caplog.text
    (tmp_path / "photos" / names[5]).unlink()
    with pytest.raises(UserError, match=r"can't be used: 1, the first: .* does not exist"):
        read_folder(tmp_path)
    assert set(read_folder(tmp_path, "data.skip_broken=true").name) == set(names) - {names[2], names[4], names[5]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}\na.png,300,20,100,20,200,30,280,40,120,40", r"points are outside a.png of 60 x 50 .*\(300, 20\)"),
        (f"{HEADER},{BOX}\n{FACE},9,2,9,4", r"line 2: its box \(9, 2, 9, 4\) is empty"),
        (f"{HEADER},{BOX}\n{FACE},90,2,99,9", "line 2: its box .* is outside a.png"),
        (f"{HEADER},{BOX}\n{FACE},0,0,999,9", "line 2: its box .* is more than 3 times"),
        (f"{HEADER},{BOX}\n{FACE},0,0,5,5", "line 2: all its points are outside its box"),
        (f"{HEADER}\na.png{',' * 10}", "none of 1 faces is left"),
    ],
)  # fmt: skip
def test_a_face_that_cannot_be_cropped_is_refused_with_its_position(folder, text, message):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_folder(folder)
    assert "\n" not in str(error.value)


def test_labels_are_those_of_the_photo_as_a_viewer_shows_it(tmp_path):
    write_photos(tmp_path, 2)
    straight = read_folder(tmp_path)
    for path in (tmp_path / "photos").iterdir():
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown a quarter turn clockwise
        shown = ImageOps.exif_transpose(Image.open(path))
        shown.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    turned = read_folder(tmp_path)
    assert (turned.points == straight.points).all()
    assert np.abs(turned.images.astype(int) - straight.images).mean() < 1.5  # JPEG, once more


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("a.png,,,,,,,,,,,700,10,740,50", r"line 3: its box \(700, 10, 740, 50\) is outside a.png"),
        ("../a.png,,,,,,,,,,,0,0,60,50", "line 3: '../a.png' is outside .*; name photos relative to it"),
        ("A.PNG,,,,,,,,,,,0,0,60,50", "line 3: 'A.PNG' is not a file, and several have similar names: a.pnG, a.png"),
    ],
)
def test_a_face_with_a_fault_can_be_left_out(tmp_path, fields, message, caplog):
    write_one_photo(tmp_path)
    (tmp_path / "photos" / "a.pnG").write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    faulty = ",".join(point or label for point, label in zip(fields.split(","), f"{FACE},,,,".split(","), strict=True))
    (tmp_path / "labels.csv").write_text(f"{HEADER},{BOX}\n{FACE},,,,\n{faulty}\n{FACE},0,0,60,50\n")
    with pytest.raises(UserError, match=f"{message}.*; or leave out such faces with data.skip_broken=true"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, "data.skip_broken=true").row.tolist() == [1, 3]
    assert "1 face with errors left out (data.skip_broken=true), the first: " in caplog.text


def test_a_skipped_photo_is_read_when_its_format_can_be(folder, monkeypatch):
    (folder / "photos" / "b.png").write_bytes(b"no photo")
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE}\n{FACE.replace('a.png', 'b.png')}\n")
    assert len(read_folder(folder, "data.skip_broken=true")) == 1
    real, noise = crops.read_image, np.zeros((50, 60), np.uint8)
    monkeypatch.setattr(crops, "read_image", lambda file, **more: noise if "b.png" in file else real(file, **more))
    monkeypatch.setattr(crops, "readable_formats", lambda: ["B"])
    assert len(read_folder(folder, "data.skip_broken=true")) == 2


def test_the_name_of_a_photo_may_be_no_utf_8(folder):
    name = os.fsdecode(b"caf\xe9.png")
    (folder / "photos" / "a.png").rename(folder / "photos" / name)
    face = LabelledFace(name, np.array([(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)], float), None, 0, 1, "line 1")
    for _ in range(2):  # cropped, cached
        assert read_crops([face], folder_settings(folder), five()).name.tolist() == [name]
