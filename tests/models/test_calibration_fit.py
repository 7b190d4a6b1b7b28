"""Fitting a calibration: the curve is monotone and right on faces that it was not fitted on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.corruptions import CorruptionSettings
from facekp.models import calibration_fit
from facekp.models.calibration import Calibration
from facekp.models.calibration_fit import (
    calibrate,
    calibrate_decoders,
    calibrated_decoders,
    fit_curve,
    increasing,
    load_twin,
    reliability,
    write_calibrations,
)
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint
from facekp.models.keypoint_model import KeypointModel
from facekp.models.packing import pack
from facekp.models.settings import DecoderOverride
from tests.conftest import TINY, config_of, settings_of

VALUES = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 100))


@given(VALUES)
def test_the_increasing_sequence_is_scipy_s_isotonic_regression(values):
    from scipy.optimize import isotonic_regression

    np.testing.assert_allclose(increasing(values), isotonic_regression(values).x, atol=1e-9)


def made_up(rows, seed):
    """Deviations, and errors of which source 1 has twice those of source 0: Rayleigh, of mean 0.5 + deviation / 4."""
    random = np.random.default_rng(seed)
    source = (np.arange(rows) % 2).astype(np.int8)
    deviation = random.uniform(1, 9, (rows, 4)).astype(np.float32)
    mean = (0.5 + deviation / 4) * (1 + source[:, None])
    error = random.rayleigh(mean / np.sqrt(np.pi / 2)).astype(np.float32)
    error[random.random(error.shape) < 0.2] = np.nan
    error[0, 0] = 80  # a wrong label
    return deviation, error, source, mean


def test_the_curve_finds_the_expected_error_despite_a_wrong_label():
    deviation, error, source, _ = made_up(3000, 0)
    fitted = Calibration({}, *fit_curve(deviation, error, source, 2), {})
    new, measured, other, mean = made_up(3000, 1)
    expected = fitted.expected(torch.from_numpy(new), torch.from_numpy(other).long()).numpy()
    np.testing.assert_allclose(expected, mean, rtol=0.12)
    figures = reliability(expected, measured)
    np.testing.assert_allclose(figures["measured"], figures["expected"], rtol=0.1)
    assert figures["expected"] == sorted(figures["expected"])
    assert figures["points"] == (~np.isnan(measured)).sum()


def test_a_source_of_larger_errors_and_wider_maps_does_not_bend_the_curve_of_the_other():
    random = np.random.default_rng(0)
    source = (np.arange(6000) % 2).astype(np.int8)
    deviation = random.uniform(1, 6, (6000, 4)).astype(np.float32) + 3 * source[:, None]  # both have some from 4 to 6
    mean = (0.5 + deviation / 4) * (1 + 2 * source[:, None])
    error = random.rayleigh(mean / np.sqrt(np.pi / 2)).astype(np.float32)
    fitted = Calibration({}, *fit_curve(deviation, error, source, 2), {})
    expected = fitted.expected(torch.from_numpy(deviation), torch.from_numpy(source).long()).numpy()
    np.testing.assert_allclose(expected, mean, rtol=0.16)


def test_maps_of_one_width_get_the_mean_error_as_their_expected_error():
    _, error, source, _ = made_up(200, 0)
    source[:] = 0
    width = np.random.default_rng(2).uniform(3 - 1e-6, 3 + 1e-6, error.shape).astype(np.float32)  # but for rounding
    knots, curve, _ = fit_curve(width, error, source, 1)
    assert len(knots) == 1
    assert curve[0] == pytest.approx(np.nanmean(np.sort(error[~np.isnan(error)])[: -error.size // 100]), rel=0.02)


def test_points_that_a_source_never_labels_are_the_first_source_s():
    deviation, error, source, _ = made_up(2000, 0)
    error[source == 1, 2:] = np.nan
    factor = np.array(fit_curve(deviation, error, source, 2)[2])
    np.testing.assert_array_equal(factor[1, 2:], factor[0, 2:])
    assert factor[1, 0] > 1.5 * factor[0, 0]


def test_too_few_points_are_refused():
    deviation, error, source, _ = made_up(8, 0)
    with pytest.raises(UserError, match="at least 50"):
        fit_curve(deviation, error, source, 2)
    with pytest.raises(UserError, match="only 3 labelled points to check on"):
        reliability(np.ones((1, 3)), np.ones((1, 3)))


def test_faces_fitted_on_are_not_those_checked_on(ckpt, faces, monkeypatch):
    loaded = load_checkpoint(ckpt)
    checked, fitted_on = [], []
    monkeypatch.setattr(calibration_fit, "fit_curve", lambda *a: fitted_on.append(a[1]) or fit_curve(*a))
    monkeypatch.setattr(calibration_fit, "reliability", lambda *a: checked.append(a[1]) or reliability(*a))
    first = faces.take(np.arange(40))
    twice = replace(
        first,
        images=np.tile(first.images, (2, 1, 1)),
        points=np.tile(first.points, (2, 1, 1)),
        source=np.tile(first.source, 2),
        row=np.arange(80),
    )
    fitted = calibrate(loaded, twice, seed=0)
    both = {tuple(row) for row in np.nan_to_num(fitted_on[0])} & {tuple(row) for row in np.nan_to_num(checked[0])}
    assert not both  # copies stay together
    assert len(fitted_on[0]) == len(checked[0]) == 40
    assert fitted.decoder == loaded.model.decoder.plain()


def test_corrupted_faces_are_fitted_on_and_checked_on_beside_their_originals(ckpt, faces, monkeypatch):
    loaded, fitted_on = load_checkpoint(ckpt), []
    monkeypatch.setattr(calibration_fit, "fit_curve", lambda *a: fitted_on.append(a) or fit_curve(*a))
    clean = calibrate(loaded, faces, seed=0)
    corruptions = parse(CorruptionSettings, config_of("ckpt=a", "out=b", name="calibrate")["corruptions"])
    both = calibrate(loaded, faces, 0, corruptions)
    (deviation, error, source, _), (more_deviation, more_error, more_source, _) = fitted_on
    half = len(error)
    assert len(more_error) == 4 * half
    np.testing.assert_array_equal(more_deviation[:half], deviation)
    np.testing.assert_array_equal(more_error[:half], error)
    np.testing.assert_array_equal(more_source[half:], source.repeat(3))  # three corruptions of the same faces
    assert both.reliability["points"] == clean.reliability["points"]
    assert both.reliability["measured"] != clean.reliability["measured"]  # sorted by another curve
    assert "corrupted" not in clean.reliability
    assert 2 * clean.reliability["points"] < both.reliability["corrupted"]["points"] <= 3 * clean.reliability["points"]
    assert max(both.reliability["corrupted"]["measured"]) > max(clean.reliability["measured"])


def test_the_corruptions_of_faces_take_turns(ckpt, faces):
    corruptions = parse(CorruptionSettings, config_of("ckpt=a", "out=b", name="calibrate")["corruptions"])
    rows, table = calibration_fit._corrupted(load_checkpoint(ckpt), faces, corruptions)
    np.testing.assert_array_equal(rows, np.arange(len(faces)).repeat(3))
    np.testing.assert_array_equal(table.row, faces.row[rows])
    conditions = table.images.rows // len(faces)
    assert np.bincount(conditions, minlength=len(corruptions.conditions())).min() >= 3 * len(faces) // 37
    assert all(len(set(of_face)) == 3 for of_face in conditions.reshape(-1, 3))


def test_calibrations_are_written_into_a_copy_of_the_checkpoint(ckpt, seed_weights, tmp_path):
    fitted = load_checkpoint("shipped").model.calibrations
    write_calibrations(ckpt, tmp_path / "x.ckpt", fitted)
    assert load_checkpoint(tmp_path / "x.ckpt").model.calibrations == fitted
    assert load_checkpoint(ckpt).model.calibrations == []
    with pytest.raises(UserError, match="published system"):
        write_calibrations(seed_weights, tmp_path / "y.ckpt", fitted)


def test_calibrations_of_other_decoders_are_kept_and_those_of_the_same_replaced(ckpt, tmp_path):
    first, second, third = (Calibration({"rule": rule}, [1.0], [0.5], [[1.0] * 15] * 2, {}) for rule in "aba")
    write_calibrations(ckpt, tmp_path / "x.ckpt", [first, second])
    write_calibrations(tmp_path / "x.ckpt", tmp_path / "y.ckpt", [replace(third, error=[0.7])])
    assert load_checkpoint(tmp_path / "y.ckpt").model.calibrations == [replace(third, error=[0.7]), second]


def test_a_calibration_of_0_1_is_kept_beside_new_ones(ckpt, tmp_path):
    raw = torch.load(ckpt, weights_only=True)
    first, second = (Calibration({"rule": rule}, [1.0], [0.5], [[1.0] * 15] * 2, {}) for rule in "ab")
    del raw["facekp"]["calibrations"]
    torch.save({**raw, "facekp": {**raw["facekp"], "calibration": first.to_dict()}}, tmp_path / "x.ckpt")
    assert load_checkpoint(tmp_path / "x.ckpt").model.calibrations == [first]
    write_calibrations(tmp_path / "x.ckpt", tmp_path / "y.ckpt", [second])
    assert load_checkpoint(tmp_path / "y.ckpt").model.calibrations == [second, first]


def test_each_decoder_gets_the_calibration_of_its_own_heatmaps(ckpt, faces):
    loaded = load_checkpoint(ckpt)
    loaded.model.override_decoder(DecoderOverride(shift=2.0))
    given = loaded.model.decoder
    fitted = calibrate_decoders(loaded, faces, seed=0)
    assert [calibration.decoder for calibration in fitted] == [each.plain() for each in calibrated_decoders(given)]
    assert loaded.model.decoder == given
    alone = calibrate(loaded, faces, seed=0)
    assert next(each for each in fitted if each.decoder == given.plain()) == alone
    assert fitted[0].deviation != alone.deviation
    loaded.model.calibrations = fitted
    for decoder in calibrated_decoders(given):
        loaded.model.override_decoder(DecoderOverride(**decoder.plain()))
        assert loaded.model.valid_calibration().decoder == decoder.plain()
    loaded.model.override_decoder(DecoderOverride(rule="argmax"))
    assert loaded.model.valid_calibration() is None


def test_a_twin_with_another_decoder_is_refused(ckpt, tmp_path):
    pack(ckpt, tmp_path / "other.ckpt", decoder=DecoderOverride(rule="argmax"))
    loaded = load_checkpoint(ckpt)
    assert load_twin(loaded, str(ckpt)).path == ckpt
    with pytest.raises(UserError, match=r"its decoder is .*argmax"):
        load_twin(loaded, str(tmp_path / "other.ckpt"))


def test_faces_of_one_photo_are_not_enough(ckpt, faces, monkeypatch):
    monkeypatch.setattr(calibration_fit, "inseparable_groups", lambda table: np.zeros(len(table), int))
    with pytest.raises(UserError, match="all faces are of one photo, near-duplicates of each other, or"):
        calibration_fit.calibrate(load_checkpoint(ckpt), faces, 0, None)


def test_a_twin_of_another_recipe_is_refused(scheme, monkeypatch, tmp_path):
    """Confidences of another network or of colour images have other errors."""
    settings = settings_of(*TINY)
    wider = settings_of(*TINY, "model.network.channels=16").model

    def loaded(keypoints=scheme, size=(96, 96), model=settings.model, channels=1):
        model = KeypointModel(keypoints, size, model, "softmax", settings.decoder, image_channels=channels)
        return LoadedCheckpoint(tmp_path / "a.ckpt", model, None, {})

    for message, twin in (
        ("its size is ", loaded(size=(64, 64))),
        ("its image_channels is 3", loaded(channels=3)),
        ("other keypoints than ", loaded(replace(scheme, names=scheme.names[::-1]))),
        ("another model than ", loaded(model=wider)),
    ):
        monkeypatch.setattr(calibration_fit, "load_checkpoint", lambda _, twin=twin: twin)
        with pytest.raises(UserError, match=rf"twin=b\.ckpt: {message}"):
            load_twin(loaded(), "b.ckpt")
