"""VIA's JSON and CSV: names and order of points, rectangles, groups, outlines, versions, and every fault's error."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.label_file import open_label_file
from facekp.data.readers.base import POINT_NAMES, READERS
from facekp.data.readers.via import CSV_OF_VIA_3
from tests.data.label_readers import read_labels
from tests.data.photo_folder import write_one_photo
from tests.drawn_photos import DRAWN

POINTS = np.array([(30, 20), (10, 20), (20, 30), (28, 40), (12, 40)])
NAMES = list(DRAWN)
ASIDE = np.array((25, 0))  # from a face to another one beside it


def region(name, values=None, **shape):
    return {"shape_attributes": {"name": name, **shape}, "region_attributes": values or {}}


def point(xy, **values):
    return region("point", values, cx=int(xy[0]), cy=int(xy[1]))


def face(points=POINTS, names=NAMES, attribute="part", **values):
    return [point(xy, **{attribute: name}, **values) for name, xy in zip(names, points, strict=True)]


def unnamed(points=POINTS, **values):
    return [point(xy, **values) for xy in points]


def rectangle(left, top, right, bottom, **values):
    return region("rect", values, x=left, y=top, width=right - left, height=bottom - top)


def outline(points=POINTS, kind="polyline", **values):
    x, y = np.transpose(points).tolist()
    return region(kind, values, all_points_x=x, all_points_y=y)


def photo(*regions, filename="a.png", size=7, **values):
    return {"filename": filename, "size": size, "regions": list(regions), "file_attributes": values}


def write(folder, *photos):
    (folder / "labels").write_text(json.dumps({f"{p['filename']}{p['size']}": p for p in photos}))


def write_csv(folder, *photos, hash_sign="", shuffled=False):
    lines = []
    for p in photos:
        of_file = [p["filename"], p["size"], json.dumps(p["file_attributes"]), len(p["regions"])]
        regions = p["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        lines += [
            [*of_file, i, json.dumps(r["shape_attributes"]), json.dumps(r["region_attributes"])]
            for i, r in enumerate(regions)
        ]
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    with (folder / "labels").open("w", newline="") as file:
        file.write(f"{hash_sign}{header}\n")
        csv.writer(file).writerows(lines[::-1] if shuffled else lines)


def read(folder, *more):
    return read_labels("via", f"data.images={folder}/photos", f"data.labels={folder}/labels", *more)


def in_photo(table):
    return table.to_photo(table.points)


def point_names(folder, **more):
    given = {"name": "via", "images": str(folder), "labels": "", "attribute": None, "group": None, **more}
    return POINT_NAMES["via"](folder / "labels", READERS.settings_class("via").model_construct(**given))


def add_photo(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((folder / "photos" / "a.png").read_bytes())


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


def as_project(photos):
    return {"_via_settings": {}, "_via_img_metadata": photos, "_via_attributes": {"region": {"part": {}}}}


def as_version_1(photos):
    return {
        key: {**p, "regions": {str(i): r for i, r in enumerate(p["regions"])}, "base64_img_data": ""}
        for key, p in photos.items()
    }


def region_3(shape, view="1", **values):
    return {"vid": view, "flg": 0, "z": [], "xy": shape, "av": values}


def as_version_3(photos, *more):
    """A project of VIA 3 with the points of the photos, whose names are options, and more regions."""
    views = {str(i): p for i, p in enumerate(photos.values(), start=1)}
    regions = [(view, r["shape_attributes"], r["region_attributes"]) for view, p in views.items() for r in p["regions"]]
    named = [region_3([1, at["cx"], at["cy"]], view, part=str(NAMES.index(of["part"]))) for view, at, of in regions]
    return {
        "project": {"data_format_version": "3.1.2"},
        "attribute": {"part": {"aname": "part", "type": 3, "options": dict(zip("01234", NAMES, strict=True))}},
        "file": {view: {"fid": view, "fname": p["filename"], "type": 2} for view, p in views.items()},
        "view": {view: {"fid_list": [view]} for view in views},
        "metadata": {f"1_{i:07x}": region for i, region in enumerate([*named, *more])},
    }


@pytest.mark.parametrize("form", [dict, as_project, as_version_1, as_version_3])
def test_points_are_matched_by_name_and_integers_are_pixel_centres(folder, form):
    order = [3, 0, 4, 2, 1]
    write(folder, photo(*face(POINTS[order], [NAMES[i] for i in order])))
    path = folder / "labels"
    path.write_text(json.dumps(form(json.loads(path.read_text()))))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table)[0], POINTS, atol=1e-4)
    assert (table.box, table.visible, table.attributes) == (None, None, {})
    assert point_names(folder) == [NAMES[i] for i in order]


def write_project_3(folder, *more, filenames=("a.png",), **parts):
    project = as_version_3({name: photo(*face(), filename=name) for name in filenames}, *more)
    for name, values in parts.items():
        project[name].update(values)
    (folder / "labels").write_text(json.dumps(project))


def test_a_project_of_via_3_has_boxes_attributes_and_ticked_names(folder, caplog):
    add_photo(folder, "photos/b.png")
    attributes = {
        "1": {"aname": "light", "type": 1, "options": {}},
        "2": {"aname": "pose", "type": 4, "options": {"0": "large"}},
    }
    more = (
        region_3([], **{"1": "dim"}),
        region_3([2, 5, 10, 40, 38], **{"2": "0"}),
        region_3([3, 9, 9, 4]),
        region_3([[1]]),
    )
    sides = region_3([8, 5, 20, 30, 10, 45, 30, 20, 48], "2")
    write_project_3(folder, *more, sides, filenames=("a.png", "b.png"), attribute=attributes)
    file = open_label_file(folder / "labels", None, folder / "photos", None)
    assert (file.settings.name, file.keypoints.names) == ("via", tuple(NAMES))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table), [POINTS, POINTS], atol=1e-4)
    np.testing.assert_allclose(table.box * 40 / 96, 2 * [(0, 1, 40, 39)], atol=0.01)
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "light": ["dim", ""],
        "pose": ["large", ""],
    }
    assert "2 shapes left out, the first: " in caplog.text
    ticked = {"part": {"aname": "part", "type": 2, "options": dict(zip("01234", NAMES, strict=True))}}
    write_project_3(folder, attribute=ticked)
    np.testing.assert_allclose(in_photo(read(folder))[0], POINTS, atol=1e-4)


@pytest.mark.parametrize(
    ("more", "parts", "message"),
    [
        ([region_3([1, 5])], {}, "'view 1', region 6: .* has no x and y of one point in finite numbers"),
        ([region_3([2, 1, 2, "x", 4])], {}, "'view 1', region 6: .* of two or four corners"),
        ([region_3([8, 1, 2, 3, 4, 5, 6, 7, "x"])], {}, "'view 1', region 6: .* of two or four corners"),
        ([region_3(7)], {}, "'view 1', region 6: is .* not a region with a shape; correct or remove it"),
        ([region_3([1, 2, 3], "9")], {}, "metadata 1_0000005: is .*'9', .*, not a region of one of the views; remove"),
        ([7], {}, "metadata 1_0000005: is 7, not a region of one of the views; remove it"),
        ([], {"view": {"1": {"fid_list": ["1", "2"]}}}, "view 1: is .*, not a view of one photo; correct or remove it"),
        ([], {"view": {"2": 7}}, "view 2: is 7, not a view of one photo; correct or remove it"),
        (
            [],
            {"file": {"1": {"fname": "a.mp4", "type": 4}}},
            "view 1: is the video 'a.mp4'; save its frames, and label",
        ),
        ([], {"file": {"1": {"fname": 5}}}, "'view 1': filename is 5; give the photo's path"),
        ([], {"file": {"1": {"fname": "b.png"}}}, "b.png"),
    ],
)
def test_a_fault_in_a_project_of_via_3_has_its_place(folder, more, parts, message):
    write_project_3(folder, *more, **parts)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_csv_of_via_3_is_recognised_and_refused(folder):
    (folder / "labels").write_text(f"# ATTRIBUTES = {{}}\n{CSV_OF_VIA_3},file_list\n1_a,[],0,[],[],{{}}\n")
    with pytest.raises(
        UserError, match=r"labels: has no column filename; give VIA's project .*, or the CSV of VIA 1 or"
    ):
        open_label_file(folder / "labels", None, folder / "photos", None)


@pytest.mark.parametrize("hash_sign", ["", "#"])
def test_a_csv_has_the_same(folder, hash_sign):
    add_photo(folder, "photos/b.png")
    two = photo(rectangle(5, 10, 45, 48, pose="large"), *face(), light="dim"), photo(filename="b.png")
    write_csv(folder, *two, hash_sign=hash_sign)
    table = read(folder)
    np.testing.assert_allclose(in_photo(table)[0], POINTS, atol=1e-4)
    assert {name: values.tolist() for name, values in table.attributes.items()} == {"light": ["dim"], "pose": ["large"]}
    np.testing.assert_allclose(table.box[0] * 40 / 96, (0, 1, 40, 39), atol=0.01)


def test_points_without_names_are_in_the_order_of_their_regions(folder):
    many = unnamed(np.linspace((5, 5), (50, 40), 12))
    write(folder, photo(*unnamed()))
    np.testing.assert_allclose(in_photo(read(folder))[0], POINTS, atol=1e-4)
    assert point_names(folder) == ["0", "1", "2", "3", "4"]
    write_csv(folder, photo(*unnamed()), shuffled=True)
    np.testing.assert_allclose(in_photo(read(folder))[0], POINTS, atol=1e-4)
    write(folder, photo(*many))
    with pytest.raises(UserError, match=r"'a.png7', region 1: has 12 points, but keypoints five has 5"):
        read(folder)
    assert point_names(folder) == [str(i) for i in range(12)]


def test_without_names_each_rectangle_has_all_points_in_order(folder):
    large, small = rectangle(0, 0, 60, 50), rectangle(2, 5, 25, 25)
    write(folder, photo(small, *unnamed(POINTS / 2), *unnamed(POINTS + ASIDE), large))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table), [POINTS // 2, POINTS + ASIDE], atol=1e-4)
    write(folder, photo(small, *unnamed(POINTS / 2), *unnamed(POINTS + ASIDE), rectangle(30, 0, 50, 50)))
    with pytest.raises(
        UserError, match=r"region [79]: a point is in none of the 2 rectangles of the photo; name the attrib"
    ):
        read(folder)


def test_the_attribute_with_the_names_is_found_or_chosen(folder):
    write(folder, photo(rectangle(0, 0, 60, 50, kind="face"), *face(side="left", occluded="no", state="hidden")))
    assert read(folder).mask.all()
    write(folder, photo(*face()[:4], *face(POINTS[4:], NAMES[4:], attribute="part ")))  # a blank typed by mistake
    assert read(folder).mask.all()
    write(folder, photo(*face(alias="nose")))
    message = r"labels: the points have the attributes part, alias; choose the one with the points' names by data=via "
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.attribute=part").attributes["alias"].tolist() == ["nose"]
    with pytest.raises(
        UserError, match=r"data.attribute=kind: no point of the file has this attribute; choose one of al"
    ):
        read(folder, "data.attribute=kind")
    with pytest.raises(UserError, match=r"choose the one with the points' names by data=via data.attribute=NAME"):
        point_names(folder)
    assert point_names(folder, attribute="part") == NAMES
    write(folder, photo(*face(state="hidden", person="1")))
    assert point_names(folder, group="person") == NAMES
    write(folder, photo(*unnamed()))
    with pytest.raises(UserError, match=r"data.attribute=part: no point of the file has this attribute; leave it out"):
        read(folder, "data.attribute=part")


def test_names_may_be_boxes_to_tick(folder):
    ticked = [point(xy, part={name: True, "other": False}) for name, xy in zip(NAMES, POINTS, strict=True)]
    write(folder, photo(*ticked[::-1]))
    np.testing.assert_allclose(in_photo(read(folder))[0], POINTS, atol=1e-4)
    assert point_names(folder) == NAMES[::-1]
    write(folder, photo(*unnamed(state={"hidden": True, "blurred": False})))  # no names
    assert point_names(folder) == ["0", "1", "2", "3", "4"]
    write(folder, photo(*face(state={"blurred": True})))
    assert point_names(folder) == NAMES


def test_names_of_a_shipped_scheme_are_found_without_the_scheme(folder):
    write(folder, photo(*face(names=list(DRAWN.values()), side="left")))
    file = open_label_file(folder / "labels", None, folder / "photos", None)
    assert set(file.keypoints.names) == set(DRAWN.values())


def test_a_group_attribute_tells_faces_apart(folder):
    others = face(POINTS[:3] + ASIDE, NAMES[:3], person=2)
    write(folder, photo(*face(person="1"), *others, rectangle(0, 0, 60, 50, person="2")))
    with pytest.raises(UserError, match=r"point 'left_eye' is duplicated in its face"):
        read(folder, "data.attribute=part")
    table = read(folder, "data.group=person")
    assert table.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert np.isnan(table.box).all(axis=1).tolist() == [True, False]
    assert table.attributes == {}
    write(folder, photo(*face(person="1"), *face(POINTS[:3] + ASIDE, NAMES[:3])))
    with pytest.raises(
        UserError, match=r"region 6: point 'left_eye' is in no group, as .*; name the attribute that tells"
    ):
        read(folder, "data.group=person")
    with pytest.raises(
        UserError, match=r"data.group=id: no region of the file has this attribute; choose one of part, p"
    ):
        read(folder, "data.group=id")


@pytest.mark.parametrize("kind", ["polyline", "polygon"])
def test_without_points_an_outline_is_a_face_in_the_order_of_the_scheme(folder, kind):
    closed = [*POINTS + 5, POINTS[0] + 5] if kind == "polygon" else POINTS + 5  # as VIA 1 closes polygons
    write(folder, photo(outline(POINTS, kind, pose="large"), outline(closed, kind), rectangle(0, 0, 60, 50)))
    table = read(folder)
    np.testing.assert_allclose(in_photo(table), [POINTS, POINTS + 5], atol=1e-4)
    assert table.attributes["pose"].tolist() == ["large", ""]
    assert point_names(folder) == ["0", "1", "2", "3", "4"]
    write(folder, photo(outline(POINTS[:4], kind)))
    with pytest.raises(UserError, match=r"region 1: has 4 points, but keypoints five has 5"):
        read(folder)


def test_beside_points_outlines_and_other_shapes_are_counted(folder, caplog):
    write(folder, photo(*face(), outline(), region("circle", cx=1, cy=2, r=3)))
    assert len(read(folder)) == 1
    assert "2 shapes left out, the first: " in caplog.text
    assert "'a.png7', region 6: an outline; only points and rectangles are read" in caplog.text


def test_a_file_with_other_shapes_only_says_so(folder, caplog):
    write(folder, photo(*(region("circle", {"part": name}, cx=9, cy=9, r=3) for name in NAMES)))
    with pytest.raises(UserError, match=r"labels: has no face with a labelled point"):
        read(folder)
    message = r"5 shapes left out, the first: .*region 1: 'circle'; only points, outlines and rectangles are read"
    assert re.search(message, caplog.text)


def test_attributes_describe_the_face_and_mark_hidden_points(folder):
    marked = face(tone="light")
    marked[0]["region_attributes"]["occluded"] = "Yes"
    marked[1]["region_attributes"]["visibility"] = "hidden"
    marked[2]["region_attributes"]["state"] = {"invisible": True, "blurred": True}
    marked[3]["region_attributes"]["occluded"] = "no"
    box = rectangle(0, 0, 60, 50, pose="large", marks={"hat": True}, note="", text=101 * "x")
    write(folder, photo(*marked, box, light="dim", caption="", width=60))
    table = read(folder)
    assert table.visible.tolist() == [[1, 1, 1, 2, 2]]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "light": ["dim"],
        "tone": ["light"],
        "pose": ["large"],
    }


def test_what_points_state_of_being_hidden_is_no_attribute_of_the_face(folder):
    write(folder, photo(*face(occluded="no")))
    assert (read(folder).attributes, read(folder).visible) == ({}, None)
    write(folder, photo(*unnamed(POINTS[:2]), *unnamed(POINTS[2:], occluded="yes")))
    assert (read(folder).attributes, read(folder).visible.tolist()) == ({}, [[2, 2, 1, 1, 1]])


@pytest.mark.parametrize(
    "filename",
    [
        "a.png",
        "./a.png",
        "https://x.org/p/a%2Epng?v=1",
        "/home/ann/photos/a.png",
        "C:\\photos\\a.png",
        "../p/a.png",
        "A.PNG",
    ],
)
def test_a_photo_is_found_by_its_name_or_the_end_of_its_address(folder, filename):
    write(folder, photo(*face(), filename=filename))
    assert read(folder).name.tolist() == ["a.png"]


def test_names_in_subfolders_are_kept_and_two_addresses_of_one_photo_are_refused(folder):
    add_photo(folder, "photos/sub/a.png")
    write(folder, photo(*face(), filename="sub/a.png"), photo(*face(), filename="Sub\\A.png", size=8))
    assert read(folder).name.tolist() == ["sub/a.png", "sub/a.png"]
    write(folder, *(photo(*face(), filename=f"https://x.org/{name}/a.png") for name in "xy"))
    with pytest.raises(UserError, match=r"y/a.png and .*x/a.png are both a.png in .*; use subfolders in data.images"):
        read(folder)


def test_two_photos_of_one_name_must_not_contradict_each_other(folder):
    write(folder, photo(*face()), photo(*face(POINTS + 3), size=8))
    with pytest.raises(
        UserError, match=r"'a.png8', region 1: .*'a.png7' has other points for the same face of a.png; rem"
    ):
        read(folder)
    write_csv(folder, photo(*face()), photo(*face(POINTS + 3), size=8))
    with pytest.raises(
        UserError, match=r"labels: line 7: .*labels: line 2 has other points for the same face of a.png"
    ):
        read(folder)


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (photo(*face()[:4], point((1, 1), part="chin")), "its 6 points are not the 5 of keypoints five: chin only in"),
        (photo(*face(), point((1, 1), part="nose")), "'b.png7', region 6: point 'nose' is duplicated in its face"),
        (photo(*face(), point((1, 1))), "'b.png7', region 6: has no name, as other points have; name it, or remove it"),
        (
            photo(region("point", cx="x", cy=2)),
            "'b.png7', region 1: .*'cx': 'x'.* has no x and y of one point in finite",
        ),
        (photo(region("point", cx=1)), "'b.png7', region 1: .* has no x and y of one point in finite numbers"),
        (photo(region("point", cx=True, cy=10**400)), "region 1: .* has no x and y of one point in finite numbers"),
        (photo(*face(), region("rect", x=1, y=1, width=1e308, height="inf")), "region 6: .* of two or four corners"),
        (photo(*face(), {"region_attributes": {}}), "'b.png7', region 6: is .* not a region with a shape"),
        (photo(*face(), 7), "'b.png7', region 6: is 7, not a region with a shape; correct or remove it"),
        (
            photo(*face(), rectangle(0, 0, 9, 9), rectangle(0, 0, 9, 9)),
            "region 1: point 'left_eye' is in none of the 2 rectangles of the photo; name the attribute that tells",
        ),
        (
            photo(*face(), rectangle(0, 0, 60, 50, part="face"), rectangle(15, 25, 25, 35, part="ring")),
            "region 3: point 'nose' is in rectangles labelled 'ring' and 'face'; name the attribute that tells faces",
        ),
        (photo() | {"filename": None, "regions": face()}, "'b.png7': filename is None; give the photo's path"),
        (photo() | {"regions": 7}, "'b.png7': regions are 7, not a list of regions; correct them"),
        ("b.png", "'b.png7': is 'b.png', not a photo with filename and regions; remove it"),
    ],
)
def test_every_fault_is_refused_with_its_region(folder, faulty, message):
    add_photo(folder, "photos/b.png")
    faulty = faulty if isinstance(faulty, str) else {**faulty, "filename": faulty["filename"] and "b.png"}
    (folder / "labels").write_text(json.dumps({"a.png7": photo(*face()), "b.png7": faulty}))
    with pytest.raises(UserError, match=message):
        read(folder)
    assert read(folder, "data.skip_broken=true").name.tolist()[0] == "a.png"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b,c.png,7,{},1,0,{},{}", "labels: line 7: has 8 fields, not 7; quote names with commas"),
        ('b.png,7,{},1,0,"{x}",{}', "labels: line 7, region_shape_attributes: not valid JSON .*; correct it"),
        ("b.png,7,{},1,0,{},[1]", r"labels: line 7, region_attributes: \[1\] is not a JSON object; correct it"),
    ],
)
def test_a_line_s_faults_are_refused_with_its_number(folder, line, message):
    write_csv(folder, photo(*face()))
    with (folder / "labels").open("a") as file:
        file.write(f"{line}\r\n")
    with pytest.raises(UserError, match=message):
        read(folder)
    assert len(read(folder, "data.skip_broken=true")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column filename; give VIA's project or annotations as JSON, or the CSV of VIA 1 or 2"),
        ("{", "not valid JSON .*; give VIA's project"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "is not a mapping of photos with regions; give VIA's project"),
        ('{"project": {}, "file": {}, "metadata": {}}', "is not a mapping of photos with regions"),  # VIA 3
        ('{"_via_img_metadata": [1]}', "is not a mapping of photos with regions"),
        (json.dumps({"a.png7": photo()}), "has no regions; give VIA's project"),
        (json.dumps({"a.png7": photo(rectangle(0, 0, 9, 9))}), "has no face with a labelled point"),
        ("filename,region_id\na.png,0\n", "has no column file_size; give VIA's project"),
    ],
)
def test_other_files_are_refused(folder, text, message):
    (folder / "labels").write_text(text)
    with pytest.raises(UserError, match=message):
        read(folder)
