"""Settings of readers, and readers that a plug-in brings."""

import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from facekp.config.plugins import plugin_choices
from facekp.core.errors import UserError
from facekp.core.settings import PathKind, path_fields
from facekp.data.readers.base import READERS, DataSettings, LabelledFace, PhotoDataSettings
from facekp.data.readers.kaggle import KaggleSettings
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from tests.data.samples import data_settings
from tests.drawn_photos import DRAWN, five, write_photos


@pytest.fixture
def registry(monkeypatch):
    """The registry of readers; what a test registers is forgotten."""
    READERS.names()
    monkeypatch.setattr(READERS, "entries", dict(READERS.entries))
    monkeypatch.setattr(READERS, "own_settings", dict(READERS.own_settings))
    return READERS


class JsonSettings(PhotoDataSettings):
    order: Literal["xy", "yx"] = "xy"


def read_json(settings: JsonSettings, keypoints) -> list[LabelledFace]:
    axes = slice(None) if settings.order == "xy" else slice(None, None, -1)
    return [
        LabelledFace(face["name"], np.array(face["points"])[:, axes], None, 0, row, f"face {row}")
        for row, face in enumerate(json.loads(settings.label_file.read_text()), start=1)
    ]


def test_a_label_format_is_one_function(registry, tmp_path):
    registry.register("json")(read_json)
    labels = write_photos(tmp_path, 6)
    columns = [f"{name}_{axis}" for name in DRAWN for axis in "yx"]
    faces = [
        {"name": face["name"], "points": face[columns].to_numpy(float).reshape(5, 2).tolist()}
        for _, face in labels.iterrows()
    ]
    (tmp_path / "labels.json").write_text(json.dumps(faces))
    paths = (f"data.images={tmp_path}/photos", f"data.labels={tmp_path}/labels.csv", "data.cache=null")
    as_csv = data_settings("data=folder", *paths)
    settings = registry.parse({**as_csv.plain(), "name": "json", "labels": f"{tmp_path}/labels.json", "order": "yx"})
    table, expected = read_table(settings, five()), read_table(as_csv, five())
    np.testing.assert_array_equal(table.images, expected.images)
    np.testing.assert_array_equal(table.points, expected.points)


def test_a_plug_in_takes_the_defaults_of_the_common_keys_from_conf(registry):
    registry.register("json")(read_json)
    choice = plugin_choices(["this_module"])["data"]["json"]
    assert choice["order"] == "xy"
    assert choice["images"] == "???"
    built_in = data_settings("data=folder", "data.images=a", "data.labels=b")
    for key in ("rows", "folds", "fold", "split_seed", "offsets", "device_bytes", "batch_size", "size", "margin"):
        assert choice[key] == getattr(built_in, key), key


class OwnDefaults(PhotoDataSettings):
    margin: float = 0.9
    size: int


def read_own_defaults(settings: OwnDefaults, keypoints) -> list[LabelledFace]:
    return []


def test_a_plug_in_s_own_default_of_a_common_key_wins(registry):
    registry.register("own")(read_own_defaults)
    choice = plugin_choices(["this_module"])["data"]["own"]
    assert (choice["margin"], choice["size"], choice["batch_size"]) == (0.9, 96, 32)


def read_nothing(settings: DataSettings, keypoints) -> FaceTable:
    return None


def read_no_faces(settings: PhotoDataSettings, keypoints) -> list[LabelledFace]:
    return None


def read_untyped(settings, keypoints):
    return None


def test_a_reader_must_return_what_its_settings_promise(registry, scheme):
    registry.register("nothing")(read_nothing)
    registry.register("no_faces")(read_no_faces)
    common = data_settings("data=synthetic").plain()
    del common["seed"]
    with pytest.raises(UserError, match="data=nothing: the reader returned NoneType, not a FaceTable"):
        read_table(registry.parse({**common, "name": "nothing"}), scheme)
    photos = data_settings("data=folder", "data.images=a", "data.labels=b").plain()
    with pytest.raises(UserError, match="data=no_faces: the reader returned NoneType, not a list of LabelledFace"):
        read_table(registry.parse({**photos, "name": "no_faces"}), scheme)


def face_with(**changes):
    face = LabelledFace("a.png", np.zeros((5, 2)), None, 0, 1, "faces.txt: line 3")
    return replace(face, **changes)


@pytest.mark.parametrize(
    ("face", "message"),
    [
        (face_with(source=-1), "data=wrong: faces.txt: line 3: source is -1; give an index into "),
        (face_with(source="dense"), "data=wrong: faces.txt: line 3: source is 'dense'"),
        (face_with(points=np.zeros((4, 2))), r"line 3: points have the shape \(4, 2\); give an array \(5, 2\)"),
        (face_with(points=[[0, 0]] * 5), "line 3: points have the shape None"),
        ({"name": "a.png"}, "data=wrong: the reader returned a list with dict, not LabelledFace"),
    ],
)
def test_faces_of_a_reader_are_checked(registry, face, message):
    def read_wrong(settings: PhotoDataSettings, keypoints) -> list[LabelledFace]:
        return [face]

    registry.register("wrong")(read_wrong)
    photos = data_settings("data=folder", "data.images=a", "data.labels=b").plain()
    with pytest.raises(UserError, match=message):
        read_table(registry.parse({**photos, "name": "wrong"}), five())


def test_a_reader_must_annotate_its_settings(registry):
    registry.register("untyped")(read_untyped)
    with pytest.raises(UserError, match="reader 'untyped': the first argument of read_untyped must be annotated"):
        registry.settings_class("untyped")


def test_an_unknown_reader_gets_the_choices():
    with pytest.raises(UserError, match=r"data: there is no reader 'imagenet'; choose one of .*kaggle"):
        READERS.parse({**data_settings().plain(), "name": "imagenet"})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.fold=5", "data.fold=5: with data.folds=5 it must be one of 0 to 4"),
        ("data.folds=1", "data.folds=1: must be at least 2"),
        ("data.batch_size=0", "data.batch_size=0: must be at least 1"),
        ("data.rows=0", "data.rows=0: must be at least 1"),
        ("data.device_bytes=-1", "data.device_bytes=-1: must be at least 0"),
        ("data.offsets={dense:x}", "data.offsets.dense=x: must be a number"),
        ("data.dir=''", "data.dir='': must not be empty"),
        ("+data.colour=1", "data.colour: unknown key"),
    ],
)
def test_an_invalid_setting_is_refused(override, message):
    with pytest.raises(UserError) as error:
        data_settings(override)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [("data.size=31", "must be at least 32"), ("data.size=1025", "at most 1024"), ("data.margin=1.1", "at most 1")],
)
def test_an_invalid_setting_of_photos_is_refused(override, message):
    with pytest.raises(UserError, match=message):
        data_settings("data=folder", "data.images=a", "data.labels=b", override)


def test_paths_are_marked():
    assert path_fields(KaggleSettings) == dict.fromkeys(("dir", "cache"), PathKind.INPUT)
    assert path_fields(PhotoDataSettings) == dict.fromkeys(("images", "labels", "cache"), PathKind.INPUT)
