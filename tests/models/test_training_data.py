"""Warnings of predictions that a checkpoint's training data do not support."""

import re

import numpy as np
import pytest
import torch

from facekp.core.keypoints import Keypoints
from facekp.evaluate import main as evaluate
from facekp.models.checkpoint import KEY, LoadedCheckpoint, load_checkpoint, read_tensors
from facekp.models.ensemble import load_models
from facekp.models.packing import pack
from facekp.models.predictor import KeypointPredictor
from facekp.models.scoring import unseen_rows
from facekp.models.training_data import (
    name_points,
    warn_of_drawn_faces,
    warn_of_mixed_data,
    warn_of_other_crops,
    warn_of_other_data,
)
from tests.conftest import composed
from tests.data.samples import data_settings


@pytest.fixture
def with_entry(ckpt, tmp_path):
    """A function that writes the tiny run's checkpoint with other values in its entry."""

    def write(name, **values):
        raw = read_tensors(ckpt)
        torch.save({**raw, KEY: {**raw[KEY], **values}}, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def without_sparse(with_entry, ckpt):
    labels = torch.from_numpy(load_checkpoint(ckpt).labels)
    labels[1] = 0
    return with_entry("no_sparse.ckpt", labels=labels)


def trained_on(path, hashes=(), **data):
    model = load_checkpoint("shipped").model
    return LoadedCheckpoint(path, model, np.array(hashes, dtype=np.int64), {"data": data})


def test_a_checkpoint_counts_the_labels_that_trained_each_point(ckpt, scheme, tmp_path):
    labels = load_checkpoint(ckpt).labels
    assert labels.shape == (2, 15)
    assert (labels[1, scheme.labels_of("sparse")] > labels[0].max()).all()  # two thirds of the rows are sparse
    pack(ckpt, tmp_path / "packed.ckpt")
    assert (load_checkpoint(tmp_path / "packed.ckpt").labels == labels).all()
    assert (load_checkpoint("shipped").labels[0] > 0).all()


def test_points_that_no_label_trained_are_reported_where_they_are_predicted(without_sparse, ckpt, caplog):
    message = f"{without_sparse}: no label of all points by source sparse trained it"
    evaluate(composed(f"ckpt={without_sparse}", "data=synthetic", "data.rows=60", "data.seed=3", name="evaluate"))
    assert caplog.text.count(message) == 1
    caplog.clear()
    KeypointPredictor.from_checkpoint(without_sparse, source="sparse")
    assert caplog.text.count(message) == 1
    caplog.clear()
    KeypointPredictor.from_checkpoint(without_sparse)  # dense
    evaluate(composed(f"ckpt={ckpt}", "data=synthetic", "data.rows=60", "data.seed=3", name="evaluate"))
    assert "no label" not in caplog.text


def test_a_file_that_does_not_count_its_labels_gives_no_warning(with_entry, caplog):
    KeypointPredictor.from_checkpoint(with_entry("older.ckpt", labels=None))
    KeypointPredictor.from_checkpoint("shipped")
    assert not caplog.text


def test_many_points_are_named_in_part():
    names = [f"p{i}" for i in range(9)]
    scheme = Keypoints.from_dict({"name": "nine", "names": names})
    chosen = np.arange(9)[None] > 1
    assert name_points(scheme, chosen) == "p2, p3, p4, p5 and 3 more points"
    assert name_points(scheme, chosen | True) == "all points"


def test_a_checkpoint_of_drawn_faces_warns_on_other_images(ckpt, caplog):
    models = load_models(ckpt)
    warn_of_other_data(models, data_settings("data=synthetic", "data.seed=9"))
    assert not caplog.text
    warn_of_other_data(models, data_settings("data=kaggle"))
    assert (
        "best.ckpt: was trained on drawn faces (data=synthetic), but predicts the competition's images" in caplog.text
    )
    caplog.clear()
    warn_of_drawn_faces(models)
    assert caplog.text.count("was trained on drawn faces (data=synthetic), but predicts photos") == 1


def test_the_competition_s_checkpoints_predict_photos_without_a_warning(caplog):
    warn_of_drawn_faces(load_models("shipped"))
    assert not caplog.text


@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        ({"name": "kaggle", "dir": "a"}, {"name": "kaggle", "dir": "a", "fold": 1}, False),
        ({"name": "kaggle", "dir": "a"}, {"name": "kaggle", "dir": None}, False),  # packed
        ({"name": "kaggle", "dir": "a"}, {"name": "kaggle", "dir": "b", "hashes": [2, 3, 4]}, False),  # moved
        ({"name": "kaggle", "dir": "a"}, {"name": "kaggle", "dir": "b", "hashes": [7, 8, 9]}, True),
        ({"name": "kaggle", "dir": "a"}, {"name": "synthetic", "seed": 0}, True),
        ({"name": "folder", "images": "a"}, {"name": "coco", "images": "a"}, False),
        ({}, {"name": "kaggle"}, False),  # unknown
    ],
)
def test_an_ensemble_of_different_data_is_reported_once(one, other, warned, caplog):
    models = [trained_on(path, **{"hashes": [1, 2, 3], **data}) for path, data in (("a", one), ("b", other))]
    warn_of_mixed_data([*models, models[1]])
    assert caplog.text.count("their mean may be worse") == int(warned)


def test_loading_an_ensemble_compares_the_data_of_its_checkpoints(ckpt, caplog):
    load_models([ckpt, ckpt])
    assert not caplog.text
    load_models(["shipped", ckpt])
    assert "was trained on data=kaggle, but" in caplog.text


SAME_PHOTOS = {  # settings of the data now, hashes of their faces, and what the warning says; empty: none
    "same settings": ([], range(10), ""),
    "margin": (
        ["data.margin=0.3"],
        range(9, 29),
        "only 1 of these 20 faces .* training faces, as .* had data.margin=0.2;",
    ),
    "size and labels": (["data.size=48", "data.labels=b.txt"], range(20, 40), ""),
    "copies of the photos": (["data.images=copies"], range(20, 40), ""),
    "corrected labels": ([], range(20, 40), "as the labels or the photos have changed since"),
    "half recognised": (["data.margin=0.3"], range(5, 15), ""),
    "other rows": (["data.rows=5"], range(20, 25), ""),
    "another list of one folder": (["data.labels=test.txt"], range(20, 40), ""),
    "several lists": (["data.labels=[a.txt,b.txt]"], range(20, 40), ""),
    "a subset": (["data.only={source: default}", "data.margin=0.3"], range(20, 40), ""),
    "a list with one of the faces": (["data.labels=b.txt"], range(9, 29), ""),
    "a fifth recognised, as of a subset": ([], range(8, 28), ""),
    "other photos": (["data.images=other", "data.labels=b.txt", "data.size=48"], range(20, 40), ""),
    "no photos": (["data=synthetic"], range(20, 40), ""),
}


@pytest.mark.parametrize("case", SAME_PHOTOS)
def test_photos_of_the_training_that_are_cropped_in_another_way_give_one_warning(case, tmp_path, monkeypatch, caplog):
    given, hashes, message = SAME_PHOTOS[case]
    monkeypatch.chdir(tmp_path)
    files = [f"data.images={tmp_path}/photos", f"data.labels={tmp_path}/a.txt", "data.margin=0.2"]
    before = trained_on("a.ckpt", range(10), **data_settings("data=folder", *files).plain())
    here = ["data.images=photos", "data.labels=./a.txt", "data.margin=0.2"]
    now = data_settings(*(given if "data=synthetic" in given else ["data=folder", *here, *given]))
    warn_of_other_crops([before, before], np.array(hashes, dtype=np.int64)[:, None], now)
    assert len(caplog.messages) == bool(message)
    if message:
        assert re.search(f"a.ckpt: .*{message}", caplog.text)


def test_a_packed_checkpoint_whose_paths_are_unknown_gives_no_warning_of_other_crops(tmp_path, caplog):
    files = [f"data.images={tmp_path}/photos", f"data.labels={tmp_path}/a.txt"]
    before = data_settings("data=folder", *files).plain() | {"images": None, "labels": None}
    now = data_settings("data=folder", *files, "data.margin=0.3")
    warn_of_other_crops([trained_on("a.ckpt", range(10), **before)], np.arange(50)[:, None], now)
    assert caplog.messages == []


def test_rows_are_scored_with_a_warning_where_other_crops_hide_that_they_trained(faces, caplog):
    files = ["data=folder", "data.images=photos", "data.labels=a.csv"]
    before = trained_on("a.ckpt", range(40), **data_settings(*files).plain())
    assert len(unseen_rows([before], faces, data_settings(*files, "data.boxes=points"))) == len(faces)
    assert "only 0 of these 80 faces were recognised as its training faces" in caplog.text
