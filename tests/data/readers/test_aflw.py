"""AFLW's database: whose left is meant, ears, boxes, attributes, where the photos are, and the error of every fault."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import yaml
from PIL import Image

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.label_file import defaults_of, open_label_file, recognise
from facekp.data.readers.aflw import is_aflw, point_names
from facekp.data.readers.base import READERS
from tests.data.label_readers import read_labels, shipped

AFLW = [
    "LeftBrowLeftCorner", "LeftBrowCenter", "LeftBrowRightCorner", "RightBrowLeftCorner", "RightBrowCenter",
    "RightBrowRightCorner", "LeftEyeLeftCorner", "LeftEyeCenter", "LeftEyeRightCorner", "RightEyeLeftCorner",
    "RightEyeCenter", "RightEyeRightCorner", "LeftEar", "NoseLeft", "NoseCenter", "NoseRight", "RightEar",
    "MouthLeftCorner", "MouthCenter", "MouthRightCorner", "ChinCenter",
]  # fmt: skip
LEFT_TO_RIGHT = [8, 14, 20, 30, 36, 42, 9, 13, 18, 32, 37, 41, 5, 21, 25, 29, 45, 17, 25, 33, 25]  # x of a face
DOWNWARDS = [10, 8, 10, 10, 8, 10, 14, 14, 14, 14, 14, 14, 20, 24, 26, 24, 20, 32, 33, 32, 42]  # y
EARS = ("LeftEar", "RightEar")
SCHEMA = """
CREATE TABLE Databases (db_id TEXT, path TEXT, description TEXT);
CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
CREATE TABLE FaceImages (image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT, filepath TEXT, bw INTEGER,
                         width INTEGER, height INTEGER);
CREATE TABLE FeatureCoordTypes (feature_id INTEGER PRIMARY KEY, descr TEXT, code TEXT, x REAL, y REAL, z REAL);
CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INTEGER, x REAL, y REAL, annot_type_id INTEGER);
CREATE TABLE FaceRect (face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER, annot_type_id INTEGER);
CREATE TABLE FaceMetadata (face_id INTEGER, sex TEXT, occluded INTEGER, glasses INTEGER, bw INTEGER,
                           annot_type_id INTEGER);
CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER);
"""
FACES = {40001: "a", 40002: "a", 40010: "b"}  # photo of each face; two faces are in one photo


def run(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def write_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        types = [(number, name, name[:3]) for number, name in enumerate(AFLW, start=1)]
        connection.executemany("INSERT INTO FeatureCoordTypes (feature_id, descr, code) VALUES (?, ?, ?)", types[::-1])
        for number, name in enumerate(sorted(set(FACES.values()))):
            image = ("flickr", f"{name}.png", f"{number}/{name}.png", 100, 50)
            connection.execute(
                "INSERT INTO FaceImages (db_id, file_id, filepath, width, height) VALUES (?,?,?,?,?)", image
            )
        for face, photo in FACES.items():
            aside = 50 * (face == 40002)
            connection.execute("INSERT INTO Faces VALUES (?, ?, 'flickr')", (face, f"{photo}.png"))
            points = zip(range(1, 22), LEFT_TO_RIGHT, DOWNWARDS, strict=True)
            rows = [(face, number, x + aside, y, 1) for number, x, y in points]
            connection.executemany("INSERT INTO FeatureCoords VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute("INSERT INTO FaceRect VALUES (?, ?, 3, 44, 44, 1)", (face, 3 + aside))
        connection.commit()
    return path


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate("ab"):
        photo = tmp_path / "flickr" / str(number) / f"{name}.png"
        photo.parent.mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 256, (50, 100), dtype=np.uint8)
        Image.fromarray(noise).save(photo)
    write_database(tmp_path / "aflw.sqlite")
    return tmp_path


def read(folder, *more, scheme=None):
    paths = (f"data.images={folder}/flickr", f"data.labels={folder}/aflw.sqlite")
    return read_labels("aflw", *paths, *more, scheme=scheme or shipped("aflw19"))


def points_of(table, row):
    return dict(zip(table.keypoints.names, table.to_photo(table.points)[row].round(3).tolist(), strict=True))


def test_left_in_the_file_is_the_left_of_the_image_which_is_the_person_s_right(folder):
    table = read(folder)
    assert (table.row.tolist(), table.name.tolist()) == (list(FACES), ["0/a.png", "0/a.png", "1/b.png"])
    points = points_of(table, 0)
    assert table.mask.all()
    assert points["right_eye_center"] == [13, 14]
    assert points["left_eye_outer_corner"] == [41, 14]
    assert points["mouth_right_corner"] == [17, 32]
    for left, right in table.keypoints.pairs:
        assert points[left][0] > points[right][0]
    rest = [i for i, name in enumerate(AFLW) if name not in EARS]  # the scheme has AFLW's order
    assert list(points.values()) == [[LEFT_TO_RIGHT[i], DOWNWARDS[i]] for i in rest]


def test_a_box_has_a_corner_width_and_height_and_the_lowest_annotation_type_counts(folder):
    run(folder / "aflw.sqlite", "INSERT INTO FaceRect VALUES (40001, 0, 0, 48, 48, 0)",
        "DELETE FROM FaceRect WHERE face_id = 40010")  # fmt: skip
    table = read(folder)
    edges = (table.to_photo(table.box.reshape(-1, 2, 2) - 0.5) + 0.5).reshape(-1, 4)
    np.testing.assert_allclose(edges, [[0, 0, 48, 48], [53, 3, 97, 47], [np.nan] * 4], atol=0.01)


def test_a_point_without_a_row_has_no_label_and_a_face_without_points_is_left_out(folder):
    run(folder / "aflw.sqlite", "DELETE FROM FeatureCoords WHERE face_id = 40001 AND feature_id = 8",
        "UPDATE FeatureCoords SET x = -1, y = -1 WHERE face_id = 40001 AND feature_id = 15",
        "DELETE FROM FeatureCoords WHERE face_id = 40002",
        "DELETE FROM FeatureCoords WHERE face_id = 40010 AND feature_id NOT IN (13, 17)")  # fmt: skip
    paths = {"images": str(folder), "labels": str(folder / "aflw.sqlite"), "cache": None}
    faces = READERS["aflw"](READERS.parse({**defaults_of("aflw"), **paths}), shipped("aflw19"))
    assert isinstance(faces, list)
    assert [face.row for face in faces] == [40001]  # of 40010 only the ears have labels
    missing = np.isnan(faces[0].points).all(axis=1)
    assert np.array(shipped("aflw19").names)[missing].tolist() == ["right_eye_center", "nose_tip"]


def test_ears_are_read_if_the_scheme_has_them_and_left_out_in_one_line_otherwise(folder, caplog):
    caplog.set_level("INFO")
    read(folder)
    assert caplog.text.count("LeftEar and RightEar left out, which keypoints aflw19 lacks") == 1
    caplog.clear()
    values = yaml.safe_load((CONF_DIR / "keypoints" / "aflw19.yaml").read_text())
    scheme = Keypoints.from_dict({**values, "name": "aflw21", "names": [*values["names"], "left_ear", "right_ear"]})
    points = points_of(read(folder, scheme=scheme), 0)
    assert (points["right_ear"], points["left_ear"]) == ([5, 20], [45, 20])
    assert "left out" not in caplog.text
    with pytest.raises(UserError, match="its 19 points are not the 5 of keypoints celeba5"):
        read(folder, scheme=shipped("celeba5"))


def test_metadata_are_attributes(folder):
    run(folder / "aflw.sqlite", "INSERT INTO FaceMetadata VALUES (40001, 'm', 0, 1, 0, 0)",
        "INSERT INTO FaceMetadata VALUES (40010, '', 1, NULL, 0, 0)")  # fmt: skip
    assert {name: values.tolist() for name, values in read(folder).attributes.items()} == {
        "sex": ["male", "", ""],
        "occluded": ["0", "", "1"],
        "glasses": ["1", "", ""],
    }


def test_boxes_and_metadata_may_be_absent(folder):
    run(folder / "aflw.sqlite", "DROP TABLE FaceRect", "DROP TABLE FaceMetadata")
    table = read(folder)
    assert (table.box, table.attributes) == (None, {})


@pytest.mark.parametrize("above", ["", "data", "aflw/data"])
def test_the_folder_of_the_photos_may_be_one_above_flickr(folder, above):
    if above:
        (folder / above).mkdir(parents=True)
        (folder / "flickr").rename(folder / above / "flickr")
    table = read(folder, f"data.images={folder}")
    assert table.name.tolist()[0] == f"{above}/flickr/0/a.png".lstrip("/")
    file = open_label_file(folder / "aflw.sqlite", None, None, None)
    assert (file.has_photos, file.keypoints, len(file.faces)) == (True, shipped("aflw19"), 3)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE FeatureCoords SET x = 'left' WHERE face_id = 40001 AND feature_id = 8",
         "face 40001, LeftEyeCenter: 'left' is not a finite number; give pixels of the photo"),
        ("UPDATE FeatureCoords SET y = NULL WHERE face_id = 40001 AND feature_id = 8",
         "face 40001, LeftEyeCenter: None is not a finite number"),
        ("UPDATE FeatureCoords SET x = 9e999 WHERE face_id = 40001 AND feature_id = 8",
         "face 40001, LeftEyeCenter: inf is not a finite number"),
        ("UPDATE FeatureCoords SET feature_id = 99 WHERE face_id = 40001 AND feature_id = 8",
         "face 40001: feature_id 99, which is None in FeatureCoordTypes, is not one of AFLW's points; remove it"),
        ("UPDATE FeatureCoords SET feature_id = 7 WHERE face_id = 40001 AND feature_id = 8",
         "face 40001: point 'right_eye_outer_corner' is duplicated in its face; keep one"),
        ("UPDATE FaceRect SET w = x'00' WHERE face_id = 40001", r"face 40001, FaceRect: b'\\x00' is not a finite num"),
        ("UPDATE Faces SET file_id = 'c.png' WHERE face_id = 40001",
         "face 40001: its file_id 'c.png' has no photo in FaceImages; keep one for each file_id"),
        ("UPDATE Faces SET db_id = NULL WHERE face_id = 40001", "face 40001: its file_id 'a.png' has no photo in"),
        ("INSERT INTO FaceImages VALUES (9, 'flickr', 'a.png', '3/a.png', 0, 1, 1)",
         "face 40001: its file_id 'a.png' has 2 photos in FaceImages; keep one for each file_id"),
        ("UPDATE FaceImages SET filepath = NULL WHERE file_id = 'a.png'",
         "face 40001: its filepath in FaceImages is None; give the photo's path"),
        ("UPDATE FaceImages SET filepath = '../../secret.png' WHERE file_id = 'a.png'",
         "face 40001: '../../secret.png' is outside .*flickr; name photos relative to it"),
    ],
)  # fmt: skip
def test_every_fault_of_a_face_is_refused_with_its_position(folder, statement, message, caplog):
    run(folder / "aflw.sqlite", statement)
    with pytest.raises(UserError, match=message):
        read(folder)
    rest = read(folder, "data.skip_broken=true").row.tolist()
    assert rest == ([40010] if "FaceImages" in statement else [40002, 40010])
    assert "errors left out" in caplog.text


def test_an_id_that_is_no_number_is_refused(folder):
    run(folder / "aflw.sqlite", "ALTER TABLE Faces RENAME TO Old", "CREATE TABLE Faces AS SELECT * FROM Old",
        "UPDATE Faces SET face_id = 'x' WHERE face_id = 40001",
        "UPDATE FeatureCoords SET face_id = 'x' WHERE face_id = 40001")  # fmt: skip
    with pytest.raises(UserError, match="face 'x': its face_id is not a whole number; correct it"):
        read(folder)
    assert read(folder, "data.skip_broken=true").row.tolist() == [40002, 40010]


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["DROP TABLE FeatureCoords"], "data.labels=.*: has no table FeatureCoords; give AFLW's aflw.sqlite"),
        (["DROP TABLE Faces", "CREATE VIEW Faces AS SELECT 1 AS face_id, 'a.png' AS file_id, 'flickr' AS db_id"],
         "data.labels=.*: has no table Faces; give AFLW's aflw.sqlite"),
        (["ALTER TABLE FeatureCoords RENAME COLUMN x TO u"], "can't be read as AFLW's database (no such column: x)"),
        (["UPDATE FaceImages SET filepath = cast(x'ff' AS TEXT)"], "can't be read as AFLW's database (Could not"),
        (["UPDATE FaceImages SET filepath = hex(zeroblob(600000))"], "can't be read as AFLW's database (string or"),
        (["DELETE FROM FeatureCoords"], "has no face with a labelled point"),
    ],
)  # fmt: skip
def test_other_databases_are_refused(folder, statements, message):
    run(folder / "aflw.sqlite", *statements)
    for skip in ("false", "true"):
        with pytest.raises(UserError, match=re.sub(r"[()]", r"\\\g<0>", message)):
            read(folder, f"data.skip_broken={skip}")


def test_a_virtual_table_is_not_read(folder):
    try:
        run(
            folder / "aflw.sqlite", "DROP TABLE Faces", "CREATE VIRTUAL TABLE Faces USING fts4(face_id, file_id, db_id)"
        )
    except sqlite3.OperationalError:
        pytest.skip("this SQLite has no virtual tables of texts")
    with pytest.raises(UserError, match="has no table Faces; give AFLW's"):
        read(folder)


def test_other_files_are_refused(folder):
    path = folder / "aflw.sqlite"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(
        UserError, match=r"can't be read as AFLW's database \(database disk image is malformed\); downl"
    ):
        read(folder)
    path.write_text("no database, but a text that is longer than the header of one" * 100)
    with pytest.raises(UserError, match=r"can't be read as AFLW's database \(file is not a database\)"):
        read(folder)
    with pytest.raises(UserError, match=r"nowhere: can't be read"):
        read(folder, f"data.labels={path}/../nowhere")
    with pytest.raises(UserError, match="is a folder; name a file"):
        read(folder, f"data.labels={folder}")


def test_a_table_without_end_is_refused(folder, monkeypatch):
    monkeypatch.setattr("facekp.data.readers.aflw.MAX_STEPS", 0)
    monkeypatch.setattr("facekp.data.readers.aflw.STEPS", 10)
    with pytest.raises(UserError, match=r"can't be read as AFLW's database \(interrupted\)"):
        read(folder)


def test_the_file_is_only_read(folder):
    name = folder / "odd? name#1%20.sqlite"
    (folder / "aflw.sqlite").rename(name)
    run(name, "PRAGMA journal_mode=WAL")
    before = (name.read_bytes(), sorted(folder.iterdir()))
    assert len(read(folder, f"data.labels={name}")) == 3
    assert (name.read_bytes(), sorted(folder.iterdir())) == before


def test_the_file_is_recognised_by_its_ending_and_first_bytes(folder, tmp_path):
    path = folder / "aflw.sqlite"
    assert recognise(path) == "aflw"
    assert point_names(path) == list(shipped("aflw19").names)
    assert not is_aflw(path.rename(folder / "aflw.mat"), "")
    (folder / "text.sqlite").write_text("SQLite")
    assert not is_aflw(folder / "text.sqlite", "SQLite")
    assert not is_aflw(folder / "nowhere.sqlite", "")
