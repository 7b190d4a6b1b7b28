"""Faults of a whole label file: units of the points, zeros for missing points, boxes that do not fit."""

import json

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.data.labels.checks import PlacedFace, check_placed
from facekp.data.labels.face import LabelledFace
from facekp.data.readers.read import read_table
from tests.data.photo_folder import BOX, HEADER, read_folder
from tests.data.samples import data_settings
from tests.drawn_photos import DRAWN, five

SIZE = (240, 200)  # of the photos


@pytest.fixture
def points(tmp_path):
    """(8, 5, 2): points in pixels of the photos p0.png … p7.png."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(8):
        noise = random.integers(0, 256, SIZE[::-1], dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"p{i}.png")
    shape = np.array([[60, -40], [-60, -40], [0, 10], [40, 50], [-40, 50]])
    return np.round(shape + np.array([120, 90]) + random.uniform(-9, 9, (8, 5, 2)), 2)


def write_csv(folder, points, boxes=None):
    lines = [HEADER if boxes is None else f"{HEADER},{BOX}"]
    for i, face in enumerate(points):
        values = [*face.ravel(), *(() if boxes is None else boxes[i])]
        lines.append(",".join([f"p{i}.png", *(f"{value:g}" for value in values)]))
    (folder / "labels.csv").write_text("\n".join(lines))


def read_coco(folder, points, box, *overrides):
    """The table of COCO's labels with ``box(points)`` as bbox."""
    file = {
        "images": [{"id": i, "file_name": f"p{i}.png"} for i in range(len(points))],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "keypoints": [float(v) for point in face for v in (*point, 2)],
                "bbox": [round(float(v), 2) for v in box(face)],
            }
            for i, face in enumerate(points)
        ],
        "categories": [{"id": 1, "name": "face", "keypoints": list(DRAWN)}],
    }
    (folder / "labels.json").write_text(json.dumps(file))
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.json", "data.cache=null")
    return read_table(data_settings("data=coco", *paths, *overrides), five())


def test_points_at_zero_are_missing_and_counted(tmp_path, points, caplog):
    points[2, 1] = points[5, 3] = 0
    write_csv(tmp_path, points)
    table = read_folder(tmp_path)
    assert table.mask.sum() == 38
    assert not table.mask[2, 1]
    assert "2 points at exactly (0, 0) taken as missing" in caplog.text
    assert (table.photo_matrix[:, 0, 0] < 3).all()  # no crop reaches to the corner


def test_fractions_of_the_photo_are_refused(tmp_path, points):
    write_csv(tmp_path, points / SIZE)
    with pytest.raises(
        UserError, match=r"labels.csv: line 2: all points .* look like fractions .* multiply x by"
    ) as error:
        read_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_points_that_may_be_per_cent_are_reported(tmp_path, points, caplog):
    write_csv(tmp_path, 100 * points / SIZE)
    read_folder(tmp_path)
    assert "if the points are per cent, multiply x by width / 100" in caplog.text
    caplog.clear()
    write_csv(tmp_path, points)
    read_folder(tmp_path)
    assert not caplog.text


def test_boxes_that_are_the_points_extent_are_reported_and_lose_no_point(tmp_path, points, caplog):
    table = read_coco(tmp_path, points, lambda face: (*face.min(0), *np.ptp(face, axis=0)))
    assert table.mask.all()
    np.testing.assert_allclose(table.to_photo(table.points), points, atol=1e-3)
    assert "the boxes of 8 of 8 faces end at their outermost points" in caplog.text
    assert "set data.boxes=points" in caplog.text
    caplog.clear()
    without = read_coco(tmp_path, points, lambda face: (*face.min(0), *np.ptp(face, axis=0)), "data.boxes=points")
    assert not caplog.text
    write_csv(tmp_path, points)
    assert (without.images == read_folder(tmp_path).images).all()


def test_wide_boxes_are_used_without_a_warning(tmp_path, points, caplog):
    table = read_coco(tmp_path, points, lambda face: (*(face.min(0) - 20), *(np.ptp(face, axis=0) + 40)))
    assert table.mask.all()
    assert not caplog.text


def test_boxes_that_leave_out_most_points_are_refused(tmp_path, points):
    with pytest.raises(UserError, match=r"id 0: its box .* is too small for a face; .* data.boxes=points"):
        read_coco(tmp_path, points, lambda face: (*(face[0] - 0.5), 1, 1))
    with pytest.raises(UserError, match=r"id 0: its box of 20 x 20 pixels leaves out most of its points"):
        read_coco(tmp_path, points, lambda face: (*(face[0] - 10), 20, 20))


def with_margin(face, margin=0.35):
    """Left, top, right, bottom edge, wider than the points by a fraction of their extent."""
    low, high = face.min(0), face.max(0)
    return *(low - margin * (high - low)), *(high + margin * (high - low))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (
            lambda x0, y0, x1, y1: ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
            "it looks like the centre, width and",
        ),
        (
            lambda x0, y0, x1, y1: (y0, x0, y1 - y0, x1 - x0),
            "it looks like y before x: write x before y, or set data.b",
        ),
        (lambda x0, y0, x1, y1: (x0 + 75, y0, x1 - x0, y1 - y0), "correct the boxes, or set data.boxes=points to crop"),
        (lambda x0, y0, x1, y1: (x0 + 20, y0 + 20, x1 - x0, 70), "correct the boxes, or set data.boxes=points to crop"),
    ],
    ids=["centre", "y_before_x", "shifted", "eyes"],
)
def test_boxes_that_leave_out_many_points_are_refused_with_a_likely_cause(tmp_path, points, box, message):
    tall = points @ np.diag([0.6, 1.0]) + (75, 0)
    with pytest.raises(UserError, match=rf"id \d: its box leaves out \d of its 5 points, as .* of 40; {message}"):
        read_coco(tmp_path, tall, lambda face: box(*with_margin(face)))
    assert read_coco(tmp_path, tall, lambda face: box(*with_margin(face)), "data.boxes=points").mask.all()


def test_few_points_outside_their_boxes_are_counted_with_the_first_face(tmp_path, points, caplog):
    read_coco(tmp_path, points, lambda face: (*np.add(face.min(0), (10, -10)), *(1.3 * np.ptp(face, axis=0))))
    assert "8 points outside the photo or box taken as missing, the first: " in caplog.text
    assert "annotations, id 0; data.boxes=points crops around the points" in caplog.text


def test_two_corners_in_a_part_of_the_file_are_reported(tmp_path, points, caplog):
    some = points[::3].min(axis=1).tolist()
    edges = lambda face: (*(face.min(0) - 10), *(face.max(0) + 10))  # noqa: E731
    sizes = lambda face: (*(face.min(0) - 10), *(np.ptp(face, axis=0) + 20))  # noqa: E731
    read_coco(tmp_path, points, lambda face: (edges if face.min(0).tolist() in some else sizes)(face))
    assert "id 0: its bbox (" in caplog.text
    assert "like those of 3 of 8 faces, looks like two corners x0, y0, x1, y1; write x, y, width, height" in caplog.text


def test_a_corner_and_a_size_instead_of_two_corners_are_named(tmp_path, points):
    points = 0.4 * points + 80
    edges = np.array([with_margin(face) for face in points])
    write_csv(tmp_path, points, np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], axis=1))
    message = r"line 2: .* it looks like x, y, width, height: write two corners x0, y0, x1, y1"
    with pytest.raises(UserError, match=message):
        read_folder(tmp_path)


def test_a_csv_s_boxes_that_reach_beyond_the_photo_are_no_corner_and_size(tmp_path, points, caplog):
    write_csv(tmp_path, points, np.tile([10, 5, 245, 205], (8, 1)))  # a CSV has two corners
    assert read_folder(tmp_path).mask.all()
    assert not caplog.text


@pytest.mark.parametrize("more", [[], ["data.skip_broken=true"]])
def test_labels_of_larger_photos_are_refused(tmp_path, points, more):
    write_csv(tmp_path, 2 * points)
    with pytest.raises(
        UserError, match=r"line \d: .* if the photos were resized after labelling, scale the points ali"
    ):
        read_folder(tmp_path, *more)


@pytest.mark.parametrize(("margin", "is_tight"), [(0, True), (0.02, True), (0.05, True), (0.1, False), (0.3, False)])
def test_boxes_hardly_wider_than_the_points_are_reported(tmp_path, points, margin, is_tight, caplog):
    edges = lambda face: np.array(with_margin(face, margin))  # noqa: E731
    read_coco(tmp_path, points, lambda face: (*edges(face)[:2], *(edges(face)[2:] - edges(face)[:2])))
    assert ("the boxes of 8 of 8 faces end at their outermost points" in caplog.text) == is_tight


def test_a_face_that_is_labelled_twice_is_counted_also_with_nearly_the_same_points(tmp_path, points, caplog):
    write_csv(tmp_path, [*points, points[0] + 1])
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(text.replace("p8.png", "./p0.png") + text.splitlines()[3].join("\n\n"))
    assert len(read_folder(tmp_path)) == 10
    assert "2 faces with the points of another face of the same photo, the first: " in caplog.text
    assert "labels.csv: line 10; remove the repeated labels" in caplog.text


def test_two_corners_instead_of_corner_and_size_are_refused(tmp_path, points):
    with pytest.raises(UserError, match=r"looks like two corners x0, y0, x1, y1; write x, y, width, height, or set"):
        read_coco(tmp_path, points, lambda face: (*(face.min(0) - 10), *(face.max(0) + 10)))


@pytest.mark.filterwarnings("error")
def test_faces_without_labels_give_no_warning_of_numpy():
    face = LabelledFace("a.png", np.full((5, 2), np.nan), None, source=0, row=1, where="line 2")
    check_placed([PlacedFace(face, (800, 600))] * 9)
