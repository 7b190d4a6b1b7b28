"""Packed checkpoints predict the same, are smaller, and hold no path of the machine that trained them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.settings import path_fields
from facekp.data.readers.base import READERS
from facekp.evaluate import main as evaluate
from facekp.models import packing
from facekp.models.checkpoint import LoadedCheckpoint, load_checkpoint, read_tensors
from facekp.models.ensemble import predict_table
from facekp.models.keypoint_model import KeypointModel
from facekp.models.packaged import PACKAGED
from facekp.models.packing import PATH_KEYS, pack
from facekp.models.settings import DecoderOverride
from facekp.training.settings import TrainSettings
from tests.conftest import composed, settings_of


def test_a_packed_checkpoint_predicts_the_same_at_half_the_size_or_less(tiny_run, tmp_path, faces):
    whole, packed = tiny_run / "checkpoints" / "best.ckpt", tmp_path / "deep" / "packed.ckpt"
    pack(whole, packed)
    assert packed.stat().st_size < whole.stat().st_size / 2
    before, after = load_checkpoint(whole), load_checkpoint(packed)
    np.testing.assert_array_equal(predict_table([after], faces).points, predict_table([before], faces).points)
    assert set(after.trained_on) == set(before.trained_on)


def test_weights_of_several_checkpoints_are_averaged_and_all_that_trained_them_is_kept(tiny_run, tmp_path):
    paths = [tiny_run / "checkpoints" / "best.ckpt", tmp_path / "other.ckpt"]
    raw = read_tensors(paths[0])
    changed = {name: value + 1 if value.is_floating_point() else value for name, value in raw["state_dict"].items()}
    hashes = raw["facekp"]["trained_on"]
    torch.save({**raw, "state_dict": changed, "facekp": {**raw["facekp"], "trained_on": hashes[:1] + 1}}, paths[1])
    pack(paths, tmp_path / "mean.ckpt")
    one, mean = load_checkpoint(paths[0]), load_checkpoint(tmp_path / "mean.ckpt")
    for name, value in one.model.network.state_dict().items():
        expected = value + 0.5 if value.is_floating_point() else value
        torch.testing.assert_close(mean.model.network.state_dict()[name], expected)
    assert set(mean.trained_on) == {*hashes.tolist(), int(hashes[0]) + 1}
    assert mean.model.calibrations == []


def test_weights_of_different_networks_are_not_averaged(tiny_run, tmp_path):
    with pytest.raises(UserError, match=r"another model than .*; weights can't be averaged"):
        pack([tiny_run / "checkpoints" / "best.ckpt", "shipped"], tmp_path / "mean.ckpt")


def test_published_weights_are_refused(seed_weights, tmp_path):
    with pytest.raises(UserError, match="there is nothing to pack"):
        pack(seed_weights, tmp_path / "x.ckpt")


def test_no_path_of_the_machine_that_trained_is_packed(tiny_run, tmp_path):
    raw = read_tensors(tiny_run / "checkpoints" / "best.ckpt")
    raw["facekp"]["config"] |= {"data": {"dir": "/home/user", "rows": 60}, "init_from": "/home/else/a.ckpt"}
    torch.save(raw, tmp_path / "whole.ckpt")
    pack(tmp_path / "whole.ckpt", tmp_path / "packed.ckpt")
    assert b"/home/" not in (tmp_path / "packed.ckpt").read_bytes()
    assert load_checkpoint(tmp_path / "packed.ckpt").config["data"]["rows"] == 60


def test_every_setting_that_holds_a_path_is_left_out():
    of_readers = (READERS.settings_class(path.stem) for path in (CONF_DIR / "data").glob("*.yaml"))
    keys = [*path_fields(TrainSettings), *(key for settings in of_readers for key in path_fields(settings))]
    assert {key.rpartition(".")[2] for key in keys} <= set(PATH_KEYS)


def test_a_decoder_given_becomes_the_packed_checkpoint_s(tiny_run, tmp_path):
    best = tiny_run / "checkpoints" / "best.ckpt"
    pack(best, tmp_path / "packed.ckpt", decoder=DecoderOverride(rule="mean", flip=True, shift=2.0))
    before, after = (load_checkpoint(path).model.decoder for path in (best, tmp_path / "packed.ckpt"))
    assert after == before.replaced(rule="mean", flip=True, shift=2.0)


def test_offsets_given_are_added_to_every_prediction(tiny_run, tmp_path, faces):
    best, packed = tiny_run / "checkpoints" / "best.ckpt", tmp_path / "packed.ckpt"
    pack(best, packed, offsets={"dense": 0.5, "sparse": 2})
    before, after = (predict_table([load_checkpoint(path)], faces).points for path in (best, packed))
    expected = faces.keypoints.offsets({"dense": 0.5, "sparse": 2})[faces.source]
    np.testing.assert_allclose(after - before, expected, atol=1e-4)
    assert load_checkpoint(packed).model.calibrations == []
    with pytest.raises(UserError, match=r"offsets.*hand.*dense, sparse"):
        pack(best, packed, offsets={"hand": 1})


def test_the_shipped_checkpoint_is_small_and_predicts_the_competition_s_faces(competition):
    assert PACKAGED["shipped"].stat().st_size < 6e6
    metrics = evaluate(composed("ckpt=shipped", f"data.dir={competition}", "data.cache=null", name="evaluate"))
    assert metrics["rmse/trimmed"] < 1.5  # on held-out rows; the mean face is off by 3 px


def test_half_precision_halves_it_and_hardly_moves_a_point(tiny_run, tmp_path, faces):
    best = tiny_run / "checkpoints" / "best.ckpt"
    pack(best, tmp_path / "whole.ckpt")
    pack(best, tmp_path / "half.ckpt", half=True)
    whole, half = (read_tensors(tmp_path / name)["state_dict"] for name in ("whole.ckpt", "half.ckpt"))
    kernels = [name for name, value in half.items() if value.dtype == torch.float16]
    assert all(name.startswith("model.network.") and half[name].ndim > 1 for name in kernels)
    assert sum(half[name].numel() for name in kernels) > 0.8 * sum(value.numel() for value in whole.values())
    points = predict_table([load_checkpoint(tmp_path / "half.ckpt")], faces).points
    expected = predict_table([load_checkpoint(best)], faces).points
    assert np.abs(points - expected).mean() < 0.05


def test_a_weight_beyond_half_precision_is_named(tiny_run, tmp_path):
    raw = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    name = next(key for key, value in raw["state_dict"].items() if key.startswith("model.network") and value.ndim == 4)
    raw["state_dict"][name].view(-1)[0] = 1e5
    torch.save(raw, tmp_path / "large.ckpt")
    pack(tmp_path / "large.ckpt", tmp_path / "whole.ckpt")
    with pytest.raises(UserError, match=rf"half=true: the weights {name} of .*large\.ckpt exceed 65504") as error:
        pack(tmp_path / "large.ckpt", tmp_path / "half.ckpt", half=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "half.ckpt").exists()


@pytest.mark.parametrize("key", ["loss.activation", "data.size", "data.channels", "data.offsets"])
def test_weights_that_mean_something_else_are_not_averaged(tiny_run, tmp_path, monkeypatch, key):
    agree = packing._what_must_agree
    calls = iter([1, 2])
    monkeypatch.setattr(packing, "_what_must_agree", lambda loaded: {**agree(loaded), key: next(calls)})
    files = [tiny_run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    with pytest.raises(UserError, match=rf"another {key} than .*; weights can't be averaged"):
        pack(files, tmp_path / "mean.ckpt")


def test_paths_of_free_callbacks_and_loggers_are_left_out():
    config = {"callbacks": {"mine": {"_target_": "a.B", "dirpath": "/home/me/x", "names": ["~/y", "val/rmse"]}}}
    assert packing._without_paths(config) == {
        "callbacks": {"mine": {"_target_": "a.B", "dirpath": None, "names": [None, "val/rmse"]}}
    }


def test_calibrations_are_kept_unless_the_predictions_change(tmp_path):
    calibrations = load_checkpoint("shipped").model.calibrations
    assert calibrations
    pack("shipped", tmp_path / "same.ckpt")
    pack("shipped", tmp_path / "moved.ckpt", offsets={"dense": 0.5})
    pack(["shipped", "shipped"], tmp_path / "mean.ckpt")
    kept = [load_checkpoint(tmp_path / f"{name}.ckpt").model.calibrations for name in ("same", "moved", "mean")]
    assert kept == [calibrations, [], []]


def test_the_mean_of_checkpoints_records_labels_and_images_only_where_all_of_them_do(tiny_run, tmp_path):
    best = tiny_run / "checkpoints" / "best.ckpt"
    raw = read_tensors(best)
    labels = raw["facekp"]["labels"]

    def packed_with(**values):
        torch.save({**raw, "facekp": {**raw["facekp"], **values}}, tmp_path / "other.ckpt")
        pack([best, tmp_path / "other.ckpt"], tmp_path / "mean.ckpt")
        return load_checkpoint(tmp_path / "mean.ckpt")

    most = packed_with(labels=labels.flip(1)).labels
    np.testing.assert_array_equal(most, np.maximum(labels.numpy(), labels.numpy()[:, ::-1]))
    assert packed_with(labels=None).labels is None
    assert packed_with(trained_on=None).trained_on is None


def test_weights_mean_something_else_with_every_setting_that_changes_their_maps(scheme, tmp_path):
    def meaning(keypoints=scheme, size=(96, 96), activation="softmax", offsets=None, image_channels=1):
        model = KeypointModel(
            keypoints, size, settings.model, activation, settings.decoder, offsets, image_channels=image_channels
        )
        return packing._what_must_agree(LoadedCheckpoint(tmp_path, model, None, {}))

    settings = settings_of("model.network.channels=8", "model.network.levels=1")
    usual = meaning()
    for key, changed in {
        "keypoints": {"keypoints": replace(scheme, names=scheme.names[::-1])},
        "loss.activation": {"activation": "none"},
        "data.size": {"size": (64, 64)},
        "data.channels": {"image_channels": 3},
        "data.offsets": {"offsets": {"sparse": 1.0}},
    }.items():
        assert [name for name, value in meaning(**changed).items() if value != usual[name]] == [key]
