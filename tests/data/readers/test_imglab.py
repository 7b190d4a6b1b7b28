"""dlib's imglab: several faces in a photo, parts by name or number, boxes to ignore, and the error of every fault."""

from __future__ import annotations

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.imglab import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = [(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)]


def box(names=tuple(DRAWN), points=POINTS, inside="", **attributes):
    place = {"top": 10, "left": 5, "width": 40, "height": 38, **attributes}
    parts = "\n".join(f"<part name='{name}' x='{x}' y='{y}'/>" for name, (x, y) in zip(names, points, strict=True))
    return (
        f"<box {' '.join(f'{key}={chr(39)}{value}{chr(39)}' for key, value in place.items())}>{inside}\n{parts}\n</box>"
    )


def write(folder, *boxes, image="file='a.png' width='60' height='50'"):
    text = "<?xml version='1.0'?>\n<dataset><name>x</name><images>\n"
    (folder / "labels.xml").write_text(f"{text}<image {image}>\n{''.join(boxes)}</image>\n</images></dataset>")


def read(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.xml")
    return read_labels("imglab", *paths, *more)


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


@pytest.mark.parametrize("names", [list(DRAWN), ["00", "01", "02", "03", "04"], ["1", "2", "3", "4", "5"]])
def test_parts_are_matched_by_name_or_number(folder, names):
    order = [3, 0, 4, 2, 1]
    write(folder, box([names[i] for i in order], [POINTS[i] for i in order]))
    table = read(folder)
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-4)
    np.testing.assert_allclose(table.photo_matrix[0, :, 2], (5, 9), atol=0.5)  # the square around 40 x 38 pixels
    assert point_names(folder / "labels.xml") == (sorted(names) if names[0].isdecimal() else [names[i] for i in order])


def test_faces_of_a_photo_have_parts_missing_boxes_to_ignore_and_attributes(folder):
    few = box(list(DRAWN)[:2], POINTS[:2])
    noted = box(inside="<label>anna</label>", occluded=1, detection_score="0.5")
    ignored = [box(ignore=value) for value in (1, "True", "yes")]
    write(folder, noted, *ignored, box((), (), ignore="No"), few.replace("<box", "<box ignore='False'"))
    table = read(folder)
    assert table.row.tolist() == [1, 6]
    assert table.mask.tolist() == [[True] * 5, [True, True, False, False, False]]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "label": ["anna", ""],
        "occluded": ["1", ""],
    }


def test_tight_boxes_lose_points_and_the_log_says_what_helps(folder, caplog):
    write(folder, box(top=26, height=20))
    assert read(folder).mask.sum() == 5  # the square around 40 x 20 pixels still holds all points
    write(folder, box(top=26, height=20, left=15, width=20))
    assert read(folder).mask.sum() == 2
    assert "3 points outside the photo or box taken as missing, the first: " in caplog.text
    assert "labels.xml: line 4; data.boxes=points crops around" in caplog.text
    assert read(folder, "data.boxes=points").mask.sum() == 5


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (box(points=[("x", 1), *POINTS[1:]]), "labels.xml: line 5: x of <part> is 'x', not a finite number"),
        (box(points=[("inf", 1), *POINTS[1:]]), "labels.xml: line 5: x of <part> is 'inf', not"),
        (box(ignore="maybe"), "labels.xml: line 4: ignore of <box> is 'maybe'; write 1 or 0"),
        (box(width="wide"), "labels.xml: line 4: width of <box> is 'wide'"),
        (box(width=-5), r"labels.xml: line 4: its box \(5, 10, 0, 48\) is empty"),
        (box(left=700), "labels.xml: line 4: its box .* is outside a.png, 60 x 50 pixels"),
        (box(points=[(900, 900)] * 5), "line 4: all its points are outside a.png"),
        (box(["nose"] * 2, POINTS[:2]), "labels.xml: line 6: point 'nose' is duplicated in its face"),
        (box([*list(DRAWN)[:4], "chin"]), "labels.xml: its 6 points are not the 5 of keypoints five: chin only in the"),
    ],
)
def test_every_fault_is_refused_with_its_position(folder, faulty, message, caplog):
    write(folder, faulty, box())
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [2]
    assert "1 face with errors left out" in caplog.text


def test_two_images_of_one_file_must_not_contradict_each_other(folder):
    def write_two(second):
        write(folder, box(), f"</image>\n<image file='./a.png'>{second}")

    write_two(box() + box(points=[(x + 30, y) for x, y in POINTS], left=35, width=24))  # the same face, and another
    assert read(folder).row.tolist() == [1, 2, 3]
    write_two(box(points=[(x + 4, y) for x, y in POINTS]))
    message = r"line 11: <image> in line 3 has other points for the same face of ./a.png; remove one, or correct the"
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_photo_without_a_name_or_of_another_size_is_refused(folder):
    write(folder, box(), image="width='60' height='50'")
    with pytest.raises(UserError, match=r"labels.xml: line 3: file of <image> is missing; give the photo's path"):
        read(folder)
    write(folder, box(), image="file='a.png' width='50' height='60'")
    with pytest.raises(UserError, match=r"a.png: its labels are for 50 x 60 pixels, but a viewer shows 60 x 50"):
        read(folder)
