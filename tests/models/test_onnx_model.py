"""ONNX files predict as their checkpoint does; what is not one of facekp is refused in one line."""

import numpy as np
import onnx
import pytest

from facekp import KeypointPredictor
from facekp.core.errors import UserError
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import load_models, predict_table
from facekp.models.settings import DecoderOverride


def test_the_file_predicts_any_number_of_faces_as_its_checkpoint_does(of_all, ckpt, faces):
    out, check, _ = of_all
    assert check["furthest"] <= 0.01
    assert check["rmse"] == pytest.approx(check["rmse_checkpoint"], abs=1e-3)
    (exported,) = load_models(out)
    loaded = load_checkpoint(ckpt)
    loaded.model.override_decoder(DecoderOverride(rule="mean", flip=True, scale=0.05))
    assert exported.model.decoder == loaded.model.decoder
    for n in (1, 5):
        few = faces.take(np.arange(n))
        found, expected = predict_table([exported], few), predict_table([loaded], few)
        np.testing.assert_allclose(found.points, expected.points, atol=0.01)
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=0.01)
        assert found.deviation is None
    assert set(exported.trained_on) == set(loaded.trained_on)


def test_the_predictor_takes_it(of_all, small, faces):
    out, _, _ = of_all
    predictor = KeypointPredictor.from_checkpoint(out, source="sparse")
    rows = faces.source == 1
    expected = predict_table(load_models(out), faces.take(rows)).points
    np.testing.assert_allclose(predictor(faces.images[rows])[0], expected, atol=1e-3)
    assert predictor(faces.images[:0])[0].shape == (0, 15, 2)
    with pytest.raises(UserError, match="load one"):
        predictor.heatmaps(faces.images[:1])
    first = KeypointPredictor.from_checkpoint(small[0])
    assert first(faces.images[:3])[0].shape == (3, 15, 2)
    with pytest.raises(UserError, match="source=all"):
        first(faces.images[:3], source="sparse")


def test_another_decoder_than_the_exported_one_is_refused(of_all):
    assert load_models(of_all[0], DecoderOverride(flip=True))[0].model.decoder.flip
    with pytest.raises(UserError, match=r"decoder\.rule=dark: .* was exported with mean; export it again"):
        load_models(of_all[0], DecoderOverride(rule="dark"))


def test_what_is_not_an_exported_file_is_refused(tmp_path, of_all):
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="not an ONNX file"):
        load_models(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="does not exist"):
        load_models(tmp_path / "b.onnx")
    model = onnx.load(of_all[0])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "c.onnx")
    with pytest.raises(UserError, match=r"not written by facekp\.export"):
        load_models(tmp_path / "c.onnx")
