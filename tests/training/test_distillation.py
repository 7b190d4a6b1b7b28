"""A teacher's answers as labels: who may build_distillation, what is taught, and that it reaches the loss."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.data.augment import Augmentation
from facekp.data.datamodule import FaceData, step_generator
from facekp.data.readers.competition import write_test
from facekp.data.readers.registry import read_table
from facekp.data.split import assign_folds, image_hashes, near_duplicate_groups
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import predict_points
from facekp.models.keypoint_model import KeypointModel
from facekp.training.distillation import build_distillation
from facekp.training.setup import train
from tests.conftest import TINY, config_of

QUIET = {"unlabelled": False, "drop": None, "weight": 1.0, "seen": False}


@pytest.fixture(scope="module")
def school(tiny_run, scheme):
    """The data that trained `tiny_run`, its folds, and its checkpoint."""
    config = config_of(*TINY)
    table = read_table(config["data"], scheme)
    fold_of = assign_folds(near_duplicate_groups(table.images), table.source, 5, 0)
    return table, fold_of, tiny_run / "checkpoints" / "best.ckpt", config["data"]


def test_every_image_is_answered_by_every_source_s_convention(school, scheme):
    table, fold_of, ckpt, data = school
    lesson = build_distillation(table, fold_of, 0, {"ckpt": str(ckpt), **QUIET}, data)
    assert lesson.answers.shape == (60, 2, 15, 2)
    assert not np.isnan(lesson.answers[:, 0]).any()
    assert (~np.isnan(lesson.answers[0, 1, :, 0])).tolist() == scheme.labels_of("sparse").tolist()
    as_sparse, _ = predict_points([load_checkpoint(ckpt)], replace(table, source=np.ones_like(table.source)))
    taught = ~np.isnan(lesson.answers[:, 1])
    np.testing.assert_array_equal(lesson.answers[:, 1][taught], as_sparse[taught])
    np.testing.assert_array_equal(lesson.table.points, table.points)


def test_labels_far_from_the_answer_are_left_out_of_training_only(school):
    table, fold_of, ckpt, data = school
    lesson = build_distillation(table, fold_of, 0, {"ckpt": str(ckpt), **QUIET, "drop": 6.0}, data)
    own = lesson.answers[np.arange(60), table.source]
    far = np.linalg.norm(table.points - own, axis=-1) > 6
    held_out = fold_of == 0
    assert far[held_out].any()
    assert far[~held_out].any()
    np.testing.assert_array_equal(lesson.table.points[held_out], table.points[held_out])
    np.testing.assert_array_equal(lesson.table.mask[~held_out], (table.mask & ~far)[~held_out])


def test_unlabelled_images_join_training_and_never_validation(school, tmp_path, scheme):
    table, fold_of, ckpt, _ = school
    more = replace(draw_faces(7, 5, scheme), row=np.arange(7))
    write_test(tmp_path, more, more.mask)
    data = config_of("data=kaggle", f"data.dir={tmp_path}", "data.cache=null")["data"]
    lesson = build_distillation(table, fold_of, 0, {"ckpt": str(ckpt), **QUIET, "unlabelled": True}, data)
    assert len(lesson.table) == 67
    assert not lesson.table.mask[60:].any()
    assert not np.isnan(lesson.answers[60:, 0]).any()
    faces = FaceData(
        lesson.table, lesson.fold_of, 0, "full", 8, Augmentation.from_dict(config_of()["augment"]), 0, lesson.answers
    )
    assert set(range(60, 67)) <= set(faces.train_rows)
    assert (faces.val_rows < 60).all()


@pytest.mark.parametrize("what", ["teacher.unlabelled=true", "teacher.drop=12"])
def test_complete_rows_alone_leave_nothing_for_a_teacher_to_add_or_thin_out(school, tmp_path, what):
    taught = ["teacher=self", f"teacher.ckpt={school[2]}", "teacher.unlabelled=false", what, "subset=complete"]
    with pytest.raises(UserError, match=r"subset=complete: trains on no row with a gap"):
        train(config_of(*TINY, *taught), tmp_path / "run")


def test_whoever_saw_the_validation_rows_may_not_teach(school, seed_weights):
    table, fold_of, ckpt, data = school
    with pytest.raises(UserError, match=r"validation images trained it; .*data\.fold=1"):
        build_distillation(table, fold_of, 1, {"ckpt": str(ckpt), **QUIET}, data)
    with pytest.raises(UserError, match="doesn't tell which images trained it"):
        build_distillation(table, fold_of, 0, {"ckpt": [str(ckpt), str(seed_weights)], **QUIET}, data)
    with pytest.raises(UserError, match=r"teacher\.unlabelled=true: data=synthetic has no test images"):
        build_distillation(table, fold_of, 0, {"ckpt": str(ckpt), **QUIET, "unlabelled": True}, data)


def test_a_run_whose_scores_need_not_count_may_be_taught_by_anyone(school, caplog):
    table, fold_of, ckpt, data = school
    lesson = build_distillation(table, fold_of, 1, {"ckpt": str(ckpt), **QUIET, "seen": True}, data)
    assert np.isin(image_hashes(table.images)[fold_of == 1], lesson.trained_on).all()
    assert "this run's scores say nothing about new faces" in caplog.text


def test_taught_points_move_with_the_image_as_labels_do(faces):
    augmentation = Augmentation.from_dict(config_of("augment=affine")["augment"])
    twice = np.stack([faces.points, faces.points], axis=1)
    data = FaceData(faces, np.arange(80) % 5, 0, "full", 8, augmentation, 0, twice)
    batch = data.assemble(torch.arange(12), step_generator(0, 3, 0))
    for s in range(2):
        torch.testing.assert_close(batch["taught"][:, s], batch["points"], equal_nan=True)
    assert "taught" not in data.assemble(torch.arange(12), None)


def test_a_mirror_image_has_its_labels_off_to_the_same_side(faces, scheme):
    mirror = Augmentation.from_dict(config_of("augment=none", "augment.flip=1")["augment"])
    taught = np.stack([faces.points + 1, faces.points + 2], axis=1)
    data = FaceData(faces, np.arange(80) % 5, 0, "full", 8, mirror, 0, taught, {"dense": 0.5, "sparse": 1.5})
    rows = torch.arange(40)
    batch = data.assemble(rows, step_generator(0, 0, 0))
    order = scheme.flip_order()
    own, other = (torch.from_numpy(array[:40]) for array in (faces.points, taught))
    offset = torch.from_numpy(scheme.offsets({"dense": 0.5, "sparse": 1.5}))[..., 0]
    for found, label, right in (
        (batch["points"], own, offset[batch["source"]]),
        (batch["taught"][:, 0], other[:, 0], offset[0]),
        (batch["taught"][:, 1], other[:, 1], offset[1]),
    ):
        torch.testing.assert_close(found[..., 0], (95 - (label[..., 0] - right)[:, order]) + right, equal_nan=True)
        torch.testing.assert_close(found[..., 1], label[:, order, 1], equal_nan=True)
    assert torch.equal(data.assemble(rows, None)["points"].nan_to_num(), own.nan_to_num())


def test_every_channel_gets_its_source_s_point(scheme):
    config = config_of(*TINY)
    detector = KeypointModel(scheme, (96, 96), config["model"], "softmax", config["decoder"])
    points = torch.arange(2 * 15 * 2.0).view(1, 2, 15, 2)
    points[:, 1, ~torch.from_numpy(scheme.labels_of("sparse"))] = torch.nan
    spread = detector.spread_all(points)
    assert torch.equal(spread[0, :15], points[0, 0])
    assert torch.equal(spread[0, 15:], points[0, 1][~points[0, 1, :, 0].isnan()])


def test_a_student_learns_from_its_teacher_and_tells_who_trained_both(tiny_run, tmp_path):
    ckpt = tiny_run / "checkpoints" / "best.ckpt"
    settings = [*TINY, "trainer.max_epochs=1", "teacher=self", f"teacher.ckpt={ckpt}", "teacher.unlabelled=false"]
    taught = train(config_of(*settings), tmp_path / "taught")
    alone = train(config_of(*settings, "teacher.weight=0"), tmp_path / "alone")
    elsewhere = train(config_of(*settings, "data.fold=1", "teacher.seen=true"), tmp_path / "elsewhere")
    assert taught["rmse"] != alone["rmse"]
    teacher, student = load_checkpoint(ckpt), load_checkpoint(elsewhere["checkpoint"])
    assert set(teacher.trained_on) <= set(student.trained_on)  # fold 1 too, which trained the teacher alone
    assert json.loads((tmp_path / "taught" / "metrics.json").read_text())["mean_face"] == taught["mean_face"]
