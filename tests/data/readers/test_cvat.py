"""CVAT's XML for images: skeletons, points with and without names, boxes, attributes, and the error of every fault."""

from __future__ import annotations

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.cvat import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)])
NAMES = list(DRAWN)
LARGE = '<attribute name="pose">large</attribute>'


def point(name, xy, **more):
    flags = " ".join(f'{key}="{value}"' for key, value in more.items())
    return f'<points label="{name}" points="{xy[0] + 0.5},{xy[1] + 0.5}" {flags}></points>\n'


def parts(points=POINTS, names=NAMES, **more):
    return "".join(point(name, xy, **more) for name, xy in zip(names, points, strict=True))


def skeleton(inside, **more):
    flags = " ".join(f'{key}="{value}"' for key, value in more.items())
    return f'<skeleton label="face" {flags}>\n{inside}{LARGE}</skeleton>\n'


def together(points=POINTS, inside="", **more):
    text = ";".join(f"{x + 0.5},{y + 0.5}" for x, y in points)
    return f'<points label="face" points="{text}" {" ".join(f"{k}={v!r}" for k, v in more.items())}>{inside}</points>\n'


def box(left, top, right, bottom, group=0, inside=""):
    edges = f'xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" group_id="{group}"'
    return f'<box label="face" {edges}>{inside}</box>\n'


def write(folder, *inside, image='name="a.png" width="60" height="50"'):
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<image id="0" {image}>\n{"".join(inside)}</image>\n'
    (folder / "labels.xml").write_text(f"{text}</annotations>")


def read(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.xml")
    return read_labels("cvat", *paths, *more)


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


def test_a_skeleton_has_named_points_hidden_ones_and_those_outside(folder):
    order = [3, 0, 4, 2]
    named = parts(POINTS[order], [NAMES[i] for i in order])
    inside = named.replace('"nose"', '"nose" occluded="1"') + point(NAMES[1], (0, 0), outside=1, occluded=0)
    write(folder, skeleton(inside), box(0, 0, 60, 50), box(5, 10, 45, 48, inside=LARGE.replace("pose", "light")))
    table = read(folder)
    expected = np.where(np.arange(5)[:, None] == 1, np.nan, POINTS)
    np.testing.assert_allclose(table.to_photo(table.points)[0], expected, atol=1e-4)
    assert table.visible.tolist() == [[2, 0, 1, 2, 2]]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "light": ["large"],
        "pose": ["large"],
    }
    np.testing.assert_allclose(table.photo_matrix[0, :, 2], (5, 9), atol=0.7)  # the smaller box, 40 x 38 pixels
    assert point_names(folder / "labels.xml") == [NAMES[i] for i in [*order, 1]]


def test_points_without_names_are_in_the_order_of_the_scheme(folder):
    write(folder, together(occluded="1"), together(POINTS + 2, LARGE), "<polygon/>")
    table = read(folder)
    np.testing.assert_allclose(table.to_photo(table.points), [POINTS, POINTS + 2], atol=1e-4)
    assert table.attributes["occluded"].tolist() == ["1", ""]
    assert (table.visible, table.box) == (None, None)
    assert point_names(folder / "labels.xml") == ["0", "1", "2", "3", "4"]


def test_named_points_are_a_face_for_each_group(folder):
    write(folder, parts(group_id=1), parts(POINTS[:3] + 4, NAMES[:3], group_id=2), box(0, 0, 60, 50, 2))
    table = read(folder)
    assert table.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    np.testing.assert_allclose(table.photo_matrix[1, :, 2], (0, -5), atol=0.7)
    write(folder, parts(names=["1", "2", "3", "4", "5"]))
    np.testing.assert_allclose(read(folder).to_photo(read(folder).points)[0], POINTS, atol=1e-4)
    assert point_names(folder / "labels.xml") == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (together(POINTS[:4]), "line 4: has 4 points, but keypoints five has 5"),
        (together().replace("30.5", "x"), "line 4: points 'x,20.5;.*' are not x,y;x,y in finite numbers"),
        (together().replace("30.5", "nan"), "line 4: points 'nan,20.5;"),
        (together(POINTS + 900), "line 4: all its points are outside a.png"),
        (
            skeleton(parts()[:-10].replace("30.5,20.5", "3,4;5,6") + "</points>"),
            "line 5: 'left_eye' has several points",
        ),
        (skeleton(parts() + point("nose", (1, 2))), "line 10: point 'nose' is duplicated in its face"),
        (skeleton(point("", (1, 2))), "only in the file"),
    ],
)
def test_every_fault_is_refused_with_its_line(folder, faulty, message):
    write(folder, faulty, skeleton(parts()))
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2]


@pytest.mark.parametrize(
    ("inside", "image", "message"),
    [
        (together(), 'width="60" height="50"', "line 3: name of <image> is missing"),
        (together(), 'name="a.png" width="60"', "line 3: height of <image> is missing"),
        (together(), 'name="a.png" width="50" height="60"', "a.png: its labels are for 50 x 60 pixels, but a viewer"),
        (together() + box(0, 0, "x", 9), 'name="a.png" width="60" height="50"', "line 5: xbr of <box> is 'x', not"),
        (
            "</image><track id='0'/><image>",
            'name="a.png"',
            "line 4: has tracks of a video; export the task as CVAT for",
        ),
        ("", 'name="a.png"', "has no face with a labelled point"),
    ],
)
def test_other_files_and_photos_are_refused(folder, inside, image, message):
    write(folder, inside, image=image)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_point_at_zero_of_the_file_is_missing_and_counted(folder, caplog):
    write(folder, together([*POINTS[:4], (-0.5, -0.5)]))
    table = read(folder)
    assert table.mask.tolist() == [[True, True, True, True, False]]
    assert table.visible is None
    assert "1 point at exactly (0, 0) taken as missing" in caplog.text


def test_an_unknown_point_that_is_outside_and_occluded_changes_nothing(folder):
    write(folder, skeleton(parts() + point("extra", (0, 0), outside=1, occluded=1)))
    assert read(folder, "data.skip_broken=true").mask.all()


def test_two_images_of_one_name_are_refused_unless_one_is_empty(folder):
    image = '</image>\n<image id="0" name="./a.png" width="60" height="50">'
    write(folder, together(), image)
    assert len(read(folder)) == 1
    write(folder, together(), image, together(POINTS + 5))
    with pytest.raises(UserError, match=r"line 6: <image> './a.png' is duplicated, in lines 3 and 6; export tasks"):
        read(folder)


def test_shapes_that_are_no_points_are_counted(folder, caplog):
    write(folder, together(), together().replace("points label", "polyline label").replace("</points", "</polyline"))
    assert len(read(folder)) == 1
    assert "1 shape left out, the first: " in caplog.text
    assert "labels.xml: line 5: <polyline>; only skeletons, points and boxes are read" in caplog.text


def test_a_turned_box_holds_its_face(folder):
    flat = box(1, 20, 41, 42).replace("group_id", 'rotation="90.0" group_id')  # turned: 10, 11, 32, 51
    write(folder, together(), flat)
    np.testing.assert_allclose(read(folder).box[0] @ [-1, 0, 1, 0], 96 * 22 / 40, atol=0.1)
