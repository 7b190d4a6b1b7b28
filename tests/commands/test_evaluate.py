"""`facekp.evaluate`: prints and writes the metrics of rows that no checkpoint was trained on."""

import json
import logging
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.evaluate import main
from facekp.models.command_settings import EvaluateSettings
from facekp.models.ensemble import load_models
from facekp.runs.folder import RunFolder
from tests.conftest import composed, config_of


def test_the_command_writes_metrics_and_predictions(tiny_run, ckpt, tmp_path, run_here):
    code, _ = run_here("evaluate", main, f"ckpt={ckpt}", "data=synthetic", "data.rows=60", "out=scored")
    assert code == 0
    recorded = json.loads((tiny_run / "metrics.json").read_text())
    assert json.loads((tmp_path / "scored" / "metrics.json").read_text())["rmse"] == pytest.approx(recorded["rmse"])
    assert (tmp_path / "scored" / "predictions.csv").is_file()
    assert yaml.safe_load((tmp_path / "scored" / "overrides.yaml").read_text()) == [*sys.argv[1:]]
    assert (tmp_path / "scored" / "git.txt").read_text() == (tiny_run / "git.txt").read_text()


def test_settings_of_the_split_are_reported_as_without_effect(ckpt, run_here, caplog):
    code, _ = run_here(
        "evaluate", main, f"ckpt={ckpt}", "data=synthetic", "data.rows=60", "data.fold=2", "data.folds=4"
    )
    assert code == 0
    assert (
        "data.fold=2 data.folds=4: has no effect here; all rows that no checkpoint was trained on are scored"
        in caplog.text
    )
    caplog.clear()
    run_here("evaluate", main, f"ckpt={ckpt}", "data=synthetic", "data.rows=60")
    assert "no effect" not in caplog.text


def test_the_metrics_are_printed(ckpt, capfd):
    main(composed(f"ckpt={ckpt}", "data=synthetic", "data.rows=60", name="evaluate"))
    assert "nose_tip" in capfd.readouterr().out


def test_the_checkpoint_s_decoder_is_used_unless_another_is_given(ckpt):
    def decoder(*overrides):
        settings = parse(EvaluateSettings, config_of(f"ckpt={ckpt}", *overrides, name="evaluate"))
        return load_models(settings.ckpt, settings.decoder)[0].model.decoder.plain()

    one_view = {"shift": 0.0, "scale": 0.0}
    assert decoder()["rule"] == "subpixel"
    assert decoder("decoder=argmax") == {"rule": "argmax", "flip": False, "floor": 0.0, **one_view}
    assert decoder("decoder.flip=true") == {"rule": "subpixel", "flip": True, "floor": 0, **one_view}


def test_data_without_a_labelled_point_is_refused(ckpt, monkeypatch, faces):
    unlabelled = replace(faces, points=np.full_like(faces.points, np.nan))
    monkeypatch.setattr("facekp.reporting.evaluation.read_table", lambda settings, keypoints: unlabelled)
    with pytest.raises(UserError, match="no point is labelled"):
        main(composed(f"ckpt={ckpt}", "data=synthetic", name="evaluate"))


def test_the_results_of_a_training_and_earlier_scores_are_kept(tiny_run, run_here, tmp_path):
    data = ["data=synthetic", "data.rows=60"]
    before = {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()}
    for more in ([], ["overwrite=true"]):
        code, err = run_here("evaluate", main, f"ckpt={tiny_run}", *data, f"out={tiny_run}", *more)
        assert code == 2
        assert "holds a training, whose results are kept" in err
    assert {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()} == before

    (tmp_path / "scored").mkdir()
    (tmp_path / "scored" / "metrics.json").write_text("{}")
    code, err = run_here("evaluate", main, f"ckpt={tiny_run}", *data, "out=scored")
    assert code == 2
    assert "out=scored: holds metrics.json already" in err
    assert run_here("evaluate", main, f"ckpt={tiny_run}", *data, "out=scored", "overwrite=true")[0] == 0
    assert "rmse" in json.loads((tmp_path / "scored" / "metrics.json").read_text())


def test_a_mistake_leaves_no_folder(run_here, tmp_path):
    code, _ = run_here("evaluate", main, "ckpt=no.ckpt", "out=a/b")
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_corrupted_images_are_scored_drawn_and_reported(tiny_run, tmp_path, run_here, caplog):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    corruptions = ["corruptions.noise=[20]", "corruptions.rotation=[30,60]"]
    arguments = [f"ckpt={run}", "data=synthetic", "data.rows=60", *corruptions, "out=scored"]
    with caplog.at_level(logging.INFO):
        assert run_here("evaluate", main, *arguments)[0] == 0
    assert f"written: {run}/corruptions.csv; facekp.report shows it" in caplog.messages
    assert "no expected errors: not calibrated for this decoder (python -m facekp.calibrate)" in caplog.messages
    scored = RunFolder(tmp_path / "scored")
    frame = scored.read_corruptions()
    assert frame[["corruption", "strength"]].values.tolist() == [
        ["none", 0], ["noise", 20], ["rotation", 30], ["rotation", 60],
    ]  # fmt: skip
    metrics = scored.read_metrics()
    assert frame["rmse"].iloc[0] == pytest.approx(metrics["rmse"])
    trimmed = frame["rmse/trimmed"]
    assert metrics["rmse/corrupted"] == pytest.approx((trimmed[1] + (trimmed[2] + trimmed[3]) / 2) / 2)
    assert {path.name for path in scored.pictures.iterdir()} == {"corrupted_face.png", "corruptions.png"}
    assert run_here("evaluate", main, *arguments[:3], "out=scored", "overwrite=true")[0] == 0
    assert not scored.corruptions.exists()
    assert list(scored.pictures.iterdir()) == []
    assert RunFolder(run).read_corruptions().equals(frame)
    assert RunFolder(run).read_metrics() == RunFolder(tiny_run).read_metrics()


def test_a_strength_that_does_not_fit_is_one_line(ckpt, run_here, tmp_path):
    data = [f"ckpt={ckpt}", "data=synthetic", "data.rows=60"]
    code, err = run_here("evaluate", main, *data, "corruptions.square=[200]", "out=scored")
    assert code == 2
    assert "corruptions.square=200: must be below the images' side, 96 pixels; choose smaller strengths" in err
    code, err = run_here("evaluate", main, *data, "corruptions=standart")
    assert code == 2
    assert "corruptions=standart: there is no such choice; choose one of none, standard; did you mean standard?" in err


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("data.seed=9", "the data are not those of the run"),
        ("decoder.rule=argmax", "decoder=, views= or refine= was changed"),
    ],
)
def test_figures_of_other_data_or_views_are_not_the_run_s(tiny_run, tmp_path, run_here, caplog, other, reason):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    with caplog.at_level(logging.INFO):
        given = [f"ckpt={run}", "data=synthetic", "data.rows=60", "corruptions.noise=[20]", other]
        assert run_here("evaluate", main, *given)[0] == 0
    assert f"not written into {run}, whose report would show it: {reason}" in caplog.text
    assert not RunFolder(run).corruptions.exists()
