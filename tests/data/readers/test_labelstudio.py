"""Label Studio's JSON: per cent, rectangles, choices, addresses of photos, and the error of every fault."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.labelstudio import point_names
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)])
NAMES = list(DRAWN)
ASIDE = np.array((25, 0))  # from a face to another one beside it
SIZE = {"original_width": 60, "original_height": 50}


def keypoint(name, xy, **more):
    x, y = (xy + 0.5) / (60, 50) * 100  # from the photo's edge
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
    return {"id": f"k{name}{xy[0]}", "type": "keypointlabels", "from_name": "kp", "value": value, **SIZE, **more}


def rectangle(ident, left, top, right, bottom, **value):
    sides = {"x": left / 0.6, "y": top / 0.5, "width": (right - left) / 0.6, "height": (bottom - top) / 0.5}
    return {"id": ident, "type": "rectanglelabels", "value": {**sides, "rectanglelabels": ["face"], **value}, **SIZE}


def choices(ident, name, *chosen):
    return {"id": ident, "type": "choices", "from_name": name, "value": {"choices": list(chosen)}}


def task(results, image="/data/upload/1/0a1b2c3d-a.png", number=7, **more):
    annotation = {"id": 1, "was_cancelled": False, "result": results, **more}
    return {"id": number, "data": {"note": "x", "image": image}, "annotations": [annotation]}


def face(points=POINTS, names=NAMES, **more):
    return [keypoint(name, xy, **more) for name, xy in zip(names, points, strict=True)]


def write(folder, *tasks):
    (folder / "labels.json").write_text(json.dumps(tasks))


def read(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.json")
    return read_labels("labelstudio", *paths, *more)


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


@pytest.mark.parametrize("turned", [0, 90])
def test_per_cent_are_of_the_photo_as_it_is_also_where_it_was_turned_for_labelling(folder, turned):
    order = [3, 0, 4, 2, 1]
    write(folder, task(face(POINTS[order], [NAMES[i] for i in order], image_rotation=turned)))
    table = read(folder)
    np.testing.assert_allclose(table.to_photo(table.points)[0], POINTS, atol=1e-3)
    assert (table.box, table.visible, table.attributes) == (None, None, {})
    assert point_names(folder / "labels.json") == [NAMES[i] for i in order]


def test_rectangles_are_faces_with_the_keypoints_that_are_their_parts_or_lie_in_them(folder):
    inside = face(POINTS[:3] / 2, NAMES[:3])  # in both rectangles: those of the smaller one
    parts = face(names=NAMES, parentID="big")
    write(folder, task([rectangle("big", 0, 0, 60, 50), rectangle("small", 2, 5, 25, 25), *parts, *inside]))
    table = read(folder)
    assert table.mask.tolist() == [[True] * 5, [True, True, True, False, False]]
    np.testing.assert_allclose(table.photo_matrix[:, :, 2], [(0, -5), (2, 3)], atol=0.7)  # squares around the boxes
    write(folder, task([rectangle("turned", 40, 5, 75, 45, rotation=90), *face()]))
    np.testing.assert_allclose(read(folder).box[0] * 40 / 96, (0, 2.5, 40, 37.5), atol=1.5)  # x 0 to 40, y 5 to 40


def test_choices_are_attributes_and_mark_hidden_points(folder):
    marks = [choices("t", "quality", "sharp", "bright"), choices("kleft_eye30", "state", "Occluded")]
    write(folder, task([*face(), *marks]), task([*face(POINTS + ASIDE), choices("knose45", "state", "visible")]))
    table = read(folder)
    assert table.attributes["quality"].tolist() == ["sharp, bright", ""]
    assert table.visible.tolist() == [[1, 2, 2, 2, 2], [2] * 5]


def test_the_ground_truth_counts_and_cancelled_or_empty_annotations_do_not(folder):
    other = folder / "photos" / "b.png"
    other.write_bytes((folder / "photos" / "a.png").read_bytes())
    one = task(face(POINTS + 3))
    one["annotations"].insert(0, {"result": face(), "was_cancelled": True})
    one["annotations"].append({"result": face(POINTS + 5), "ground_truth": True})
    two = task([*face(POINTS + 3)], other.name, number=8)
    two["annotations"][:0] = [{"result": face(), "was_cancelled": True}, {"result": []}]
    write(folder, one, two, task([]))
    table = read(folder)
    np.testing.assert_allclose(table.to_photo(table.points), [POINTS + 5, POINTS + 3], atol=1e-3)


@pytest.mark.parametrize(
    "address",
    ["/data/upload/1/0a1b2c3d-a.png", "/data/local-files/?d=photos%2Fa.png", "https://x.org/p/a.png?v=1", "a.png"],
)
def test_a_photo_is_found_by_its_address(folder, address):
    write(folder, task(face(), image=address))
    assert read(folder).name.tolist() == ["a.png"]


@pytest.mark.timeout(20)
def test_an_address_of_countless_folders_takes_no_time(folder):
    write(folder, task(face(), image=f"/data/upload/{300_000 * 'x/'}a.png"))
    assert read(folder).name.tolist() == ["a.png"]


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (
            task([*face()[:4], keypoint("chin", POINTS[0])]),
            "its 6 points are not the 5 of keypoints five: chin only in",
        ),
        (task([*face(), keypoint("nose", POINTS[0])]), "labels.json: task 7: point 'nose' is duplicated in its face"),
        (task(face(POINTS * np.nan)), "labels.json: task 7, left_eye: x is nan; give per cent of the photo"),
        (task(face(original_width=None)), "task 7: original_width and original_height are None, 50; give pixels"),
        (task(face(original_width=61)), "a.png: its labels are for 61 x 50 pixels, but a viewer shows 60 x 50"),
        (task(face(), image="/data/x.wav"), "task 7: its data .* do not name a photo; give its address"),
        (task(face(), image="https://x.org/other/a.png"), "other/a.png and .*0a1b2c3d-a.png are both a.png; use sub"),
        (task(face(), image="../../a.png"), "task 7: '../../a.png' is outside "),
        (
            task([rectangle("r", 0, 0, 9, 9), rectangle("s", 0, 0, 9, 9), *face()]),
            "task 7: point 'left_eye' is in none of its 2 rectangles; make it part of one of them",
        ),
        (task(face(POINTS + ASIDE + 1)), "task 7: task 1 has other points for the same face of a.png; remove one of"),
        (
            task([rectangle("r", 0, 0, 60, 50), rectangle("s", 15, 25, 25, 35, rectanglelabels=["ring"]), *face()]),
            "task 7: point 'nose' is in rectangles labelled 'ring' and 'face'; make it part of one of them, or remove",
        ),
        (task([rectangle("r", 0, 0, np.inf, 9), *face()]), "task 7, rectangle: width is inf; give per cent"),
    ],
)
def test_every_fault_is_refused_with_its_task(folder, faulty, message):
    write(folder, task(face(POINTS + ASIDE), number=1), faulty)
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist()[0] == 1


@pytest.mark.parametrize(
    "content", [{"images": []}, [{"image": "a.png", "kp": [], "annotation_id": 1}], [1], "[" * 100_000, [task([])]]
)
def test_other_files_are_refused(folder, content):
    (folder / "labels.json").write_text(content if isinstance(content, str) else json.dumps(content))
    messages = "give Label Studio's export as JSON|has no face with a labelled point"
    with pytest.raises(UserError, match=messages):
        read(folder)


def test_keypoints_belong_to_the_photo_that_they_are_drawn_on(folder):
    (folder / "photos" / "b.png").write_bytes((folder / "photos" / "a.png").read_bytes())
    drawn = [rectangle("r", 0, 0, 60, 50) | {"to_name": "right"}, *face(to_name="right"), *face(to_name="left")]
    write(folder, {**task(drawn), "data": {"left": "a.png", "right": "b.png"}})
    table = read(folder)
    assert table.name.tolist() == ["b.png", "a.png"]
    assert np.isnan(table.box).all(axis=1).tolist() == [False, True]


def test_the_same_task_twice_is_counted(folder, caplog):
    write(folder, task(face()), task(face(), number=8))
    assert len(read(folder)) == 2
    assert "1 face with the points of another face of the same photo, the first: " in caplog.text


def test_a_point_at_zero_is_missing_and_counted(folder, caplog):
    write(folder, task(face([*POINTS[:4], np.array((-0.5, -0.5))])))
    assert read(folder).mask.tolist() == [[True, True, True, True, False]]
    assert "1 point at exactly (0, 0) taken as missing" in caplog.text


@pytest.mark.parametrize(
    "image", ["http://host:80/data/local-files/?d=x/a.png", "/data/upload/1/a.png?d=1", "https://host/x/a.png?v=2"]
)
def test_addresses_may_have_a_host_and_a_query(folder, image):
    write(folder, task(face(), image=image))
    assert read(folder).name.tolist() == ["a.png"]


@pytest.mark.parametrize(
    "more", [{"thumb": "s3://b/thumbs/a_t.jpg"}, {"original": "IMG_001.JPG"}, {"source": "https://x.org/x.jpg"}]
)
@pytest.mark.parametrize("drawn_on", [{}, {"to_name": "img-1"}])
def test_of_several_photos_in_a_task_the_one_in_the_folder_is_read(folder, more, drawn_on):
    given = task(face(**drawn_on))
    given["data"] = {**more, **given["data"]}
    write(folder, given)
    assert read(folder).name.tolist() == ["a.png"]


def test_of_several_photos_in_the_folder_the_field_that_to_name_names_is_read(folder):
    (folder / "photos" / "b.png").write_bytes((folder / "photos" / "a.png").read_bytes())
    data = {"thumb": "b.png", "image": "a.png"}
    write(folder, {**task(face(to_name="image")), "data": data})
    assert read(folder).name.tolist() == ["a.png"]
    write(folder, {**task(face(to_name="img")), "data": data})
    message = "task 7: its data name several photos, in 'thumb' and 'image'; keep only the field of the labelled photo"
    with pytest.raises(UserError, match=f"{message}, or rename it to 'img', the to_name of the keypoints"):
        read(folder)
    write(folder, {**task(face()), "data": data})
    with pytest.raises(UserError, match=f"{message}; or leave"):
        read(folder)
