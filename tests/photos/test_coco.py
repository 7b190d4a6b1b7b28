"""COCO's JSON of predictions: the fields that other programs need, and `data=coco` reads the same points back."""

import json
import os
from itertools import pairwise

import numpy as np
import pytest

from facekp.core.crop import Crop
from facekp.core.errors import CannotWrite
from facekp.core.settings import parse
from facekp.data.readers.coco import CocoSettings, read_coco
from facekp.photos.face import Face
from facekp.photos.output import PredictionWriter
from facekp.photos.reading import Photo
from tests.conftest import config_of

IMAGE = np.full((100, 120, 3), 90, np.uint8)


@pytest.fixture
def face(scheme):
    points = np.stack([np.linspace(20, 60, 15), np.linspace(30, 70, 15)], axis=1) + 0.12345
    return Face(Crop(10, 20, 60, 50, (96, 96)), points, np.linspace(0, 1, 15), None)


def written(out, scheme, *predictions):
    with PredictionWriter(out, scheme, pictures=False) as writer:
        for photo, faces in predictions:
            writer.write(photo, faces)
    writer.finish()
    return json.loads((out / "coco.json").read_text())


def test_an_annotation_is_a_face_with_its_points_and_score(tmp_path, scheme, face):
    predictions = (Photo("p/a/b.png", IMAGE), [face, face]), (Photo(os.path.abspath("p/c.png"), IMAGE), [])
    coco = written(tmp_path, scheme, *predictions)
    assert coco["info"]["folder"] == os.path.abspath("p")
    assert coco["images"] == [
        {"id": 1, "file_name": "a/b.png", "width": 120, "height": 100},
        {"id": 2, "file_name": "c.png", "width": 120, "height": 100},
    ]
    (category,) = coco["categories"]
    assert category["keypoints"] == list(scheme.names)
    names = [(scheme.names[a - 1], scheme.names[b - 1]) for a, b in category["skeleton"]]
    assert names == [pair for line in scheme.lines for pair in pairwise(line)]
    first, second = coco["annotations"]
    assert (first["id"], first["image_id"], second["id"], second["image_id"]) == (1, 1, 2, 1)
    assert first["bbox"] == [10, 20, 60, 50]  # edges: the crop's first column is 10
    assert (first["area"], first["iscrowd"], first["num_keypoints"]) == (3000, 0, 15)
    assert first["score"] == pytest.approx(0.5, abs=1e-4)
    assert first["keypoints"][:3] == [20.123, 30.123, 2]
    assert "track_id" not in first


def test_frames_have_names_numbers_and_tracks(tmp_path, scheme, face):
    tracked = Face(face.crop, face.points, face.confidence, None, track=3)
    coco = written(tmp_path, scheme, (Photo("d/clip.mp4", IMAGE, 12, 25.0), [tracked]))
    assert coco["images"] == [
        {
            "id": 1, "file_name": "clip/frame_000012.png", "width": 120, "height": 100,
            "video": "clip.mp4", "frame": 12,
        }
    ]  # fmt: skip
    assert [annotation["track_id"] for annotation in coco["annotations"]] == [3]


def test_a_point_that_is_not_finite_is_not_labelled(tmp_path, scheme, face):
    points, confidence = face.points.copy(), face.confidence.copy()
    points[2], confidence[:] = np.nan, np.nan
    coco = written(tmp_path, scheme, (Photo("a.png", IMAGE), [Face(face.crop, points, confidence, None)]))
    (annotation,) = coco["annotations"]
    assert annotation["keypoints"][6:9] == [0, 0, 0]
    assert (annotation["num_keypoints"], annotation["score"]) == (14, 0.0)


def test_without_photos_the_lists_are_empty(tmp_path, scheme):
    coco = written(tmp_path, scheme)
    assert (coco["images"], coco["annotations"]) == ([], [])


def test_the_reader_reads_the_points_back(tmp_path, scheme, face):
    moved = Face(Crop(30, 5, 48, 48, (96, 96)), face.points + 9, face.confidence, None)
    predictions = [(Photo("a.png", IMAGE), [face, moved]), (Photo("b.png", IMAGE), []), (Photo("c.png", IMAGE), [face])]
    written(tmp_path, scheme, *predictions)
    values = config_of("data=coco", f"data.labels={tmp_path / 'coco.json'}", f"data.images={tmp_path}", name="train")
    values["data"]["cache"] = None
    faces = read_coco(parse(CocoSettings, values["data"], "data"), scheme)
    assert [read.name for read in faces] == ["a.png", "a.png", "c.png"]
    for read, expected in zip(faces, [face, moved, face], strict=True):
        assert np.allclose(read.points, expected.points, atol=1e-3)
        crop = expected.crop
        assert read.box == (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)


def test_a_file_that_cannot_be_written_leaves_none_of_an_earlier_call(tmp_path, scheme, face, monkeypatch):
    written(tmp_path, scheme, (Photo("a.png", IMAGE), [face]))

    def fail(*_):
        raise CannotWrite("coco.json: cannot be written (full)")

    monkeypatch.setattr("facekp.photos.output.write_coco", fail)
    with pytest.raises(CannotWrite, match="full"):
        written(tmp_path, scheme, (Photo("a.png", IMAGE), [face]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["points.csv", "points.json"]


def test_frames_of_videos_that_differ_in_their_endings_have_folders_of_their_own(tmp_path, scheme):
    videos = [Photo(f"v/{name}", IMAGE, 0, 25.0) for name in ("a.mp4", "a.mov", "b.mp4")]
    names = [image["file_name"] for image in written(tmp_path, scheme, *((video, []) for video in videos))["images"]]
    assert names == ["a.mp4/frame_000000.png", "a.mov/frame_000000.png", "b/frame_000000.png"]


def test_the_endings_also_tell_videos_apart_whose_folder_is_written_differently(tmp_path, scheme):
    videos = [Photo(name, IMAGE, 0, 25.0) for name in ("v/a.mp4", "w/../v/a.gif", os.path.abspath("v/a.avi"))]
    images = written(tmp_path, scheme, *((video, []) for video in videos))["images"]
    assert [image["file_name"] for image in images] == [f"a.{end}/frame_000000.png" for end in ("mp4", "gif", "avi")]
