"""`KeypointPredictor`: arrays or tensors in, the same out; what is not a crop of grey levels is refused."""

import copy
import pickle
import runpy
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
import torch

import facekp
from facekp import KeypointPredictor
from facekp.core.crop import Crop
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.ensemble import load_models, predict_table
from facekp.models.keypoint_model import KeypointModel
from tests.conftest import TINY, settings_of


@pytest.fixture(scope="module")
def predictor(ckpt):
    return KeypointPredictor.from_checkpoint(ckpt, batch_size=7)


def test_it_predicts_as_evaluate_and_submit_do(predictor, ckpt, faces):
    expected, sure, *_ = predict_table([load_checkpoint(ckpt)], faces)
    for source, name in enumerate(predictor.source_names):
        rows = faces.source == source
        points, confidence = predictor(faces.images[rows], source=name)
        np.testing.assert_allclose(points, expected[rows], atol=1e-3)
        np.testing.assert_allclose(confidence, sure[rows], atol=1e-5)
    assert predictor.size == (96, 96)
    assert predictor.keypoints == faces.keypoints


def test_arrays_and_tensors_of_every_shape_and_type_give_the_same(predictor, faces):
    images = faces.images[:3]
    points, confidence = predictor(images)
    assert points.shape == (3, 15, 2)
    assert confidence.shape == (3, 15)
    assert points.dtype == confidence.dtype == np.float32
    for same in (images[:, None], images.astype(np.float64), images.astype(np.int32), images.astype(">u2")):
        np.testing.assert_allclose(predictor(same)[0], points, atol=1e-4)
    found, _ = predictor(torch.from_numpy(images))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), points, atol=1e-4)
    single, sure = predictor(images[1])
    assert single.shape == (15, 2)
    assert sure.shape == (15,)
    np.testing.assert_allclose(single, points[1], atol=1e-3)
    assert predictor(images[:0])[0].shape == (0, 15, 2)
    prediction = predictor.predict(images)
    np.testing.assert_array_equal(prediction.points, points)
    assert prediction.deviation.shape == (3, 15)
    assert prediction.expected_error is None  # the checkpoint is not calibrated


def test_answers_is_the_deprecated_name_of_predict(predictor, faces):
    with pytest.warns(DeprecationWarning, match="predict"):
        former = predictor.answers(faces.images[:2])
    np.testing.assert_array_equal(former.points, predictor.predict(faces.images[:2]).points)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1]], "a list"),
        (np.zeros((2, 0, 96)), r"\(2, 0, 96\)"),
        (np.zeros((2, 3, 96, 96)), "grey crops"),
        (np.zeros(96), r"\(96,\)"),
        (np.full((1, 96, 96), np.nan), "NaN"),
        (np.full((1, 96, 96), 256), "16-bit"),
        (np.full((1, 96, 96), -1), "outside"),
        (np.full((1, 96, 96), "a"), "numbers"),
        (np.full((2, 96, 96), 0.5), r"the highest grey level is 0\.5; give levels 0..255: multiply images by 255"),
        (np.ones((96, 96), np.float32), "multiply images by 255"),
        (np.ones((96, 96), bool), "multiply images by 255"),
        (torch.rand(1, 1, 96, 96), "multiply images by 255"),
    ],
)
def test_what_is_not_a_grey_crop_is_refused(predictor, images, message):
    with pytest.raises(ValueError, match=message):
        predictor(images)


def test_integers_of_0_and_1_are_dark_images(predictor):
    assert np.isfinite(predictor(np.ones((1, 96, 96), np.uint8))[0]).all()


@pytest.mark.parametrize(("height", "width"), [(192, 192), (48, 48), (144, 192)])
def test_images_of_another_size_are_resized_and_get_points_in_their_pixels(ckpt, faces, height, width, caplog):
    predictor = KeypointPredictor.from_checkpoint(ckpt)
    crops = faces.images[:3]
    images = np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in crops])
    prediction = predictor.predict(images)
    predictor.predict(images)
    again = np.stack([Crop(0, 0, width, height, (96, 96)).cut(image) for image in images])
    expected = predictor.predict(again)
    scale = np.array([width / 96, height / 96])
    np.testing.assert_allclose(prediction.points, (expected.points + 0.5) * scale - 0.5, atol=1e-3)
    np.testing.assert_allclose(prediction.deviation, expected.deviation * scale.mean(), rtol=1e-4)
    assert caplog.messages == [
        f"images of {width} x {height} pixels are resized to 96 x 96; points are in pixels of the images given"
    ]
    tensors, _ = predictor(torch.from_numpy(images)[:, None].float())
    np.testing.assert_allclose(tensors.numpy(), prediction.points, atol=1e-3)
    assert predictor(images[0])[0].shape == (15, 2)
    assert predictor(images[:0])[0].shape == (0, 15, 2)
    assert predictor.heatmaps(images).shape == (3, 15, 24, 24)


def test_an_unknown_source_is_refused_with_the_choices(predictor, ckpt, faces):
    with pytest.raises(UserError, match="dense, sparse"):
        predictor(faces.images[:1], source="other")
    with pytest.raises(UserError, match="dense, sparse"):
        KeypointPredictor.from_checkpoint(ckpt, source="other")


def test_heatmaps_are_those_of_the_source_asked_for(predictor, faces):
    images = torch.from_numpy(faces.images[:2])
    model = predictor.models[0].model
    with torch.inference_mode():
        every = model.heatmaps(images[:, None])
    torch.testing.assert_close(predictor.heatmaps(images, "sparse"), every[:, model.channels[1]])
    assert predictor.heatmaps(faces.images[0]).shape == (15, 24, 24)


def test_several_checkpoints_predict_their_mean(ckpt, predictor, faces):
    both = KeypointPredictor.from_checkpoint([ckpt, "shipped"])
    shipped = KeypointPredictor.from_checkpoint()
    mean = (predictor(faces.images[:2])[0] + shipped(faces.images[:2])[0]) / 2
    np.testing.assert_allclose(both(faces.images[:2])[0], mean, atol=1e-3)
    with pytest.raises(UserError, match="load one"):
        both.heatmaps(faces.images[:1])
    with pytest.raises(UserError, match="empty"):
        KeypointPredictor.from_checkpoint([])


def test_a_decoder_given_replaces_the_checkpoint_s(ckpt, predictor, faces):
    plain = KeypointPredictor.from_checkpoint(ckpt, decoder={"rule": "argmax"})
    assert plain.models[0].model.decoder.rule == "argmax"
    assert (plain(faces.images[:4])[0] != predictor(faces.images[:4])[0]).any()
    with pytest.raises(UserError, match="did you mean flip"):
        KeypointPredictor.from_checkpoint(ckpt, decoder={"filp": True})


def test_one_view_is_the_default_and_all_views_are_those_of_evaluate(faces):
    few = faces.take(np.flatnonzero(faces.source == 0)[:4])
    one, every = (KeypointPredictor.from_checkpoint(views=views).predict(few.images) for views in ("one", "all"))
    np.testing.assert_array_equal(one.points, KeypointPredictor.from_checkpoint().predict(few.images).points)
    for views, prediction in (("one", one), ("all", every)):
        expected = predict_table(load_models("shipped", views=views), few)
        np.testing.assert_allclose(prediction.points, expected.points, atol=1e-4)
    assert 0.01 < np.abs(one.points - every.points).mean() < 0.5
    given = KeypointPredictor.from_checkpoint(decoder={"shift": 1.5, "scale": 0.06})
    np.testing.assert_allclose(given.predict(few.images).points, every.points, atol=1e-4)


def test_the_shipped_checkpoint_finds_drawn_faces_and_knows_how_well(faces):
    dense = faces.take(np.flatnonzero(faces.mask.all(axis=1))[:8])
    found = KeypointPredictor.from_checkpoint().predict(dense.images)
    error = np.linalg.norm(found.points - dense.points, axis=-1)
    assert np.median(error) < 4  # it never saw a drawn one; the middle of the image is off by 25 px
    assert found.expected_error.shape == (8, 15)
    assert (found.expected_error > 0.2).all()


def test_importing_the_package_is_cheap():
    code = (
        "import sys, facekp; assert set(facekp.__all__) < set(dir(facekp))\n"
        "facekp.UserError; assert 'torch' not in sys.modules; assert 'cv2' not in sys.modules\n"
        "facekp.KeypointPredictor, facekp.find_points; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        facekp.nothing  # noqa: B018


def test_type_checkers_see_the_package_s_names_and_no_others(monkeypatch):
    monkeypatch.setattr("typing.TYPE_CHECKING", True)
    seen = runpy.run_path(facekp.__file__)
    assert "__getattr__" not in seen
    assert {name: seen[name] for name in facekp.__all__} == {name: getattr(facekp, name) for name in facekp.__all__}


@pytest.mark.parametrize(
    ("batch_size", "path", "message"),
    [
        (0, "shipped", "batch_size=0: must be a whole number from 1"),
        (2.5, "shipped", "batch_size=2.5: must be a whole number"),
        (True, "shipped", "batch_size=True: must be a whole number"),
        (None, None, "path=None"),
        (None, "shiped", "shiped: does not exist; .* did you mean shipped?"),
    ],
)
def test_arguments_that_can_t_be_meant_are_refused(batch_size, path, message):
    with pytest.raises(UserError, match=message):
        KeypointPredictor.from_checkpoint(path, batch_size=batch_size)


def test_a_copied_or_pickled_predictor_is_loaded_again(ckpt, faces, monkeypatch, tmp_path):
    monkeypatch.chdir(ckpt.parent)
    predictor = KeypointPredictor.from_checkpoint(ckpt.name, "sparse", batch_size=3, decoder={"flip": False})
    monkeypatch.chdir(tmp_path)
    expected, _ = predictor(faces.images[:4])
    for copied in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        assert copied.batch_size == 3
        np.testing.assert_array_equal(copied(faces.images[:4])[0], expected)
    made_directly = KeypointPredictor(predictor.models, None, "cpu", None)
    with pytest.raises(UserError, match="from_checkpoint"):
        pickle.dumps(made_directly)


def test_a_forked_process_predicts_with_one_thread(predictor, faces):
    def predict():
        predictor(faces.images)
        assert torch.get_num_threads() == 1

    torch.set_num_threads(2)
    try:
        predictor(faces.images)
        process = get_context("fork").Process(target=predict)
        process.start()
        process.join(60)
        assert process.exitcode == 0  # None: it waits for threads of this process
    finally:
        torch.set_num_threads(1)
        process.kill()


def test_torch_s_default_type_and_random_state_have_no_effect_and_stay(predictor, ckpt, faces):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        prediction = KeypointPredictor.from_checkpoint(ckpt).predict(faces.images[:2])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert prediction.points.dtype == np.float32
    np.testing.assert_allclose(prediction.points, predictor(faces.images[:2])[0], atol=1e-4)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_caller_s_device_and_mixed_precision_have_no_effect(ckpt, faces):
    images = faces.images[:2]
    plain = KeypointPredictor.from_checkpoint(ckpt, device="cpu", engine="torch")
    points, heatmaps = plain(images)[0], plain.heatmaps(images)
    with torch.device("meta"):  # as torch.set_default_device
        made = KeypointPredictor.from_checkpoint(ckpt, device="cpu", engine="torch", batch_size=np.int64(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(made(images)[0], points, atol=1e-3)
        np.testing.assert_allclose(made.heatmaps(images), heatmaps, atol=1e-5)


def test_predicted_tensors_can_be_changed_and_used_with_autograd(predictor, faces):
    images = torch.from_numpy(faces.images[:2])
    points = predictor.predict(images).points.requires_grad_()
    points.square().sum().backward()
    assert torch.equal(points.grad, 2 * points)
    predictor.heatmaps(images).add_(1)


def test_an_exported_file_with_more_views_than_asked_for_is_reported(of_all, small, caplog):
    for path, views in ((of_all[0], "all"), (small[0], "one")):
        KeypointPredictor.from_checkpoint(path, views=views)
    assert "views" not in caplog.text
    KeypointPredictor.from_checkpoint(of_all[0])
    assert f"{of_all[0]}: predicts on 3 views, with which it was exported" in caplog.text


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"size": (64, 64)}, r"last\.ckpt: takes 64 x 64 images, but first\.ckpt takes 96 x 96 ones"),
        (
            {"keypoints": Keypoints.from_dict({"name": "x", "names": ["a", "b"]})},
            r"last\.ckpt: has other keypoints than first\.ckpt",
        ),
    ],
)
def test_files_with_other_points_or_another_image_size_are_not_averaged(ckpt, scheme, other, message, monkeypatch):
    settings = settings_of(*TINY)

    def loaded(path, keypoints=scheme, size=(96, 96)):
        model = KeypointModel(keypoints, size, settings.model, "softmax", settings.decoder)
        return LoadedCheckpoint(path, model.eval(), None, {})

    same, last = (loaded(name, **changed) for name, changed in (("same.ckpt", {}), ("last.ckpt", other)))
    monkeypatch.setattr("facekp.models.predictor.load_models", lambda *_: [loaded("first.ckpt"), same, last])
    with pytest.raises(UserError, match=message):
        KeypointPredictor.from_checkpoint([ckpt, ckpt, ckpt])


def test_files_whose_schemes_differ_in_lines_and_normaliser_only_are_averaged(ckpt, monkeypatch):
    first, second = load_models([ckpt, ckpt])
    second.model.keypoints = replace(second.model.keypoints, name="mine", lines=(), normaliser=None)
    monkeypatch.setattr("facekp.models.predictor.load_models", lambda *_: [first, second])
    assert KeypointPredictor.from_checkpoint([ckpt, ckpt]).keypoints == first.model.keypoints


def test_a_copied_predictor_has_the_views_and_the_engine_that_were_asked_for(monkeypatch):
    engines = []
    monkeypatch.setattr("facekp.models.predictor.Runner", lambda loaded, device, engine: engines.append(engine))
    predictor = KeypointPredictor.from_checkpoint(views="all", engine="torch")
    copied = copy.deepcopy(predictor)
    assert copied.models[0].model.decoder == predictor.models[0].model.decoder
    assert copied.models[0].model.decoder.shift > 0
    assert engines == ["torch", "torch"]


def test_the_mean_face_and_the_heatmaps_are_those_of_the_predictor_s_source(faces):
    of_sparse = KeypointPredictor.from_checkpoint(source="sparse")
    model = of_sparse.models[0].model
    dense, sparse = model.mean_face.numpy()
    assert (dense != sparse).any()
    np.testing.assert_array_equal(of_sparse.mean_face, sparse)
    assert of_sparse.is_mean_face(np.stack([sparse, sparse + 1])).tolist() == [[True] * 15, [False] * 15]
    images = faces.images[:2]
    np.testing.assert_array_equal(of_sparse.heatmaps(images), of_sparse.heatmaps(images, "sparse"))


def test_only_one_checkpoint_has_heatmaps(predictor, ckpt, small):
    assert predictor.has_heatmaps
    assert not KeypointPredictor.from_checkpoint([ckpt, ckpt]).has_heatmaps
    assert not KeypointPredictor.from_checkpoint(small[0]).has_heatmaps


def test_levels_between_whole_numbers_are_rounded_where_images_are_resized(predictor):
    levels = np.random.default_rng(0).integers(1, 255, (1, 48, 48)).astype(np.float32)
    expected = predictor(levels)[0]
    for change in (-0.4, 0.4):
        np.testing.assert_array_equal(predictor(levels + np.float32(change))[0], expected)
