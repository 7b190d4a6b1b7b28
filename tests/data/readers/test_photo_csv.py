"""Photos and a CSV: every face is cut out where it says, with its way back; every fault has its line."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.crops import read_photo, square_around, to_crop
from facekp.data.readers.registry import read_table
from facekp.data.split import inseparable_groups
from tests.conftest import config_of
from tests.drawn_photos import DRAWN, five, write_photos

POINTS = [f"{name}_{axis}" for name in DRAWN for axis in "xy"]
HEADER = ",".join(["name", *POINTS])
FACE = "a.png,30,20,10,20,20,30,28,40,12,40"


def data_config(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", f"data.cache={folder}/cache")
    return config_of("data=folder", *paths, *more)["data"]


def read(folder, *more, scheme=None):
    return read_table(data_config(folder, *more), scheme or five())


@pytest.fixture
def one(tmp_path):
    """A folder with one photo of 60 x 50 pixels and one line on it."""
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (50, 60), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photos" / "a.png")
    (tmp_path / "labels.csv").write_text(f"{HEADER}\n{FACE}\n")
    return tmp_path


# Geometry


@given(
    box=st.tuples(*[st.floats(-300, 900, allow_subnormal=False)] * 2, *[st.floats(0.01, 1500)] * 2),
    size=st.integers(32, 256),
    places=st.lists(st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 2), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_points_come_back_from_any_box_at_any_size(box, size, places):
    x, y, width, height = box
    left, top, side = square_around((x, y, x + width, y + height))
    assert side >= max(width, height)
    assert left <= x + 1
    assert left + side >= x + width - 1
    photo = np.zeros((1000, 1000), np.uint8)
    if left + side <= 0 or top + side <= 0:
        return
    crop = Crop(left, top, side, side, (size, size))
    to_source = crop.to_source
    assert crop.cut(photo).shape == (size, size)
    points = np.array(places) * [width, height] + [x, y]
    inside = to_crop(points, to_source).astype(np.float32)
    assert ((inside > -1 - size / side) & (inside < size + size / side)).all()
    back = inside @ to_source[:, :2].T + to_source[:, 2]
    np.testing.assert_allclose(back, points, atol=1e-3)


@given(
    side=st.integers(20, 480),
    size=st.integers(32, 160),
    corner=st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 2),
    place=st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
)
@settings(max_examples=60, deadline=None)
def test_a_dot_is_found_where_its_point_says(side, size, corner, place):
    left, top = (int(share * (500 - side)) for share in corner)
    x, y = (start + share * side for start, share in zip((left, top), place, strict=True))
    spread = 1.5 * max(side / size, 1)  # in the photo's pixels
    dot = [np.exp(-((np.arange(500) - centre) ** 2) / (2 * spread**2)) for centre in (y, x)]
    photo = np.rint(255 * np.outer(*dot)).astype(np.uint8)
    crop = Crop(left, top, side, side, (size, size))
    weight = crop.cut(photo).astype(float)
    found = [(weight.sum(axis=axis) * np.arange(size)).sum() / weight.sum() for axis in (0, 1)]
    np.testing.assert_allclose(found, to_crop(np.array([[x, y]]), crop.to_source)[0], atol=0.1)


def test_a_box_of_the_very_size_is_cut_out_as_it_is(one):
    line = HEADER + ",box_x0,box_y0,box_x1,box_y1"
    (one / "labels.csv").write_text(f"{line}\n{FACE},5,7,37,39\n")
    table = read(one, "data.size=32")
    photo = np.asarray(Image.open(one / "photos" / "a.png"))
    assert (table.images[0] == photo[7:39, 5:37]).all()
    assert table.points[0, 0].tolist() == [25, 13]
    assert np.isnan(table.points[0, 3:]).all()  # at y=40, a row below the box
    assert table.in_source(table.points)[0, 0].tolist() == [30, 20]


# The table


@pytest.mark.parametrize("boxes", [False, True])
def test_the_table_holds_every_face_with_its_labels_in_photo_pixels(tmp_path, boxes):
    labels = write_photos(tmp_path, 24, boxes=boxes)
    labels.loc[3, POINTS[:2]] = np.nan
    labels.to_csv(tmp_path / "labels.csv", index=False)
    table = read(tmp_path, "data.size=64")
    assert table.size == (64, 64)
    assert table.name.tolist() == labels["name"].tolist()
    assert table.row.tolist() == list(range(1, 25))
    truth = labels[POINTS].to_numpy().reshape(24, 5, 2)
    np.testing.assert_allclose(table.in_source(table.points)[table.mask], truth[table.mask], atol=1e-3)
    assert (table.mask == ~np.isnan(truth[..., 0])).mean() > 0.97  # the others lie beyond their photo
    assert not table.mask[3, 0]


def test_margin_is_a_share_of_the_points_extent(one):
    narrow, wide = read(one, "data.margin=0"), read(one, "data.margin=0.5")
    scale = [table.to_source[0, 0, 0] * 96 for table in (narrow, wide)]
    assert scale[0] == pytest.approx(20, abs=1.01)
    assert scale[1] == pytest.approx(40, abs=1.01)


def test_faces_of_one_photo_are_never_parted(tmp_path):
    write_photos(tmp_path, 40)
    table = read(tmp_path)
    assert len(np.unique(table.name)) < 40
    groups = inseparable_groups(table)
    for name in np.unique(table.name):
        assert len(np.unique(groups[table.name == name])) == 1
    assert len(np.unique(groups)) == len(np.unique(table.name))


def test_the_source_column_names_the_convention_and_the_first_one_is_the_default(one):
    scheme = Keypoints.from_dict({**five().to_dict(), "sources": {"mine": None, "other": ["nose", "left_eye"]}})
    (one / "labels.csv").write_text(f"{HEADER},source\n{FACE},other\n{FACE},\n")
    assert read(one, scheme=scheme).source.tolist() == [1, 0]
    (one / "labels.csv").write_text(f"{HEADER},source\n{FACE},theirs\n")
    with pytest.raises(
        UserError, match="line 2, source: 'theirs' is no source of keypoints five; choose one of mine, other"
    ):
        read(one, scheme=scheme)


def test_faces_without_a_place_are_left_out_and_counted(one, caplog):
    lines = [FACE, "a.png" + "," * 10, "a.png,10,10" + "," * 8, "a.png,10,10,10,10" + "," * 6]
    (one / "labels.csv").write_text("\n".join([HEADER, *lines]))
    assert read(one).row.tolist() == [1]
    assert "3 faces left out" in caplog.text
    boxed = [f"{line},0,0,50,50" for line in lines]
    (one / "labels.csv").write_text("\n".join([HEADER + ",box_x0,box_y0,box_x1,box_y1", *boxed]))
    assert read(one).row.tolist() == [1, 3, 4]


def test_points_beyond_the_photo_are_missing_and_counted(one, caplog):
    (one / "labels.csv").write_text(f"{HEADER}\na.png,30,20,-9,20,20,30,28,400,12,40\n")
    assert read(one).mask.tolist() == [[True, False, True, False, True]]
    assert "2 points lie beyond" in caplog.text


def test_a_table_is_read_again_when_labels_photos_or_settings_change(tmp_path, monkeypatch):
    write_photos(tmp_path, 6)
    first = read(tmp_path)
    cut = []
    original = Crop.cut
    monkeypatch.setattr(Crop, "cut", lambda self, photo: cut.append(self) or original(self, photo))
    again = read(tmp_path)
    assert cut == []
    assert (again.images == first.images).all()
    assert again.name.tolist() == first.name.tolist()
    assert (again.to_source == first.to_source).all()
    read(tmp_path, "data.margin=0.3")
    assert len(cut) == 6
    os.utime(tmp_path / "photos" / first.name[0], (1, 1))
    read(tmp_path)
    assert len(cut) == 12
    pd.read_csv(tmp_path / "labels.csv").iloc[1:].to_csv(tmp_path / "labels.csv", index=False)
    read(tmp_path)
    assert len(cut) == 17


# Photos of all kinds


def kinds():
    """A drawing in colours, and ways to store it that a viewer shows alike."""
    colours = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8), (70, 50))
    image = Image.fromarray(colours)
    opaque = Image.merge("RGBA", (*image.split(), Image.new("L", image.size, 255)))
    return image, {
        "colour.png": image,
        "colour.bmp": image,
        "colour.webp": image,
        "opaque.png": opaque,
        "palette.png": image.quantize(256),
        "colour.jpg": image,
        "cmyk.jpg": image.convert("CMYK"),
    }


def save(image, path):
    image.save(
        path,
        **({"quality": 98} if path.suffix == ".jpg" else {}),
        **({"lossless": True} if path.suffix == ".webp" else {}),
    )


@pytest.mark.parametrize("name", kinds()[1])
def test_colours_become_the_same_grey_whatever_the_format(tmp_path, name):
    image, stored = kinds()
    save(stored[name], tmp_path / name)
    expected = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY).astype(int)
    tolerance = {"palette.png": 30, "colour.jpg": 6, "cmyk.jpg": 8}.get(name, 0)
    assert np.abs(read_photo(tmp_path / name) - expected).max() <= tolerance


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    levels = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    for name in ("deep.png", "deep.tiff"):
        Image.fromarray(levels).save(tmp_path / name)
        assert np.abs(read_photo(tmp_path / name) - np.arange(256).reshape(16, 16)).max() <= 1, name
    bits = Image.fromarray(levels > 30000)
    bits.save(tmp_path / "bits.png")
    assert set(np.unique(read_photo(tmp_path / "bits.png"))) == {0, 255}


def test_behind_transparent_pixels_is_grey(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2] = 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_photo(tmp_path / "clear.png").tolist() == [[255] * 4] * 2 + [[127] * 4] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_photo_as_opencv_does(tmp_path, orientation):
    image, _ = kinds()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    image.save(path, exif=exif, quality=98)
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)
    found = read_photo(path)
    assert found.shape == expected.shape[:2] == ((50, 70) if orientation < 5 else (70, 50))
    assert np.abs(found - cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY).astype(int)).max() <= 4


def test_labels_are_those_of_the_photo_as_a_viewer_shows_it(tmp_path):
    write_photos(tmp_path, 2)
    straight = read(tmp_path)
    for path in (tmp_path / "photos").iterdir():
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown a quarter turn clockwise
        shown = ImageOps.exif_transpose(Image.open(path))
        shown.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    turned = read(tmp_path)
    assert (turned.points == straight.points).all()
    assert np.abs(turned.images.astype(int) - straight.images).mean() < 1.5  # JPEG, once more


# Faults


def test_broken_photos_are_refused_together_or_left_out(tmp_path, caplog):
    labels = write_photos(tmp_path, 12)
    names = labels["name"].unique()
    (tmp_path / "photos" / names[2]).write_bytes(b"no image")
    whole = (tmp_path / "photos" / names[4]).read_bytes()
    (tmp_path / "photos" / names[4]).write_bytes(whole[: len(whole) // 2])
    line = labels.index[labels["name"] == names[2]][0] + 2
    with pytest.raises(
        UserError, match=f"can't be used: 2, the first: .*labels.csv: line {line}: .*data.skip_broken=true"
    ):
        read(tmp_path)
    table = read(tmp_path, "data.skip_broken=true")
    assert set(table.name) == set(names) - {names[2], names[4]}
    assert "2 photos can't be used and are left out" in caplog.text
    (tmp_path / "photos" / names[5]).unlink()
    with pytest.raises(UserError, match=r"can't be used: 1, the first: .* does not exist"):
        read(tmp_path)
    assert set(read(tmp_path, "data.skip_broken=true").name) == set(names) - {names[2], names[4], names[5]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "column 'name' of keypoints five is missing"),
        (HEADER, "holds a header and no faces"),
        (f"{HEADER.replace('nose_x', 'chin_x')}\n{FACE}", "column 'nose_x' of keypoints five is missing; add it"),
        (f"{HEADER},chin_x\n{FACE},1", "column 'chin_x' is no point of keypoints five"),
        (f"{HEADER},nose_x\n{FACE},1", "column 'nose_x' stands 2 times"),
        (f"{HEADER},box_x0\n{FACE},1", "column 'box_y0' is missing beside box_x0"),
        (HEADER.replace(",", ";"), "divide the fields by commas"),
        (f"{HEADER}\n\n{FACE}\n{FACE},5", "line 4: 12 fields under 11 columns"),
        (f"{HEADER}\n{FACE.replace('30', 'x3', 1)}", "line 2, left_eye_x: 'x3' is no coordinate; write a number"),
        (f"{HEADER}\n{FACE.replace('30', 'nan', 1)}", "line 2, left_eye_x: 'nan' is no coordinate"),
        (f"{HEADER}\n{FACE.replace('30', '', 1)}", "line 2, left_eye: only one of left_eye_x and left_eye_y"),
        (f"{HEADER}\n{FACE.replace('a.png', '', 1)}", "line 2, name: is empty"),
        (f"{HEADER}\na.png,300,20,100,20,200,30,280,40,120,40", r"points lie outside a.png of 60 x 50 .*\(300, 20\)"),
        (f"{HEADER},box_x0,box_y0,box_x1,box_y1\n{FACE},1,2,,4", "line 2, box_x0: only some of"),
        (f"{HEADER},box_x0,box_y0,box_x1,box_y1\n{FACE},9,2,9,4", r"line 2: its box \(9, 2, 9, 4\) is empty"),
        (f"{HEADER},box_x0,box_y0,box_x1,box_y1\n{FACE},90,2,99,9", "line 2: its box .* lies outside a.png"),
        (f"{HEADER},box_x0,box_y0,box_x1,box_y1\n{FACE},0,0,999,9", "line 2: its box .* is more than 3 times"),
        (f"{HEADER},box_x0,box_y0,box_x1,box_y1\n{FACE},0,0,5,5", "line 2: all its points lie outside its box"),
        (f"{HEADER}\na.png{',' * 10}", "no labelled face is left of 1"),
    ],
)  # fmt: skip
def test_every_fault_is_told_with_its_place(one, text, told):
    (one / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=told) as error:
        read(one)
    assert "\n" not in str(error.value)


def test_missing_files_and_other_encodings_are_told(one):
    with pytest.raises(UserError, match=r"data.images=.*nowhere: no such folder"):
        read(one, f"data.images={one}/nowhere")
    with pytest.raises(UserError, match=r"data.labels=.*no.csv: can't be read \(No such file"):
        read(one, f"data.labels={one}/no.csv")
    (one / "labels.csv").write_bytes(f"{HEADER}\n{FACE}".encode("utf-16"))
    with pytest.raises(UserError, match="save it as CSV with commas, in UTF-8"):
        read(one)
    (one / "labels.csv").write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{FACE}\r\n".encode())
    assert len(read(one)) == 1
