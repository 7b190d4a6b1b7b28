"""`facekp.calibrate`: writes a checkpoint that predicts expected errors, a picture, and the values for the report."""

import json
import shutil

import numpy as np
import pytest
import torch

from facekp import KeypointPredictor
from facekp.calibrate import main
from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.digests import table_digests
from facekp.data.near_duplicates import image_hashes
from facekp.data.readers.read import read_table
from facekp.models.checkpoint import load_checkpoint
from facekp.models.command_settings import CalibrateSettings
from facekp.models.packing import pack
from facekp.models.settings import DecoderOverride
from facekp.runs.folder import RunFolder
from tests.conftest import composed, config_of

DRAWN = ["data=synthetic", "data.rows=160", "data.seed=5"]


def drawn_table(scheme):
    data = parse(CalibrateSettings, config_of("ckpt=a", "out=b", *DRAWN, name="calibrate")).data
    return read_table(data, scheme)


def calibrate(*given):
    return main(composed(*given, *DRAWN, name="calibrate"))


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory, scheme):
    """A copy of the tiny run, as the command adds a file to a run's folder; its data are said to be `DRAWN`."""
    run = RunFolder(shutil.copytree(tiny_run, tmp_path_factory.mktemp("copied") / "run"))
    run.write_data(table_digests(drawn_table(scheme)))
    return run.path


@pytest.fixture(scope="module")
def calibrated(run, tmp_path_factory):
    """The checkpoint that the command writes."""
    out = tmp_path_factory.mktemp("calibrated") / "calibrated.ckpt"
    calibrate(f"ckpt={run / 'checkpoints' / 'best.ckpt'}", f"out={out}")
    return out


def test_the_checkpoint_predicts_expected_errors_and_the_report_gets_the_values(calibrated, run, faces):
    assert calibrated.with_name("calibrated.ckpt.png").read_bytes()[:4] == b"\x89PNG"
    values = json.loads(calibrated.with_name("calibrated.ckpt.json").read_text())
    assert len(values["expected"]) == len(values["measured"]) == 10
    assert json.loads((run / "reliability.json").read_text()) == values
    calibrations = load_checkpoint(calibrated).model.calibrations
    assert calibrations[0].reliability == values
    assert [(each.decoder["flip"], each.decoder["shift"]) for each in calibrations] == [(False, 0.0), (True, 0.0)]
    after = KeypointPredictor.from_checkpoint(calibrated).predict(faces.images)
    before = KeypointPredictor.from_checkpoint(run / "checkpoints" / "best.ckpt").predict(faces.images)
    np.testing.assert_array_equal(after.points, before.points)
    assert before.expected_error is None
    assert after.expected_error.shape == (80, 15)
    error = np.linalg.norm(after.points - faces.points, axis=-1)
    assert np.nanmean(after.expected_error) == pytest.approx(np.nanmean(error), rel=0.3)


def test_figures_for_other_data_are_not_written_into_the_run(run, tmp_path, caplog):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "reliability.json").unlink(missing_ok=True)
    with caplog.at_level("INFO"):
        main(
            composed(
                f"ckpt={copy / 'checkpoints' / 'best.ckpt'}",
                "data=synthetic",
                "data.rows=200",
                "data.seed=6",
                f"out={tmp_path / 'c.ckpt'}",
                "corruptions=none",
                name="calibrate",
            )
        )
    assert not (copy / "reliability.json").exists()
    assert "the data are not those of the run" in caplog.text


def test_it_is_valid_with_and_without_mirror_image_and_survives_packing(calibrated, tmp_path, faces):
    images, source = torch.from_numpy(faces.images[:2, None]), torch.zeros(2, dtype=torch.long)
    pack(calibrated, tmp_path / "packed.ckpt")
    model = load_checkpoint(tmp_path / "packed.ckpt").model
    assert model.predict(images, source).expected_error is not None
    model.override_decoder(DecoderOverride(flip=True))
    assert model.predict(images, source).expected_error is not None
    model.override_decoder(DecoderOverride(rule="argmax"))
    assert model.predict(images, source).expected_error is None


@pytest.mark.slow
def test_a_checkpoint_of_all_rows_gets_the_calibration_of_its_twin(calibrated, ckpt, scheme, tmp_path):
    raw = torch.load(ckpt, weights_only=True)
    raw["facekp"]["trained_on"] = torch.from_numpy(image_hashes(drawn_table(scheme).images))
    torch.save(raw, tmp_path / "all.ckpt")
    given = [f"ckpt={tmp_path / 'all.ckpt'}", f"out={tmp_path / 'out.ckpt'}", "overwrite=true"]
    with pytest.raises(UserError, match="all 160 rows are training rows"):
        calibrate(*given)
    assert calibrate(*given, f"twin={ckpt}") == load_checkpoint(calibrated).model.calibrations
    pack(ckpt, tmp_path / "other.ckpt", decoder=DecoderOverride(rule="argmax"))
    with pytest.raises(UserError, match=r"its decoder is .*argmax"):
        calibrate(*given, f"twin={tmp_path / 'other.ckpt'}")


def test_what_can_t_be_calibrated_is_refused(seed_weights, calibrated, tmp_path):
    with pytest.raises(UserError, match="published system"):
        calibrate(f"ckpt={seed_weights}", f"out={tmp_path / 'x.ckpt'}")
    with pytest.raises(UserError, match="one checkpoint"):
        calibrate(f"ckpt=[{calibrated},{calibrated}]", "out=x.ckpt")


def test_the_values_never_replace_the_checkpoint(run, tmp_path):
    with pytest.raises(UserError, match=r"reliability=.*k.png: it or its .json is out= or ckpt=; choose another name"):
        calibrate(
            f"ckpt={run / 'checkpoints' / 'best.ckpt'}", f"out={tmp_path}/k.json", f"reliability={tmp_path}/k.png"
        )
