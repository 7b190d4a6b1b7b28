"""labelme's JSON files: points from the photo's edge, groups, rectangles, outlines, paths, and every fault's error."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.label_file import open_label_file
from facekp.data.readers.labelme import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)])
NAMES = list(DRAWN)
ASIDE, LOWER = np.array((25, 0)), np.array((20, 5))  # from a face to another one


def shape(label, points, kind="point", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def point(name, xy, **more):
    return shape(name, [[float(xy[0]) + 0.5, float(xy[1]) + 0.5]], **more)  # from the photo's edge


def face(points=POINTS, names=NAMES, **more):
    return [point(name, xy, **more) for name, xy in zip(names, points, strict=True)]


def outline(points=POINTS, kind="linestrip", **more):
    return shape("face", (points + 0.5).tolist(), kind, **more)


def rectangle(left, top, right, bottom, label="face", **more):
    return shape(label, [[right, bottom], [left, top]], "rectangle", **more)


def content(*shapes, **more):
    values = {"imagePath": "a.png", "imageData": None, "imageWidth": 60, "imageHeight": 50, "flags": {}}
    return {"version": "5.5.0", "shapes": list(shapes), **values, **more}


def write(folder, *shapes, file="photos/a.json", **more):
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content(*shapes, **more)))


def add_photo(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((folder / "photos" / "a.png").read_bytes())


def read(folder, *more):
    return read_labels("labelme", f"data.images={folder}/photos", *more)


def in_photo(table):
    return table.to_photo(table.points)


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


def test_points_are_matched_by_label_and_count_from_the_photo_s_edge(folder):
    order = [3, 0, 4, 2, 1]
    write(folder, *face(POINTS[order], [NAMES[i] for i in order]))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table)[0], POINTS, atol=1e-4)
    assert (table.box, table.visible, table.attributes) == (None, None, {})
    assert table.name.tolist() == ["a.png"]
    assert point_names(folder / "photos") == [NAMES[i] for i in order]


def test_numbers_count_from_0_or_1(folder):
    write(folder, *face(names=["5", "4", "3", "2", "1"]))
    np.testing.assert_allclose(in_photo(read(folder))[0], POINTS[::-1], atol=1e-4)
    assert point_names(folder / "photos") == ["1", "2", "3", "4", "5"]


def test_the_shapes_of_a_group_are_a_face(folder):
    write(
        folder,
        *face(group_id=0),
        *face(POINTS[:3] + ASIDE, NAMES[:3], group_id=7),
        rectangle(0, 0, 60, 50, group_id=7),
        rectangle(5, 10, 45, 48),
        rectangle(0, 5, 58, 50),
    )
    table = read(folder)
    assert table.row.tolist() == [1, 2]
    assert table.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    np.testing.assert_allclose(table.photo_matrix[:, :, 2], [(5, 9), (0, -5)], atol=0.7)  # squares around the boxes


def test_without_groups_points_belong_to_the_only_rectangle_or_to_the_smallest_around_them(folder):
    write(folder, *face(), rectangle(5, 10, 35, 30))  # the mouth is outside
    assert read(folder, "data.boxes=points").mask.tolist() == [[True] * 5]
    small = face(POINTS[:3] / 2, NAMES[:3])
    write(folder, *face(POINTS + LOWER), *small, rectangle(0, 0, 60, 50), rectangle(2, 5, 25, 25))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table)[0], POINTS + LOWER, atol=1e-4)
    assert table.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


@pytest.mark.parametrize(
    "corners",
    [[[5, 10], [45, 48]], [[45, 10], [5, 48]], [[5, 10], [45, 10], [45, 48], [5, 48]]],  # the last as X-AnyLabeling
)
@pytest.mark.parametrize("kind", ["rectangle", "rotation"])
def test_a_rectangle_has_two_or_four_corners_in_any_order(folder, corners, kind):
    write(folder, *face(), shape("face", corners, kind))
    np.testing.assert_allclose(read(folder).box[0] * 40 / 96, (0, 1, 40, 39), atol=0.01)


@pytest.mark.parametrize("kind", ["linestrip", "polygon", "points", None])
def test_without_points_an_outline_is_a_face_in_the_order_of_the_scheme(folder, kind):
    write(folder, outline(kind=kind, flags={"blurred": True}), outline(POINTS + 5, kind), rectangle(0, 0, 60, 50))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table), [POINTS, POINTS + 5], atol=1e-4)
    assert table.attributes["blurred"].tolist() == ["1", ""]
    assert point_names(folder / "photos") == ["0", "1", "2", "3", "4"]
    write(folder, outline(POINTS[:4], kind))
    with pytest.raises(UserError, match=r"a.json: shape 1: has 4 points, but keypoints five has 5"):
        read(folder)


def test_beside_points_outlines_and_other_shapes_are_counted(folder, caplog):
    write(folder, *face(), outline(), shape("sun", [[1, 2], [3, 4]], "circle"))
    assert len(read(folder)) == 1
    assert "2 shapes left out, the first: " in caplog.text
    assert "a.json: shape 6: an outline; only points and rectangles are read" in caplog.text


def test_flags_and_attributes_describe_the_face_and_mark_hidden_points(folder):
    marked = face(flags={"blurred": False, "occluded": False}, attributes={"tone": "light"})
    marked[0] = {**marked[0], "flags": {"blurred": False, "occluded": True}}
    marked[1] = point(
        NAMES[1], POINTS[1], attributes={"visibility": "Hidden", "tone": "light"}, flags={"blurred": True}
    )
    marked[2] = {**marked[2], "difficult": True}
    box = rectangle(0, 0, 60, 50, attributes={"pose": "large"}, difficult=False, flags={"glasses": True})
    write(folder, *marked, box, flags={"indoor": True, "": True})
    table = read(folder)
    assert table.visible.tolist() == [[1, 1, 1, 2, 2]]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "indoor": ["1"],
        "tone": ["light"],  # of all points
        "glasses": ["1"],
        "pose": ["large"],
        "difficult": ["0"],
    }


@pytest.mark.parametrize(
    ("file", "image_path"),
    [
        ("labels/a.json", "..\\photos\\sub\\b.png"),
        ("photos/sub/b.json", "b.png"),
        ("photos/annotations/b.json", "../sub/b.png"),
        ("labels/b.json", "../moved/photos/sub/b.png"),
        ("labels/b.json", "C:\\old\\sub\\b.png"),
        ("labels/sub/b.json", "b.png"),
    ],
)
def test_the_photo_is_found_by_its_path_from_the_file_or_by_the_end_of_it(folder, file, image_path):
    add_photo(folder, "photos/sub/b.png")
    add_photo(folder, "photos/b.png")
    write(folder, *face(), file=file, imagePath=image_path)
    for labels in (folder / file.partition("/")[0], folder / file):
        assert read(folder, f"data.labels={labels}").name.tolist() == ["sub/b.png"]


def test_two_paths_that_end_at_one_photo_are_refused(folder):
    for name in ("x", "y"):
        write(folder, *face(POINTS + (name == "y") * ASIDE), file=f"labels/{name}/a.json")
    with pytest.raises(
        UserError, match=r"y/a.json: .*labels/y/a.png and .*labels/x/a.png are both a.png in .*; use sub"
    ):
        read(folder, f"data.labels={folder}/labels")
    assert len(read(folder, f"data.labels={folder}/labels", "data.skip_broken=true")) == 1


def test_two_files_of_one_photo_must_not_contradict_each_other(folder, caplog):
    for name, points in (("x", POINTS), ("y", POINTS + ASIDE), ("z", POINTS)):
        write(folder, *face(points), file=f"labels/{name}.json", imagePath="../photos/a.png")
    assert len(read(folder, f"data.labels={folder}/labels")) == 3
    assert "1 face with the points of another face of the same photo" in caplog.text
    write(folder, *face(POINTS + 3), file="labels/z.json", imagePath="../photos/a.png")
    with pytest.raises(
        UserError, match=r"z.json: shape 1: .*x.json has other points for the same face of a.png; remove"
    ):
        read(folder, f"data.labels={folder}/labels")


def test_inspect_finds_the_photos_beside_a_folder_of_label_files(folder):
    write(folder, *face(), file="labels/a.json", imagePath="..\\photos\\a.png")
    file = open_label_file(folder / "labels", None, None, None)
    assert (file.settings.name, file.settings.images, file.has_photos) == ("labelme", f"{folder}/photos", True)
    assert file.keypoints.names == tuple(NAMES)


def test_a_photo_outside_the_folder_needs_anywhere(folder):
    add_photo(folder, "secret/b.png")
    write(folder, *face(), imagePath="../secret/b.png")
    with pytest.raises(UserError, match=r"photos/b.png: does not exist"):
        read(folder)
    assert read(folder, "data.anywhere=true").name.tolist() == [f"{folder}/secret/b.png"]
    write(folder, *face(), imagePath="..\\secret\\b.png")
    assert read(folder, "data.anywhere=true").name.tolist() == [f"{folder}/secret/b.png"]


def test_photos_that_only_the_label_file_holds_are_counted(folder, caplog):
    write(folder, *face(), imageData="iVBOR", imagePath="b.png")
    with pytest.raises(UserError, match=r"b.png: does not exist"):
        read(folder)
    assert "1 photo is not in " in caplog.text
    assert "photos/a.json; write them to files first, as docs/how-to/landmark_formats.md shows" in caplog.text
    caplog.clear()
    for name in ("a.png", "A.PNG"):
        write(folder, *face(), imageData="iVBOR", imagePath=name)
        assert read(folder).name.tolist() == ["a.png"]
    assert caplog.text.count("imageData") == 0


def test_a_photo_is_as_viewers_show_it(folder):
    photo = Image.open(folder / "photos" / "a.png")
    exif = photo.getexif()
    exif[0x0112] = 6  # a quarter turn
    photo.save(folder / "photos" / "a.png", exif=exif)
    write(folder, *face(), imageWidth=50, imageHeight=60)
    np.testing.assert_allclose(in_photo(read(folder))[0], POINTS, atol=1e-4)
    write(folder, *face())
    with pytest.raises(UserError, match=r"a.png: its labels are for 60 x 50 pixels, but a viewer shows 50 x 60"):
        read(folder)


@pytest.mark.parametrize("size", [(None, None), (-1, -1), (0, 0), ("60", 50.0)])
def test_the_size_may_be_missing(folder, size):
    write(folder, *face(), imageWidth=size[0], imageHeight=size[1])
    assert read(folder).mask.all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([*face()[:4], point("chin", (1, 1))], "its 6 points are not the 5 of keypoints five: chin only in the file"),
        ([*face(), point("nose", (1, 1))], "b.json: shape 6: point 'nose' is duplicated in its face; keep one"),
        ([*face(), point("", (1, 1))], "b.json: shape 6: has no name, as other points have; name it, or remove it"),
        (
            [*face()[:4], point("nose", (np.nan, 1))],
            r"b.json: shape 5: \[\[nan, 1.5\]\] has no x and y of one point in",
        ),
        ([shape("nose", [[1, 2], [3, 4]])], r"b.json: shape 1: \[\[1, 2\], \[3, 4\]\] has no x and y of one point"),
        ([shape("nose", [1, 2])], r"b.json: shape 1: \[1, 2\] has no x and y of one point"),
        ([shape("nose", [[True, 10**400]])], "b.json: shape 1: .* has no x and y of one point in finite numbers"),
        (
            [*face(), shape("face", [[1, 2]], "rectangle")],
            "shape 6: .* has no x and y of two or four corners in finite",
        ),
        ([*face(), "nose"], "b.json: shape 6: is 'nose', not an object with label and points; correct or remove it"),
        (
            [*face(), rectangle(0, 0, 9, 9), rectangle(0, 0, 9, 9)],
            "b.json: shape 1: point 'left_eye' is in none of the 2 rectangles of the photo; give all shapes of a face",
        ),
        (
            [*face(), rectangle(0, 0, 60, 50), rectangle(15, 25, 25, 35, "ring")],
            "shape 3: point 'nose' is in rectangles labelled 'ring' and 'face'; give all shapes of a face the",
        ),
        (
            [*face(group_id=1), point("nose", (1, 1))],
            "b.json: shape 6: point 'nose' is in no group, as other points of the photo are; give all shapes",
        ),
        (
            [*face(group_id=1), rectangle(0, 0, 60, 50, group_id=1), rectangle(1, 1, 60, 50, group_id=1)],
            "b.json: shape 7: is the second rectangle of group 1; give all shapes of a face the same",
        ),
    ],
)
def test_every_fault_is_refused_with_its_shape(folder, shapes, message):
    write(folder, *face())
    add_photo(folder, "photos/b.png")
    write(folder, *shapes, file="photos/b.json", imagePath="b.png")
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").name.tolist()[0] == "a.png"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"imagePath": None}, "b.json: imagePath is None; give the photo's path"),
        ({"imagePath": 300 * "x" + ".png"}, "x.png: does not exist"),
        ({"imagePath": "a\0.png"}, "b.json: shape 1: .* can't be the name of a file; correct it"),
        (
            {"imageWidth": "wide"},
            "b.json: imageWidth and imageHeight are 'wide' and 50; give pixels, or leave them out",
        ),
    ],
)
def test_a_file_s_faults_are_refused_with_its_name(folder, more, message):
    write(folder, *face())
    write(folder, *face(), file="photos/b.json", **more)
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").name.tolist() == ["a.png"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"shapes": [], "imagePath": "\ud800'])
def test_a_damaged_file_is_refused_or_left_out(folder, text):
    write(folder, *face())
    (folder / "photos" / "b.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(UserError, match=r"b.json: not (valid JSON|a text in UTF-8).*; or leave out such faces"):
        read(folder)
    assert len(read(folder, "data.skip_broken=true")) == 1
    with pytest.raises(UserError, match=r"b.json: not (valid JSON|a text in UTF-8)"):
        read(folder, f"data.labels={folder}/photos/b.json", "data.skip_broken=true")


def test_other_json_files_are_counted_and_a_folder_without_labelme_s_is_refused(folder, caplog):
    write(folder, *face())
    (folder / "photos" / "split.json").write_text("[1]")
    assert len(read(folder)) == 1
    assert "1 JSON file left out that labelme did not write, the first: " in caplog.text
    (folder / "photos" / "a.json").unlink()
    for labels in (folder / "photos", folder / "photos" / "split.json"):
        with pytest.raises(
            UserError, match=r"is or holds no JSON file of labelme; give such a file, or a folder with them"
        ):
            read(folder, f"data.labels={labels}")
    with pytest.raises(UserError, match=r"nowhere: can't be read \([^)]*\)$"):
        read(folder, f"data.labels={folder}/nowhere")


def test_a_point_at_zero_is_missing_and_counted(folder, caplog):
    write(folder, *face([*POINTS[:4], (-0.5, -0.5)]))
    assert read(folder).mask.tolist() == [[True, True, True, True, False]]
    assert "1 point at exactly (0, 0) taken as missing" in caplog.text


def test_a_photo_without_shapes_has_no_face(folder):
    write(folder, *face())
    write(folder, file="photos/b.json", imagePath=None)
    write(folder, rectangle(0, 0, 60, 50), file="photos/c.json", imagePath=None)
    assert len(read(folder)) == 1
