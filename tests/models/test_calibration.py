"""Expected errors: the curve is monotone and right on faces it was not fitted on, and rides in the checkpoint."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from omegaconf import OmegaConf

from facekp import KeypointPredictor
from facekp.calibrate import main
from facekp.core.errors import UserError
from facekp.data.readers.registry import read_table
from facekp.data.split import image_hashes
from facekp.functional.heatmap import HeatmapCodec
from facekp.models.calibrating import calibrate, write
from facekp.models.calibration import Calibration, fit, increasing, reliability, trimmed_mean
from facekp.models.checkpoint import load_checkpoint
from facekp.models.packing import pack
from tests.conftest import config_of

DRAWN = ["data=synthetic", "data.rows=240", "data.seed=5"]
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


def test_the_curve_finds_the_expected_error_whatever_a_wrong_label_says():
    deviation, error, source, _ = made_up(3000, 0)
    fitted = Calibration({}, *fit(deviation, error, source, 2), {})
    new, measured, other, mean = made_up(3000, 1)
    expected = fitted.expected(torch.from_numpy(new), torch.from_numpy(other).long()).numpy()
    np.testing.assert_allclose(expected, mean, rtol=0.12)
    figures = reliability(expected, measured)
    np.testing.assert_allclose(figures["measured"], figures["expected"], rtol=0.1)
    assert figures["expected"] == sorted(figures["expected"])
    assert figures["points"] == (~np.isnan(measured)).sum()


def test_expected_errors_follow_the_curve_and_are_level_beyond_its_ends():
    fitted = Calibration({}, [1.0, 3.0, 4.0], [0.5, 1.5, 1.5], [[1.0], [2.0]], {})
    deviation = torch.tensor([[0.0], [2.0], [3.5], [9.0], [float("nan")]])
    expected = fitted.expected(deviation, torch.tensor([0, 0, 0, 1, 0]))
    torch.testing.assert_close(expected, torch.tensor([[0.5], [1.0], [1.5], [3.0], [1.5]]))


def test_points_that_a_source_never_labels_are_the_first_source_s():
    deviation, error, source, _ = made_up(2000, 0)
    error[source == 1, 2:] = np.nan
    factor = np.array(fit(deviation, error, source, 2)[2])
    np.testing.assert_array_equal(factor[1, 2:], factor[0, 2:])
    assert factor[1, 0] > 1.5 * factor[0, 0]


def test_too_few_points_are_told():
    deviation, error, source, _ = made_up(8, 0)
    with pytest.raises(UserError, match="at least 50"):
        fit(deviation, error, source, 2)


def test_a_hundredth_is_trimmed():
    assert trimmed_mean(np.append(np.ones(99), 1000)) == 1
    assert trimmed_mean(np.append(np.ones(98), 1000)) > 1


def test_the_deviation_of_a_drawn_map_is_its_sigma_in_both_directions():
    codec = HeatmapCodec((96, 96), stride=4, sigma=1.5)
    maps = codec.encode(torch.tensor([[48.0, 40.0], [float("nan")] * 2]))
    found = codec.deviation(torch.cat([maps, -maps[:1]]))
    assert found[0] == pytest.approx(4 * 1.5 * np.sqrt(2), rel=1e-3)
    assert found[1:].isnan().all()


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A copy of the tiny run, as the command leaves a file in a run's folder."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("copied") / "run")


@pytest.fixture(scope="module")
def calibrated(run, tmp_path_factory):
    """What the command leaves."""
    out = tmp_path_factory.mktemp("calibrated") / "calibrated.ckpt"
    given = [f"ckpt={run / 'checkpoints' / 'best.ckpt'}", f"out={out}", *DRAWN]
    main(OmegaConf.create(config_of(*given, name="calibrate")))
    return out


def test_the_command_leaves_a_checkpoint_that_tells_expected_errors_and_a_picture(calibrated, run, faces):
    assert calibrated.with_name("calibrated.ckpt.png").read_bytes()[:4] == b"\x89PNG"
    figures = json.loads(calibrated.with_name("calibrated.ckpt.json").read_text())
    assert len(figures["expected"]) == len(figures["measured"]) == 10
    assert json.loads((run / "reliability.json").read_text()) == figures  # for the page of facekp.report
    after = KeypointPredictor.from_checkpoint(calibrated).answers(faces.images)
    before = KeypointPredictor.from_checkpoint(run / "checkpoints" / "best.ckpt").answers(faces.images)
    np.testing.assert_array_equal(after.points, before.points)
    trained = load_checkpoint(calibrated)
    assert trained.model.calibration.reliability == figures
    assert after.expected_error.shape == (80, 15)
    assert np.isfinite(after.expected_error).all()
    error = np.linalg.norm(after.points - faces.points, axis=-1)
    assert np.nanmean(after.expected_error) == pytest.approx(np.nanmean(error), rel=0.3)


def test_it_says_nothing_for_another_decoder_and_survives_packing(calibrated, tmp_path, faces):
    images, source = torch.from_numpy(faces.images[:2, None]), torch.zeros(2, dtype=torch.long)
    pack(calibrated, tmp_path / "packed.ckpt")
    model = load_checkpoint(tmp_path / "packed.ckpt").model
    assert model.answer(images, source)[2] is not None
    model.override_decoder({"rule": "argmax"})
    assert model.answer(images, source)[2] is None


def test_a_checkpoint_of_all_rows_is_given_its_twin_s_calibration(calibrated, tiny_run, scheme, tmp_path):
    first = tiny_run / "checkpoints" / "best.ckpt"
    raw = torch.load(first, weights_only=True)
    everything = read_table(config_of(*DRAWN)["data"], scheme)
    raw["facekp"]["trained_on"] = torch.from_numpy(image_hashes(everything.images))
    torch.save(raw, tmp_path / "all.ckpt")
    given = [f"ckpt={tmp_path / 'all.ckpt'}", f"out={tmp_path / 'out.ckpt'}", *DRAWN]
    with pytest.raises(UserError, match="all 240 rows trained"):
        main(OmegaConf.create(config_of(*given, name="calibrate")))
    fitted = main(OmegaConf.create(config_of(*given, f"twin={first}", name="calibrate")))
    assert fitted == load_checkpoint(calibrated).model.calibration
    pack(first, tmp_path / "other.ckpt", decoder={"rule": "argmax"})
    with pytest.raises(UserError, match=r"its decoder is .*argmax"):
        main(OmegaConf.create(config_of(*given, f"twin={tmp_path / 'other.ckpt'}", name="calibrate")))


def test_faces_fitted_on_are_not_those_checked_on(calibrated, faces, monkeypatch):
    trained = load_checkpoint(calibrated)
    checked, fitted_on = [], []
    monkeypatch.setattr("facekp.calibrate.fit", lambda *a: fitted_on.append(a[1]) or fit(*a))
    monkeypatch.setattr("facekp.calibrate.reliability", lambda *a: checked.append(a[1]) or reliability(*a))
    first = faces.take(np.arange(40))
    twice = replace(
        first,
        images=np.tile(first.images, (2, 1, 1)),
        points=np.tile(first.points, (2, 1, 1)),
        source=np.tile(first.source, 2),
        row=np.arange(80),
    )
    calibrate(trained, twice, seed=0)
    both = {tuple(row) for row in np.nan_to_num(fitted_on[0])} & {tuple(row) for row in np.nan_to_num(checked[0])}
    assert not both  # copies stay together
    assert len(fitted_on[0]) == len(checked[0]) == 40


def test_what_can_t_be_calibrated_is_told(seed_weights, calibrated, tmp_path):
    with pytest.raises(UserError, match="starting system"):
        write(seed_weights, tmp_path / "x.ckpt", load_checkpoint(calibrated).model.calibration)
    given = [f"ckpt=[{calibrated},{calibrated}]", "out=x.ckpt", "data=synthetic"]
    with pytest.raises(UserError, match="one checkpoint"):
        main(OmegaConf.create(config_of(*given, name="calibrate")))


def test_the_shipped_checkpoint_is_calibrated_within_fifteen_percent():
    figures = load_checkpoint("shipped").model.calibration.reliability
    np.testing.assert_allclose(figures["measured"], figures["expected"], rtol=0.15)
    assert figures["points"] > 4000
