"""ONNX files predict as their checkpoint does; what is not one of facekp is refused in one line."""

import json

import numpy as np
import onnx
import pytest

from facekp import KeypointPredictor
from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.corruptions import CORRUPTIONS, CorruptionSettings
from facekp.models import robustness
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


def test_hashes_of_an_older_file_are_read(tmp_path, small, ckpt):
    hashes = load_checkpoint(ckpt).trained_on
    without_digest(small[0], tmp_path / "a.onnx", format=1, trained_on=hashes.tolist())
    (older,) = load_models(tmp_path / "a.onnx")
    assert older.trained_on.tolist() == hashes.tolist()


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


def test_a_source_that_it_does_not_predict_is_refused_before_the_first_row(small, faces, monkeypatch):
    (exported,) = load_models(small[0])
    monkeypatch.setattr(exported.model, "predict", lambda *_: pytest.fail("predicted"))
    with pytest.raises(UserError, match="predicts source=dense only; export it with source=all"):
        predict_table([exported], faces.take(np.argsort(faces.source)))  # sparse rows last


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


def test_a_changed_graph_is_noticed_by_its_digest(tmp_path, small):
    model = onnx.load(small[0])
    weights = onnx.numpy_helper.to_array(model.graph.initializer[-1]).copy()
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(weights + 1, model.graph.initializer[-1].name))
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(UserError, match=r"a\.onnx: is damaged \(its SHA-256 digest differs\)"):
        load_models(tmp_path / "a.onnx")


def test_weights_in_another_file_are_refused(tmp_path, small):
    model = onnx.load(small[0])
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(UserError, match=r"a\.onnx: has weights in another file"):
        load_models(tmp_path / "a.onnx")


def without_digest(path, target, **changes):
    """A copy as an older version wrote it, with other values in its metadata."""
    model = onnx.load(path)
    entry = json.loads(model.metadata_props[0].value)
    del entry["digest"]
    onnx.helper.set_model_props(model, {"facekp": json.dumps({**entry, **changes})})
    onnx.save(model, target)
    return model


def test_a_file_of_an_older_version_is_read_with_a_warning(tmp_path, small, caplog):
    without_digest(small[0], tmp_path / "a.onnx", format=1)
    load_models(tmp_path / "a.onnx")
    assert "a.onnx: an older facekp wrote it without a digest" in caplog.text
    without_digest(small[0], tmp_path / "b.onnx")
    with pytest.raises(UserError, match=r"b\.onnx: is damaged \(its digest is missing\)"):
        load_models(tmp_path / "b.onnx")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "x"},
        {"keypoints": {}},
        {"size": [96]},
        {"size": ["a", "b"]},
        {"source": "hand"},
        {"mean_face": [[1.0]]},
        {"decoder": [1]},
        {"trained_on": ["a"]},
        {"trained_on": "not base64"},
        {"trained_on": "AAAA"},
        {"data": 5},
        {"offsets": [1]},
        {"offsets": {"unknown_source": 1.0}},
        {"offsets": {"dense": "nan"}},
    ],
)
def test_damaged_metadata_are_reported_in_one_line(tmp_path, small, changes):
    without_digest(small[0], tmp_path / "a.onnx", **{"format": 1, **changes})
    with pytest.raises(UserError, match=r"a\.onnx") as error:
        load_models(tmp_path / "a.onnx")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("which", ["small", "of_all"])
def test_a_graph_with_weights_that_are_not_finite_is_refused(tmp_path, which, request):
    model = without_digest(request.getfixturevalue(which)[0], tmp_path / "a.onnx", format=1)
    arrays = [(tensor, onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer]
    tensor, weights = max(((t, a) for t, a in arrays if a.dtype == np.float32), key=lambda pair: pair[1].size)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full_like(weights, np.nan), tensor.name))
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(UserError, match=r"a\.onnx: its (predictions|weights .*) are not finite"):
        load_models(tmp_path / "a.onnx")


def test_offsets_of_the_labels_are_kept_for_corrupted_faces(tmp_path, small, faces, monkeypatch):
    entry = json.loads(onnx.load(small[0]).metadata_props[0].value)
    assert entry["offsets"] == {}
    assert load_models(small[0])[0].model.offsets == {}
    without_digest(small[0], tmp_path / "a.onnx", format=1, offsets={"dense": 0.5})
    models = load_models(tmp_path / "a.onnx")
    given = []

    def corrupt(table, conditions, seed, offset):
        given.append(offset)
        return table

    monkeypatch.setattr(robustness, "corrupted_table", corrupt)
    settings = parse(CorruptionSettings, {"seed": 0, **{name: [] for name in CORRUPTIONS}, "rotation": [30.0]}, "")
    robustness.predict_corrupted(models, faces, settings, lambda models, table: None)
    assert np.unique(given[0][0]).tolist() == [0.0, 0.5]
