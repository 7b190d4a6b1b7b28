"""Initial weights: init_from takes what fits, and remembers the training images of the weights."""

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.datamodule import FaceData
from facekp.models.checkpoint import load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.runs.folder import RunFolder
from facekp.training.dataset import build_data
from facekp.training.initial import _labels_before, _set_mean_face, _start_from, build_estimator, take_weights
from facekp.training.setup import train
from tests.conftest import TINY, settings_of
from tests.data.samples import data_settings

STILL = ["lr=1e-12", "trainer.max_epochs=1", "optimizer=sgd"]  # the weights stay where they start


@pytest.fixture(scope="module")
def best(tiny_run):
    return RunFolder(tiny_run).best_checkpoint


def named(*names):
    """A scheme of these points alone."""
    return [
        "keypoints.name=mine",
        f"keypoints.names=[{','.join(names)}]",
        "keypoints.pairs=[]",
        "keypoints.lines=[]",
        "~keypoints.sources.sparse",
        "keypoints.normaliser=null",
    ]


def start_from(best, folder, *overrides):
    train(settings_of(*TINY, *STILL, f"init_from={best}", *overrides), folder)
    return torch.load(RunFolder(folder).last_checkpoint, weights_only=True)


def test_weights_and_hashes_of_the_training_images_are_taken_over(best, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    after = start_from(best, tmp_path / "next", "data.fold=1")
    assert (
        "validation images are among its training images; this run's scores say nothing about new faces" in caplog.text
    )
    assert "0 partly copied, 0 not copied; all 15 points are also in the checkpoint" in caplog.text
    before = torch.load(best, weights_only=True)
    weight = "model.network.heads.0.weight"
    torch.testing.assert_close(after["state_dict"][weight], before["state_dict"][weight])
    assert set(before["facekp"]["trained_on"].tolist()) <= set(after["facekp"]["trained_on"].tolist())
    assert len(after["facekp"]["trained_on"]) >= 59  # two folds together hold nearly every image


def test_a_network_with_other_points_takes_all_but_their_channels(best, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    after = start_from(best, tmp_path / "two", *named("left_eye_center", "nose_tip"))["state_dict"]
    before = load_checkpoint(best).model
    channels = [before.keypoints.names.index(name) for name in ("left_eye_center", "nose_tip")]
    head = before.state_dict()["network.heads.0.weight"]
    torch.testing.assert_close(after["model.network.heads.0.weight"], head[channels])
    assert "0 not copied" in caplog.text


def test_a_wider_network_keeps_fresh_weights_and_says_which(best, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    after = start_from(best, tmp_path / "wide", "model.network.channels=16")["state_dict"]
    assert after["model.network.heads.0.weight"].shape[1] == 16
    assert re.search(r"init_from=.* not copied \(network\..* and \d+ more\)", caplog.text)
    expected = (
        "most of the network starts with random weights, as the checkpoint has another network; to use its weights, "
        "give model.network.name=hourglass "
    )
    assert expected in caplog.text
    assert "model.network.channels=8" in caplog.text
    assert "are among its training images" not in caplog.text  # the same rows are held out


def test_points_are_known_by_name_and_others_start_fresh(best, caplog):
    caplog.set_level(logging.INFO)
    settings = settings_of(*TINY)
    scheme = Keypoints.from_dict({"name": "mine", "names": ["nose_tip", "chin"]})
    model = KeypointModel(scheme, (96, 96), settings.model, settings.loss.activation, settings.decoder)
    loaded = load_checkpoint(best)
    fresh = model.state_dict()["network.heads.0.weight"][1].clone()
    take_weights(model, loaded)
    nose, chin = model.state_dict()["network.heads.0.weight"]
    torch.testing.assert_close(nose, loaded.model.state_dict()["network.heads.0.weight"][10])
    torch.testing.assert_close(chin, fresh)
    (line,) = caplog.messages
    assert "1 of 2 points is also in the checkpoint (nose_tip)" in line


def test_a_network_of_which_nothing_fits_is_refused(best, tmp_path):
    data = ["data=synthetic", "data.rows=20", "model=simcc"]
    with pytest.raises(UserError, match=r"init_from=.*no weight of its network hourglass"):
        train(settings_of(*data, f"init_from={best}"), tmp_path / "other")


def test_points_without_a_training_label_are_reported_unless_the_initial_weights_learnt_them(best, tmp_path, caplog):
    message = "no training row has a label of all points by source sparse"
    complete = [*TINY, *STILL, "subset=complete", "decoder.flip=false"]
    train(settings_of(*complete), tmp_path / "complete")
    assert caplog.text.count(message) == 1
    labels = load_checkpoint(RunFolder(tmp_path / "complete").best_checkpoint).labels
    assert not labels[1, load_checkpoint(best).model.keypoints.labels_of("sparse")].any()
    caplog.clear()
    after = start_from(best, tmp_path / "further", "subset=complete", "decoder.flip=false")
    assert message not in caplog.text
    assert (after["facekp"]["labels"].numpy() >= labels).all()
    assert (after["facekp"]["labels"] == torch.load(best, weights_only=True)["facekp"]["labels"]).all()


def test_initial_weights_that_learnt_the_other_sides_are_reported(best, faces, caplog):
    swapped = replace(faces, points=faces.points[:, faces.keypoints.flip_order()])
    settings = settings_of(*TINY, f"init_from={best}")
    build_estimator(build_data(faces, settings), settings, None)
    assert "exchanged" not in caplog.text
    build_estimator(build_data(swapped, settings), settings, None)
    assert "px with left and right points exchanged" in caplog.text


def test_initial_weights_of_the_same_photos_in_other_crops_are_reported(best, faces, caplog):
    files = ["data=folder", "data.images=photos", "data.labels=a.csv"]
    loaded = load_checkpoint(best)
    start = replace(loaded, config={**loaded.config, "data": data_settings(*files).plain()})
    data = build_data(faces, settings_of(*TINY)).module
    _start_from(load_checkpoint(best).model, start, data, data_settings(*files, "data.margin=0.4"))
    assert "of these 80 faces were recognised as its training faces, as the training had data.margin=0.2" in caplog.text


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.ckpt: does not exist"):
        start_from("no.ckpt", tmp_path / "run")


@pytest.fixture
def nose_and_chin():
    """A model of two points and one source, which no checkpoint has."""
    settings = settings_of(*TINY)
    scheme = Keypoints.from_dict({"name": "mine", "names": ["nose_tip", "chin"], "sources": {"other": None}})
    return KeypointModel(scheme, (96, 96), settings.model, settings.loss.activation, settings.decoder)


def test_labels_of_the_initial_weights_are_counted_by_name_unless_they_are_unknown(best, nose_and_chin):
    loaded = replace(load_checkpoint(best), labels=np.arange(30).reshape(2, 15))
    nose = loaded.model.keypoints.names.index("nose_tip")
    assert _labels_before(nose_and_chin, None).tolist() == [[0, 0]]
    assert _labels_before(nose_and_chin, loaded).tolist() == [[nose, 0]]
    assert _labels_before(nose_and_chin, replace(loaded, labels=None)) is None


def test_the_mean_face_is_that_of_the_rows_outside_the_fold_and_stays_where_these_have_no_label(faces, nose_and_chin):
    points = faces.points[:20, :2].copy()
    points[:, 1] = np.nan
    points[:5, 1] = 70.0  # a label in held-out rows only
    table = replace(faces.take(np.arange(20)), points=points, keypoints=nose_and_chin.keypoints)
    table = replace(table, source=np.zeros(20, np.int8))
    fold_of = np.repeat([0, 1], [5, 15])
    data = FaceData(table, fold_of, 0, "full", 8, settings_of("augment=none").augment, 0)
    nose_and_chin.mean_face[:] = 33.0
    _set_mean_face(nose_and_chin, data)
    expected = [np.nanmean(points[5:, 0], axis=0), [33.0, 33.0]]
    np.testing.assert_allclose(nose_and_chin.mean_face.numpy()[0], expected, rtol=1e-5)
