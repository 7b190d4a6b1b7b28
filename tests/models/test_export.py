"""LoadedOnnx files answer as their checkpoint does, know what they are, and are refused when they don't."""

import json

import numpy as np
import onnx
import pytest
import torch
from omegaconf import OmegaConf

from facekp import KeypointPredictor
from facekp.core.errors import UserError
from facekp.data.readers.competition import write_test, write_training
from facekp.evaluate import main as evaluate
from facekp.export import main
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import load_models, predict_points
from facekp.models.export import EXTRA_FILE, LIMITS, compare
from facekp.models.export_graph import KeypointGraph
from facekp.reporting.benchmark import bench_answers
from facekp.submit import main as submit
from tests.conftest import config_of, facekp


def exported(ckpt, out, *more):
    given = ["data=synthetic", "data.rows=40", "check=12", f"ckpt={ckpt}", f"out={out}"]
    return main(OmegaConf.create(config_of(*given, *more, name="export")))


@pytest.fixture(scope="module")
def ckpt(tiny_run):
    return tiny_run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def of_all(ckpt, tmp_path_factory):
    """float32, of both sources, mirrored and shrunk views inside."""
    out = tmp_path_factory.mktemp("onnx") / "all.onnx"
    more = ["source=all", "input=float32", "decoder=mean", "decoder.flip=true", "decoder.scale=0.05"]
    return out, exported(ckpt, out, *more), more[2:]


@pytest.fixture(scope="module")
def small(ckpt, tmp_path_factory):
    """int8, of the first source, uint8 in."""
    out = tmp_path_factory.mktemp("onnx") / "small.onnx"
    return out, exported(ckpt, out, "precision=int8", "decoder=argmax", "force=true")


@pytest.mark.parametrize("views", [{}, {"flip": True, "shift": 2.0, "scale": 0.06, "rule": "mean", "floor": 0.02}])
def test_the_graph_answers_as_the_detector_does_on_every_view(views, faces):
    model = load_checkpoint("shipped").model
    model.offset[1] += 1.5
    model.override_decoder({"flip": False, "shift": 0.0, "scale": 0.0, **views})
    model.calibration.decoder.update(model.decoder)
    images, source = torch.from_numpy(faces.images[:6, None]), torch.from_numpy(faces.source[:6]).long()
    with torch.inference_mode():
        for own, other in zip(KeypointGraph(model)(images, source), model.answer(images, source), strict=True):
            torch.testing.assert_close(own, other, atol=2e-3, rtol=0)


def test_the_file_answers_any_number_of_faces_as_its_checkpoint_does(of_all, ckpt, faces):
    out, figures, _ = of_all
    assert figures["furthest"] <= 0.01
    assert figures["rmse"] == pytest.approx(figures["rmse_checkpoint"], abs=1e-3)
    (one,) = load_models(out)
    plain = load_checkpoint(ckpt)
    plain.model.override_decoder(one.model.decoder)
    assert one.model.decoder["scale"] == 0.05
    for n in (1, 5):
        few = faces.take(np.arange(n))
        for own, other in zip(predict_points([one], few), predict_points([plain], few), strict=True):
            np.testing.assert_allclose(own, other, atol=0.01)
    assert set(one.trained_on) == set(plain.trained_on)


def test_the_metadata_tells_what_it_is(of_all, ckpt):
    out, figures, _ = of_all
    entry = json.loads({prop.key: prop.value for prop in onnx.load(out).metadata_props}["facekp"])
    assert entry["check"] == figures
    assert entry["keypoints"] == load_checkpoint(ckpt).model.keypoints.to_dict()
    assert entry["size"] == [96, 96]
    assert entry["source"] is None
    assert entry["precision"] == "float32"


def test_evaluate_and_submit_take_it_as_they_take_a_checkpoint(of_all, ckpt, tmp_path, faces):
    out, _, decoder = of_all
    given = ["data=synthetic", "data.rows=60"]
    own = evaluate(OmegaConf.create(config_of(f"ckpt={out}", *given, name="evaluate")))
    plain = evaluate(OmegaConf.create(config_of(f"ckpt={ckpt}", *given, *decoder, name="evaluate")))
    assert own["rmse"] == pytest.approx(plain["rmse"], abs=1e-3)
    write_training(tmp_path / "training.csv", faces)
    write_test(tmp_path, faces, faces.mask)
    given = [f"data.dir={tmp_path}", "data.cache=null", f"ckpt={out}", f"out={tmp_path / 'answers.csv'}"]
    assert submit(OmegaConf.create(config_of(*given, name="submit"))).is_file()
    with pytest.raises(UserError, match="export it anew"):
        evaluate(OmegaConf.create(config_of(f"ckpt={out}", "decoder=dark", name="evaluate")))


def test_the_predictor_takes_it(of_all, small, faces):
    out, _, _ = of_all
    predictor = KeypointPredictor.from_checkpoint(out, source="sparse")
    expected, _ = predict_points(load_models(out), faces.take(faces.source == 1))
    np.testing.assert_allclose(predictor(faces.images[faces.source == 1])[0], expected, atol=1e-3)
    assert predictor(faces.images[:0])[0].shape == (0, 15, 2)
    with pytest.raises(UserError, match="load one"):
        predictor.heatmaps(faces.images[:1])
    first = KeypointPredictor.from_checkpoint(small[0])
    assert first(faces.images[:3])[0].shape == (3, 15, 2)
    with pytest.raises(UserError, match="source=all"):
        first(faces.images[:3], source="sparse")


def test_eight_bits_make_it_smaller_and_are_in_it(small, of_all):
    kinds = {node.op_type for node in onnx.load(small[0]).graph.node}
    assert "QuantizeLinear" in kinds
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(of_all[0]).graph.node}
    assert json.loads(onnx.load(small[0]).metadata_props[0].value)["precision"] == "int8"


def test_torch_export_leaves_a_program_that_answers(ckpt, tmp_path, faces):
    figures = exported(ckpt, tmp_path / "a.pt2", "format=torch_export", "decoder.flip=true")
    assert figures["furthest"] <= 0.01
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    plain = load_checkpoint(ckpt)
    plain.model.override_decoder({"flip": True})
    dense = faces.take(np.flatnonzero(faces.source == 0)[:7])
    module = program.module()
    assert compare(plain, lambda images, source: module(images), dense)["furthest"] <= 0.01
    assert json.loads(extra[EXTRA_FILE])["source"] == "dense"


def test_a_file_that_answers_otherwise_is_not_left_unless_it_is_asked_for(ckpt, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "float32", ("furthest", -1.0))
    with pytest.raises(UserError, match="force=true"):
        exported(ckpt, tmp_path / "a.pt2", "format=torch_export")
    assert not list(tmp_path.iterdir())
    exported(ckpt, tmp_path / "a.pt2", "format=torch_export", "force=true")
    assert (tmp_path / "a.pt2").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["format=tflite"], "onnx, torch_export"),
        (["precision=int4"], "float32, int8"),
        (["input=float64"], "uint8, float32"),
        (["source=other"], "dense, sparse, all"),
        (["format=torch_export"], r"\.pt2"),
        (["format=torch_export", "precision=int8", "out=a.pt2"], "only with format=onnx"),
        (["data.rows=1"], "at least 2"),
    ],
)
def test_a_wrong_choice_is_told(ckpt, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        exported(ckpt, "a.onnx", *given)


def test_a_missing_package_is_one_line(ckpt, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no', name='onnxruntime')")
    for command, given in (("export", ["data=synthetic", "out=a.onnx", f"ckpt={ckpt}"]), ("evaluate", ["ckpt=a.onnx"])):
        (tmp_path / "a.onnx").write_bytes(b"")
        path = f"{tmp_path}:{__import__('os').environ.get('PYTHONPATH', '')}"
        done = facekp(command, *given, cwd=tmp_path, PYTHONPATH=path)
        assert done.returncode == 2
        assert "facekp[export]" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_what_is_no_exported_file_is_told(tmp_path, of_all):
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="is no ONNX file"):
        load_models(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="does not exist"):
        load_models(tmp_path / "b.onnx")
    model = onnx.load(of_all[0])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "c.onnx")
    with pytest.raises(UserError, match=r"not written by facekp\.export"):
        load_models(tmp_path / "c.onnx")


def test_bench_measures_files_beside_each_other(of_all, ckpt):
    lines = bench_answers([str(ckpt), str(of_all[0])], rounds=1, threads=1)
    assert len(lines) == 2
    assert "times as long" in lines[1][1]
