"""Engines: onnxruntime predicts what torch predicts, and ``auto`` changes to it when it pays."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch

from facekp import KeypointPredictor
from facekp.core.errors import UserError
from facekp.models import engine, graph_cache
from facekp.models.calibration_fit import calibrate, write_calibrations
from facekp.models.checkpoint import load_checkpoint
from facekp.models.graph_cache import graph_file, load_graph
from facekp.models.onnx_model import OnnxModel
from facekp.models.settings import DecoderOverride

DECODER = DecoderOverride(rule="argmax", flip=True)  # argmax: the smallest graph, exported in the shortest time


@pytest.fixture(scope="module")
def calibrated(ckpt, faces, tmp_path_factory):
    """A checkpoint with a calibration for `DECODER`."""
    path = tmp_path_factory.mktemp("calibrated") / "calibrated.ckpt"
    loaded = load_checkpoint(ckpt)
    loaded.model.override_decoder(DECODER)
    write_calibrations(ckpt, path, [calibrate(loaded, faces, seed=0)])
    return path


def load(path):
    loaded = load_checkpoint(path)
    loaded.model.override_decoder(DECODER)
    return loaded


@pytest.fixture(scope="module")
def cache(calibrated, tmp_path_factory):
    """A cache folder with the checkpoint's graph."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEKP_CACHE", str(folder))
        load_graph(load(calibrated))
    return folder


def assert_agree(found, expected):
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3, err_msg=name)


@pytest.fixture
def in_cache(cache, monkeypatch):
    monkeypatch.setenv("FACEKP_CACHE", str(cache))
    return cache


def test_onnxruntime_predicts_what_torch_predicts(in_cache, calibrated, faces):
    by_torch = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER, engine="torch")
    by_onnx = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER, engine="onnx")
    assert isinstance(by_onnx._runners[0].model, OnnxModel)
    for source in by_onnx.source_names:
        expected, found = (predictor.predict(faces.images[:20], source) for predictor in (by_torch, by_onnx))
        assert_agree(found, expected)
    np.testing.assert_array_equal(by_onnx.heatmaps(faces.images[:2]), by_torch.heatmaps(faces.images[:2]))
    assert by_onnx.predict(faces.images[:0]).points.shape == (0, 15, 2)


def test_an_export_restores_the_levels_of_loggers(cache):
    assert [logging.getLogger(name).level for name in ("onnx_ir", "onnxscript", "torch.onnx")] == [logging.NOTSET] * 3


def test_auto_changes_to_a_graph_in_the_cache_when_it_pays(in_cache, calibrated, faces, monkeypatch):
    monkeypatch.setattr(engine, "LOAD_AFTER", 8)
    predictor = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER)
    (runner,) = predictor._runners
    first = predictor.predict(faces.images[:3])  # 6 images with their mirror images
    assert runner.model is predictor.models[0].model
    again = predictor.predict(faces.images[:3])
    assert isinstance(runner.model, OnnxModel)
    assert_agree(again, first)


def test_auto_never_exports(tmp_path, ckpt, faces, monkeypatch):
    monkeypatch.setenv("FACEKP_CACHE", str(tmp_path))
    monkeypatch.setattr(engine, "LOAD_AFTER", 1)
    monkeypatch.setattr(engine, "EXPORT_AFTER", 1, raising=False)  # the limit of an earlier version
    monkeypatch.setattr(graph_cache, "_export", None)
    predictor = KeypointPredictor.from_checkpoint(ckpt, decoder=DECODER)
    for _ in range(2):
        predictor.predict(faces.images[:2])
    assert predictor._runners[0].model is predictor.models[0].model


def test_other_threads_predict_while_one_loads_the_graph(in_cache, calibrated, faces, monkeypatch):
    is_loading, has_predicted = Event(), Event()

    def load_slowly(loaded, file):
        is_loading.set()
        assert has_predicted.wait(20)
        return OnnxModel(file)

    monkeypatch.setattr(engine, "LOAD_AFTER", 1)
    monkeypatch.setattr(engine, "load_kept", load_slowly)
    predictor = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(predictor.predict, faces.images[:2])
        assert is_loading.wait(20)
        other = predictor.predict(faces.images[:2])
        has_predicted.set()
        assert_agree(first.result(), other)
    assert isinstance(predictor._runners[0].model, OnnxModel)


def test_auto_is_torch_without_onnxruntime(in_cache, calibrated, faces, monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    monkeypatch.setattr(engine, "LOAD_AFTER", 1)
    predictor = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER)
    predictor.predict(faces.images[:2])
    assert predictor._runners[0].model is predictor.models[0].model


def test_a_damaged_graph_is_made_again(in_cache, calibrated, tmp_path, monkeypatch, caplog):
    loaded = load(calibrated)
    content = graph_file(loaded).read_bytes()
    monkeypatch.setenv("FACEKP_CACHE", str(tmp_path))
    exported = []
    monkeypatch.setattr(graph_cache, "_export", lambda loaded, path: exported.append(path))
    for damaged in (content[:-1000], content.replace(b"points", b"pionts"), b"", b"no graph"):
        path = graph_file(loaded)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damaged)
        load_graph(loaded)
    assert exported == [path] * 4
    assert caplog.text.count("exporting the checkpoint again") == 4


def test_a_graph_of_other_weights_is_made_again(in_cache, calibrated, monkeypatch, caplog):
    loaded = load(calibrated)
    path = graph_file(loaded)
    loaded.model.offset[:] += 0.01  # as if the code that computes with the same weights had changed
    monkeypatch.setattr(graph_cache, "graph_file", lambda loaded: path)
    monkeypatch.setattr(graph_cache, "_export", lambda loaded, path: None)
    load_graph(loaded)
    assert "its points differ" in caplog.text


def test_every_setting_and_weight_has_its_own_graph():
    loaded = load_checkpoint("shipped")
    files = {graph_file(loaded)}
    loaded.model.override_decoder(DecoderOverride(flip=False))
    files.add(graph_file(loaded))
    loaded.model.mean_face += 1
    files.add(graph_file(loaded))
    assert len(files) == 3


def test_a_cache_that_can_t_be_written_is_reported_and_passed_over(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "graphs").write_text("a file where the folder should be")
    (tmp_path / "draft").write_text("graph")
    graph_cache._keep(tmp_path / "draft", tmp_path / "graphs" / "a.onnx")
    assert "the exported network is not kept" in caplog.text


def test_graphs_that_were_used_longest_ago_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_cache, "KEPT", 2)
    (tmp_path / "draft").write_text("graph")
    for name in "abc":
        graph_cache._keep(tmp_path / "draft", tmp_path / "graphs" / f"{name}.onnx")
    assert sorted(file.name for file in (tmp_path / "graphs").iterdir()) == ["b.onnx", "c.onnx"]


def test_what_an_engine_can_t_run_is_refused(small, ckpt):
    with pytest.raises(UserError, match=r"engine=torch: .* is an exported file"):
        KeypointPredictor.from_checkpoint(small[0], engine="torch")
    assert isinstance(KeypointPredictor.from_checkpoint(small[0], engine="onnx").models[0].model, OnnxModel)
    with pytest.raises(UserError, match="engine=tensorrt: choose one of auto, torch, onnx"):
        KeypointPredictor.from_checkpoint(ckpt, engine="tensorrt")
    with pytest.raises(UserError, match="views=two: choose one of one, all"):
        KeypointPredictor.from_checkpoint(ckpt, views="two")
    with pytest.raises(UserError, match="engine=onnx: runs on the CPU, not on meta"):
        engine.Runner(load_checkpoint(ckpt), torch.device("meta"), "onnx")


def test_without_a_home_folder_torch_predicts_and_no_graph_is_kept(calibrated, monkeypatch, faces):
    monkeypatch.delenv("FACEKP_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where neither HOME nor the user is known
    monkeypatch.setattr(engine, "LOAD_AFTER", 1)
    assert graph_file(load(calibrated)) is None
    predictor = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER, device="cpu")
    assert predictor.predict(faces.images[:2]).points.shape == (2, 15, 2)
    assert not isinstance(predictor._runners[0].model, OnnxModel)


def test_a_kept_graph_that_this_user_can_t_read_changes_nothing(in_cache, calibrated, monkeypatch, faces, caplog):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(engine, "LOAD_AFTER", 1)
    monkeypatch.setattr(graph_cache, "OnnxModel", refuse)
    monkeypatch.setattr(graph_cache, "_export", refuse)
    predictor = KeypointPredictor.from_checkpoint(calibrated, decoder=DECODER, device="cpu")
    assert predictor.predict(faces.images[:2]).points.shape == (2, 15, 2)
    assert caplog.text.count("torch predicts; engine=onnx exports the checkpoint again: [Errno 13]") == 1
