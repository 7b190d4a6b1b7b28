"""COCO's JSON: the same faces as from a CSV, points in the scheme's order, every fault names its annotation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.readers.read import read_table
from tests.data.samples import data_settings
from tests.drawn_photos import DRAWN, FIVE, five, write_photos

NAMES = list(DRAWN)[::-1]  # the order in the category


def settings_of(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.json", f"data.cache={folder}/cache")
    return data_settings("data=coco", *paths, *more)


def read(folder, *more):
    return read_table(settings_of(folder, *more), five())


def as_coco(labels, folder):
    """The labels of a CSV in COCO's format."""
    names = list(labels["name"].unique())
    images = []
    for i, name in enumerate(names):
        with Image.open(folder / "photos" / name) as photo:
            images.append({"id": i, "file_name": name, "width": photo.width, "height": photo.height})
    annotations = []
    for i, face in labels.iterrows():
        keypoints = []
        for name in NAMES:
            x, y = float(face[f"{name}_x"]), float(face[f"{name}_y"])
            keypoints += [0, 0, 0] if np.isnan(x) else [x, y, 1 + i % 2]
        left, top, right, bottom = (float(face[f"box_{corner}"]) for corner in ("x0", "y0", "x1", "y1"))
        annotations.append(
            {
                "id": 100 + i,
                "image_id": names.index(face["name"]),
                "category_id": 1,
                "keypoints": keypoints,
                "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }
        )
    categories = [{"id": 7, "name": "tree"}, {"id": 1, "name": "face", "keypoints": NAMES, "skeleton": [[1, 2]]}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def given(tmp_path):
    """A folder of photos with labels in a CSV and in COCO's JSON, the JSON's content, and a function that writes it."""
    labels = write_photos(tmp_path, 12, boxes=True)
    labels.loc[4, ["nose_x", "nose_y"]] = np.nan
    labels.to_csv(tmp_path / "labels.csv", index=False)
    coco = as_coco(labels, tmp_path)
    write = lambda: (tmp_path / "labels.json").write_text(json.dumps(coco))  # noqa: E731
    write()
    return tmp_path, coco, write


def test_faces_equal_those_of_the_same_labels_in_a_csv(given):
    folder, _, _ = given
    table = read(folder)
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", "data.cache=null")
    csv = read_table(data_settings("data=folder", *paths), five())
    assert sorted(table.row) == [100 + i for i in range(12)]
    order = np.argsort(table.row)
    for name in ("images", "points", "name", "photo_matrix", "source"):
        np.testing.assert_array_equal(getattr(table, name)[order], getattr(csv, name), name)
    assert table.keypoints.names == tuple(FIVE["names"])


def test_unlabelled_points_crowds_and_other_categories_are_skipped(given):
    folder, coco, write = given
    annotations = coco["annotations"]
    annotations[0]["keypoints"][2] = 0  # the coordinates stay, but count no longer
    annotations[1]["iscrowd"] = 1
    annotations[2]["keypoints"] = [0] * 15
    annotations[3]["category_id"] = 7
    del annotations[5]["keypoints"]
    write()
    table = read(folder)
    assert sorted(table.row) == [100 + i for i in range(12) if i not in (1, 2, 3, 5)]
    first = table.take(table.row == 100)
    assert not first.mask[0, first.keypoints.names.index(NAMES[0])]
    assert first.mask.sum() == 4


def test_an_empty_bbox_counts_as_none(given):
    folder, coco, write = given
    with_boxes = read(folder)
    for one in coco["annotations"]:
        one["bbox"] = [0, 0, 0, 0]
    write()
    assert (read(folder).photo_matrix[:, 0, 0] < with_boxes.photo_matrix[:, 0, 0]).mean() > 0.8


def test_a_photo_of_another_size_than_stated_is_refused(given):
    folder, coco, write = given
    one = coco["images"][1]
    one["width"], one["height"] = one["height"] + 1, one["width"]
    write()
    with pytest.raises(UserError, match=f"{one['width']} x {one['height']} pixels, but a viewer shows"):
        read(folder)
    assert len(np.unique(read(folder, "data.skip_broken=true").name)) == len(coco["images"]) - 1


def changed(change):
    def apply(coco):
        change(coco)
        return coco

    return apply


def with_value(at, value):
    """A change of one number in the keypoints of an annotation."""
    return changed(lambda coco: coco["annotations"][3]["keypoints"].__setitem__(at, value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: [], "images is missing or not a list"),
        (lambda c: {**c, "annotations": None}, "annotations is missing or not a list"),
        (changed(lambda c: c["categories"].pop()), "no category has keypoints; give a file of COCO keypoints"),
        (
            changed(lambda c: c["categories"].append({**c["categories"][1], "id": 2, "name": "cat"})),
            "categories with keypoints: face, cat; choose one with data.category=NAME",
        ),
        (
            changed(lambda c: c["categories"][1].update(keypoints=[*NAMES[1:], "chin"])),
            r"'face': its 5 points are not the 5 of keypoints five: chin only in the file, .* names: \[left_mouth",
        ),
        (changed(lambda c: c["annotations"][3].update(image_id=99)), "id 103: image_id 99 is not among images"),
        (changed(lambda c: c["annotations"][3]["keypoints"].pop()), "annotations, id 103: keypoints are not 5 times"),
        (changed(lambda c: c["annotations"][3].update(bbox=[1, 2])), r"annotations, id 103: bbox \[1, 2\] is not x, y"),
        (changed(lambda c: c["annotations"][3].update(id=104)), "annotations, id 104: its id is duplicated"),
        (changed(lambda c: c["annotations"][3].update(id=[3])), r"annotations, entry 4: id is \[3\]; give a "),
        (changed(lambda c: [one.update(id="x") for one in c["annotations"]]), "id 'x': its id is duplicated"),
        (changed(lambda c: c["annotations"][3].update(bbox=[1, 2, -3, 4])), r"id 103: bbox \[1, 2, -3, 4\] has a nega"),
        (changed(lambda c: c["images"][0].pop("file_name")), "images, id 0: file_name is None; give the photo's path"),
        (changed(lambda c: c["annotations"][3].update(keypoints={"a": 1})), "id 103: keypoints are not 5 times"),
        (with_value(6, None), r"point 3 of its keypoints is \[None, "),
        (with_value(6, float("nan")), r"point 3 of its keypoints is \[nan, "),
        (with_value(6, "left"), r"point 3 of its keypoints is \['left'"),
        (with_value(8, None), r"point 3 .*, None\], not x, y, v"),
        (changed(lambda c: c["annotations"][3].update(bbox=5)), "annotations, id 103: bbox 5 is not x, y"),
        (changed(lambda c: c["annotations"][3].update(bbox=[1, 2, None, 4])), "id 103: bbox .* is not x, y"),
        (changed(lambda c: c["annotations"][3].update(image_id=[1])), r"id 103: image_id is \[1\]; give a"),
        (changed(lambda c: c["annotations"][3].pop("image_id")), "id 103: image_id is None; give a whole number"),
        (changed(lambda c: c["annotations"][3].pop("category_id")), "id 103: category_id is None; give a whole number"),
        (changed(lambda c: c["categories"][1].pop("id")), "categories: id is None; give a whole number"),
        (changed(lambda c: c["images"][0].update(width="wide")), "images, id 0: width and height are 'wide' and"),
        (
            changed(lambda c: c["images"][1].update(id=0)),
            r"images: id 0 is duplicated, in 0000.jpg and .*png; give every image a different id",
        ),
        (changed(lambda c: c["annotations"].clear()), "has no face with a labelled point"),
        (
            changed(lambda c: c["images"][1].update(file_name="./" + c["images"][0]["file_name"])),
            r"images, ids 0 and 1 have the same file_name './0000.jpg', but sizes \(.* and \(.*; remove one of them",
        ),
        (
            changed(lambda c: c["categories"].append({"id": "1", "name": "cat", "keypoints": NAMES[::-1]})),
            "categories: id 1 is duplicated, in 'face' and 'cat'; give every category a different id",
        ),
        (changed(lambda c: c["annotations"][3].update(category_id=5)), "id 103: category_id 5 is not among categories"),
        (changed(lambda c: c["annotations"][3].update(iscrowd="no")), "id 103: iscrowd is 'no'; write 0 for a face"),
        (with_value(8, -1), "id 103: point 3 of its keypoints has v = -1; write 0"),
    ],
)  # fmt: skip
def test_every_fault_is_refused_with_its_position(given, change, message):
    folder, coco, _ = given
    (folder / "labels.json").write_text(json.dumps(change(coco)))
    with pytest.raises(UserError, match=message) as error:
        read(folder)
    assert str(folder / "labels.json") in str(error.value)


def test_numbers_as_text_and_nulls_give_the_same_table(given):
    folder, coco, write = given
    expected = read(folder)
    for photo in coco["images"]:
        photo["id"] = str(photo["id"])
    coco["images"][0].update(width=None, height=None)
    for one in coco["annotations"]:
        one.update(
            id=str(one["id"]),
            image_id=float(one["image_id"]),
            category_id="1",
            iscrowd=(None, "0", False)[one["id"] % 3],
            bbox=[str(value) for value in one["bbox"]],
            keypoints=[str(value) for value in one["keypoints"]],
        )
    coco["annotations"][4]["keypoints"] = [None if v in ("0", 0) else v for v in coco["annotations"][4]["keypoints"]]
    write()
    table = read(folder)
    np.testing.assert_array_equal(table.points, expected.points)
    np.testing.assert_array_equal(table.images, expected.images)


@pytest.mark.parametrize("rename", ["00{}", "{}"])
def test_ids_with_leading_zeros_are_texts_but_find_the_number_too(given, rename):
    folder, coco, write = given
    expected = read(folder)
    for photo in coco["images"]:
        photo["id"] = f"00{photo['id']}"
    for one in coco["annotations"]:
        one["image_id"] = rename.format(one["image_id"])
    coco["images"].append({"id": 100, "file_name": "unused.png"})
    write()
    np.testing.assert_array_equal(read(folder).name, expected.name)
    if rename == "00{}":
        coco["images"][-1]["id"] = 1  # another photo than "001"
        write()
        np.testing.assert_array_equal(read(folder).name, expected.name)


def test_a_category_is_chosen_by_name(given):
    folder, coco, write = given
    coco["categories"].append({"id": 9, "name": "cat", "keypoints": NAMES})
    coco["annotations"][0]["category_id"] = 9
    write()
    assert read(folder, "data.category=cat").row.tolist() == [100]
    with pytest.raises(
        UserError, match=r"data.category=dog: .* has no such category with keypoints; choose one of: face, cat"
    ):
        read(folder, "data.category=dog")


def test_a_file_that_is_not_json_is_refused(given):
    folder, _, _ = given
    (folder / "labels.json").write_text("name,x,y")
    with pytest.raises(UserError, match=r"labels.json: not valid JSON .*; give a file of COCO keypoints"):
        read(folder)
    with pytest.raises(UserError, match=r"nowhere.json: can't be read \(No such file"):
        read(folder, f"data.labels={folder}/nowhere.json")


def unnamed(coco):
    """The file as pose libraries publish theirs: no point names, the scheme's order, more keys than pycocotools has."""
    coco["categories"] = [{"id": 1, "name": "face", "supercategory": "person", "keypoints": [], "skeleton": []}]
    order = [NAMES.index(name) for name in DRAWN]
    for one in coco["annotations"]:
        triples = np.reshape(one["keypoints"], (5, 3))[order]
        one.update(keypoints=triples.ravel().tolist(), area=1.5, segmentation=[], center=[30.5, 40.5], scale=0.2)
        del one["num_keypoints"]


@pytest.mark.parametrize("categories", ["empty", "none", "missing"])
def test_points_without_names_are_those_of_the_scheme_in_its_order(given, categories):
    folder, coco, write = given
    expected = read(folder)
    unnamed(coco)
    if categories != "empty":
        coco["categories"] = []
        for one in coco["annotations"]:
            del one["category_id"]
    if categories == "missing":
        del coco["categories"]
    write()
    table = read(folder)
    for name in ("images", "points", "row", "visible", "box"):
        np.testing.assert_array_equal(getattr(table, name), getattr(expected, name), name)


def test_another_number_of_points_than_the_scheme_has_is_refused(given):
    folder, coco, write = given
    unnamed(coco)
    coco["annotations"][0]["keypoints"] *= 2
    write()
    with pytest.raises(UserError, match=r"id 100: keypoints are not 5 times x, y, v .30 values.; .*skip_broken=true"):
        read(folder)
    assert len(read(folder, "data.skip_broken=true")) == 11
    for one in coco["annotations"][1:]:
        one["keypoints"] *= 2
    write()
    with pytest.raises(UserError, match="'face', which names no points: has 10 points, but keypoints five has 5"):
        read(folder)
    for one in coco["annotations"]:
        one["keypoints"] = one["keypoints"][:3] * 98
    write()
    with pytest.raises(UserError, match=r"has 98 points, but keypoints five has 5; .* with 98 points, such as wflw98$"):
        read(folder)


def test_hidden_points_are_in_the_table_and_count_unless_they_are_switched_off(given):
    folder, coco, write = given
    table = read(folder)  # every other face has v = 2
    order = np.argsort(table.row)
    np.testing.assert_array_equal(table.visible[order], table.mask[order] * (1 + np.arange(12)[:, None] % 2))
    coco["annotations"][1]["keypoints"][5] = 1
    write()
    strict = read(folder, "data.occluded=false")
    assert sorted(strict.row) == [101 + i for i in range(0, 12, 2)]
    (first,) = strict.mask[strict.row == 101]
    assert [name for name, known in zip(DRAWN, first, strict=True) if not known] == [NAMES[1]]


def test_a_file_with_v_1_alone_does_not_say_what_is_hidden(given):
    folder, coco, write = given
    for one in coco["annotations"]:
        one["keypoints"] = [min(v, 1) if i % 3 == 2 else v for i, v in enumerate(one["keypoints"])]
    write()
    assert read(folder).visible is None
    with pytest.raises(UserError, match=r"data.occluded=false: no point of .* has v = 2, .*; set data.occluded=true"):
        read(folder, "data.occluded=false")


def test_several_categories_are_read_with_their_own_order_of_points(given):
    folder, coco, write = given
    expected = read(folder)
    coco["categories"].append({"id": "9", "name": "cat", "keypoints": NAMES[::-1]})
    for one in coco["annotations"][::2]:
        one.update(category_id=9, keypoints=np.reshape(one["keypoints"], (5, 3))[::-1].ravel().tolist())
    write()
    for wanted in ("[face,cat]", "all"):
        table = read(folder, f"data.category={wanted}")
        np.testing.assert_array_equal(table.points, expected.points)
    assert len(read(folder, "data.category=[cat]")) == 6


def test_texts_as_ids_give_the_positions_of_the_annotations(given):
    folder, coco, write = given
    for one in coco["images"]:
        one["id"] = f"photo-{one['id']}"
    for one in coco["annotations"]:
        one.update(id=f"face-{one['id']}", image_id=f"photo-{one['image_id']}")
    write()
    assert sorted(read(folder).row) == list(range(1, 13))


def test_a_centre_and_a_scale_stand_for_a_missing_box(given):
    folder, coco, write = given
    one = coco["annotations"][0]
    left, top, width, height = one.pop("bbox")
    one.update(center=[left + width / 2, top + height / 2], scale=width / 200)
    write()
    table = read(folder, "data.size=64")
    face, middle = table.take(table.row == 100), top + height / 2
    corners = face.to_photo(face.box.reshape(1, 2, 2) - 0.5) + 0.5
    np.testing.assert_allclose(corners.ravel(), [left, middle - width / 2, left + width, middle + width / 2], atol=1e-4)


def test_faces_of_whole_body_files_are_read_on_request(given):
    folder, coco, write = given
    expected = read(folder)
    for one in coco["annotations"]:
        points = np.reshape(one["keypoints"], (5, 3))[[NAMES.index(name) for name in DRAWN]]
        one.update(
            face_kpts=points.ravel().tolist(), face_box=one.pop("bbox"), face_valid=True, keypoints=[1, 2, 2] * 17
        )
    coco["annotations"][0]["face_valid"] = False
    coco["categories"][1].update(name="person", keypoints=[f"joint_{i}" for i in range(17)])
    write()
    table = read(folder, "data.part=face")
    kept = expected.row != 100
    for name in ("row", "points", "images"):
        np.testing.assert_array_equal(getattr(table, name), getattr(expected, name)[kept], name)


def test_flags_and_attributes_of_annotations_are_subsets(given):
    folder, coco, write = given
    first, second, third = coco["annotations"][:3]
    first.update(attributes={"pose": "large", "blur": 1, "occluded": False, "box": [1]}, tag="night", caption="a face")
    second.update(flags=["profile"], truncated=True, description="x" * 200)
    third.update(flags={"profile": False})
    write()
    table = read(folder)
    order = np.argsort(table.row)[:4]
    assert {name: values[order].tolist() for name, values in table.attributes.items()} == {
        "tag": ["night", "", "", ""],
        "pose": ["large", "", "", ""],
        "blur": ["1", "", "", ""],
        "occluded": ["0", "", "", ""],
        "truncated": ["", "1", "", ""],
        "profile": ["", "1", "0", ""],
    }


def test_photos_may_lie_in_subfolders_and_a_fault_of_one_face_costs_that_face(given, caplog):
    folder, coco, write = given
    names = [one["file_name"] for one in coco["images"]]
    (folder / "photos" / "sub").mkdir()
    (folder / "photos" / names[0]).rename(folder / "photos" / "sub" / names[0])
    coco["images"][0]["file_name"] = f"sub/{names[0]}"
    for at, change in ((3, {"image_id": 99}), (4, {"category_id": None}), (5, {"id": None}), (6, {"bbox": [1, 2, 3]})):
        coco["annotations"][at].update(change)
    write()
    table = read(folder, "data.skip_broken=true")
    assert sorted(table.row) == [100 + i for i in range(12) if i not in (3, 4, 5, 6)]
    assert f"sub/{names[0]}" in table.name
    (line,) = [message for message in caplog.messages if "left out" in message]
    assert "4 faces with errors left out (data.skip_broken=true), the first: " in line
    assert "id 103: image_id 99 is not among images" in line


def test_two_images_of_one_file_may_have_different_faces_but_not_different_points_of_one(given):
    folder, coco, write = given
    face = next(one for one in coco["annotations"] if one["id"] == 100)
    photo = next(one for one in coco["images"] if one["id"] == face["image_id"])
    coco["images"].append({**photo, "id": 500})
    coco["annotations"].append({**face, "id": 200, "image_id": 500})  # the same face
    write()
    assert 200 in read(folder).row
    coco["annotations"].append({"id": 201, "image_id": 500, "category_id": 7})  # not read
    shifted = np.reshape(face["keypoints"], (5, 3)) + np.array([9, 0, 0])
    coco["annotations"][-2]["keypoints"] = shifted.ravel().tolist()
    write()
    with pytest.raises(UserError, match=r"id 200: images, ids \d+ and 500 have .* but different points for the same"):
        read(folder)
    assert 200 not in read(folder, "data.skip_broken=true").row
    coco["annotations"][-2]["category_id"] = 7
    write()
    assert 200 not in read(folder).row


def test_three_negative_numbers_are_no_label_and_crowds_of_other_categories_do_not_count(given):
    folder, coco, write = given
    coco["annotations"][0]["keypoints"][:3] = [-1, -1, -1]
    coco["annotations"].append({"id": 300, "image_id": 0, "category_id": 7, "iscrowd": "no"})
    write()
    table = read(folder)
    first = table.take(table.row == 100)
    assert not first.mask[0, first.keypoints.names.index(NAMES[0])]
    assert first.mask.sum() == 4
