"""Distillation: which teachers are allowed, what they predict, and that it reaches the loss."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.data.competition import write_test
from facekp.data.datamodule import FaceData, step_generator
from facekp.data.near_duplicates import image_hashes, near_duplicate_groups
from facekp.data.readers.read import read_table
from facekp.data.split import assign_folds
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import predict_table
from facekp.models.keypoint_model import KeypointModel
from facekp.training.distillation import build_distillation
from facekp.training.settings import TeacherSettings
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


def teacher(ckpt, **changed):
    values = {"ckpt": ckpt, "weight": 1.0, "unlabelled": False, "drop": None, "seen": False}
    return TeacherSettings(**{**values, **changed})


@pytest.fixture(scope="module")
def trained(tiny_run, scheme):
    """The data that trained `tiny_run`, their folds, the checkpoint, and the settings of the data."""
    data = settings_of(*TINY).data
    table = read_table(data, scheme)
    fold_of = assign_folds(near_duplicate_groups(table.images), table.source, 5, 0)
    return table, fold_of, str(tiny_run / "checkpoints" / "best.ckpt"), data


def test_every_image_is_predicted_by_every_source_s_convention(trained, scheme):
    table, fold_of, ckpt, data = trained
    built = build_distillation(table, fold_of, teacher(ckpt), data)
    assert built.teacher_points.shape == (60, 2, 15, 2)
    assert not np.isnan(built.teacher_points[:, 0]).any()
    assert (~np.isnan(built.teacher_points[0, 1, :, 0])).tolist() == scheme.labels_of("sparse").tolist()
    as_sparse = predict_table([load_checkpoint(ckpt)], replace(table, source=np.ones_like(table.source))).points
    known = ~np.isnan(built.teacher_points[:, 1])
    np.testing.assert_array_equal(built.teacher_points[:, 1][known], as_sparse[known])
    np.testing.assert_array_equal(built.table.points, table.points)


def test_several_teachers_give_their_mean_and_count_all_their_training_images(trained, tmp_path):
    table, fold_of, ckpt, data = trained
    raw = torch.load(ckpt, weights_only=True)
    weights = {name: value * 1.05 if value.ndim == 4 else value for name, value in raw["state_dict"].items()}
    entry = {**raw["facekp"], "trained_on": torch.tensor([11, 12])}
    torch.save({**raw, "state_dict": weights, "facekp": entry}, tmp_path / "other.ckpt")
    paths = [ckpt, str(tmp_path / "other.ckpt")]
    built = build_distillation(table, fold_of, teacher(paths), data)
    dense = replace(table, source=np.zeros_like(table.source))
    first, second = (predict_table([load_checkpoint(path)], dense).points for path in paths)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(built.teacher_points[:, 0], (first + second) / 2, atol=1e-4)
    assert set(built.trained_on) == {*load_checkpoint(ckpt).trained_on.tolist(), 11, 12}


def test_labels_far_from_the_prediction_are_left_out_of_training_only(trained):
    table, fold_of, ckpt, data = trained
    built = build_distillation(table, fold_of, teacher(ckpt, drop=6.0), data)
    predicted = built.teacher_points[np.arange(60), table.source]
    far = np.linalg.norm(table.points - predicted, axis=-1) > 6
    held_out = fold_of == 0
    assert far[held_out].any()
    assert far[~held_out].any()
    np.testing.assert_array_equal(built.table.points[held_out], table.points[held_out])
    np.testing.assert_array_equal(built.table.mask[~held_out], (table.mask & ~far)[~held_out])


def test_unlabelled_images_join_training_and_never_validation(trained, tmp_path, scheme):
    table, fold_of, ckpt, _ = trained
    of_validation = table.take(np.flatnonzero(fold_of == 0)[:1])
    more = replace(draw_faces(7, 5, scheme).joined(of_validation), row=np.arange(8))
    write_test(tmp_path, more, more.mask)
    settings = settings_of("data=kaggle", f"data.dir={tmp_path}", "data.cache=null")
    built = build_distillation(table, fold_of, teacher(ckpt, unlabelled=True), settings.data)
    assert len(built.table) == 67  # without the copy of a validation image
    assert not built.table.mask[60:].any()
    assert not np.isnan(built.teacher_points[60:, 0]).any()
    faces = FaceData(built.table, built.fold_of, 0, "full", 8, settings.augment, 0, built.teacher_points)
    assert set(range(60, 67)) <= set(faces.train_rows)
    assert (faces.val_rows < 60).all()


def test_a_teacher_that_saw_the_validation_rows_is_refused(trained, seed_weights):
    table, fold_of, ckpt, data = trained
    other_fold = data.replaced(fold=1)
    with pytest.raises(UserError, match=r"validation images are among its training images; .*data\.fold=1"):
        build_distillation(table, fold_of, teacher(ckpt), other_fold)
    with pytest.raises(UserError, match="doesn't state its training images"):
        build_distillation(table, fold_of, teacher([ckpt, str(seed_weights)]), data)


def test_data_without_test_images_have_no_unlabelled_rows(trained):
    table, fold_of, ckpt, data = trained
    with pytest.raises(UserError, match=r"data=synthetic: has no test images .*; set teacher\.unlabelled=false"):
        build_distillation(table, fold_of, teacher(ckpt, unlabelled=True), data)


def test_a_teacher_that_saw_the_validation_rows_may_be_allowed(trained, caplog):
    table, fold_of, ckpt, data = trained
    built = build_distillation(table, fold_of, teacher(ckpt, seen=True), data.replaced(fold=1))
    assert np.isin(image_hashes(table.images)[fold_of == 1], built.trained_on).all()
    assert "this run's scores say nothing about new faces" in caplog.text


def test_a_teacher_s_points_move_with_the_image_as_labels_do(faces):
    twice = np.stack([faces.points, faces.points], axis=1)
    data = FaceData(faces, np.arange(80) % 5, 0, "full", 8, settings_of("augment=affine").augment, 0, twice)
    batch = data.assemble(torch.arange(12), step_generator(0, 3, 0))
    for s in range(2):
        torch.testing.assert_close(batch["teacher_points"][:, s], batch["points"], equal_nan=True)
    assert "teacher_points" not in data.assemble(torch.arange(12), None)


def test_a_mirror_image_has_its_labels_off_to_the_same_side(faces, scheme):
    mirror = settings_of("augment=none", "augment.flip=1").augment
    predicted = np.stack([faces.points + 1, faces.points + 2], axis=1)
    data = FaceData(faces, np.arange(80) % 5, 0, "full", 8, mirror, 0, predicted, {"dense": 0.5, "sparse": 1.5})
    rows = torch.arange(40)
    batch = data.assemble(rows, step_generator(0, 0, 0))
    order = scheme.flip_order()
    labels, others = (torch.from_numpy(array[:40]) for array in (faces.points, predicted))
    offset = torch.from_numpy(scheme.offsets({"dense": 0.5, "sparse": 1.5}))[..., 0]
    for moved, label, right in (
        (batch["points"], labels, offset[batch["source"]]),
        (batch["teacher_points"][:, 0], others[:, 0], offset[0]),
        (batch["teacher_points"][:, 1], others[:, 1], offset[1]),
    ):
        torch.testing.assert_close(moved[..., 0], (95 - (label[..., 0] - right)[:, order]) + right, equal_nan=True)
        torch.testing.assert_close(moved[..., 1], label[:, order, 1], equal_nan=True)
    assert torch.equal(data.assemble(rows, None)["points"].nan_to_num(), labels.nan_to_num())


def test_every_channel_gets_its_source_s_point(scheme):
    settings = settings_of(*TINY)
    model = KeypointModel(scheme, (96, 96), settings.model, "softmax", settings.decoder)
    points = torch.arange(2 * 15 * 2.0).view(1, 2, 15, 2)
    points[:, 1, ~torch.from_numpy(scheme.labels_of("sparse"))] = torch.nan
    spread = model.all_labels_by_channel(points)
    assert torch.equal(spread[0, :15], points[0, 0])
    assert torch.equal(spread[0, 15:], points[0, 1][~points[0, 1, :, 0].isnan()])


def test_a_student_learns_from_its_teacher_and_records_who_trained_both(tiny_run, tmp_path):
    ckpt = tiny_run / "checkpoints" / "best.ckpt"
    overrides = [*TINY, "trainer.max_epochs=1", "teacher=self", f"teacher.ckpt={ckpt}", "teacher.unlabelled=false"]
    student = train(settings_of(*overrides), tmp_path / "student")
    alone = train(settings_of(*overrides, "teacher.weight=0"), tmp_path / "alone")
    elsewhere = train(settings_of(*overrides, "data.fold=1", "teacher.seen=true"), tmp_path / "elsewhere")
    assert student["rmse"] != alone["rmse"]
    first, second = load_checkpoint(ckpt), load_checkpoint(elsewhere["checkpoint"])
    assert set(first.trained_on) <= set(second.trained_on)  # also fold 1, which trained the teacher alone
    assert json.loads((tmp_path / "student" / "metrics.json").read_text())["mean_face"] == student["mean_face"]
