"""Checkpoints: self-contained, plain, of any older version; what is not one is refused in one line."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from facekp import KeypointPredictor
from facekp.core.errors import UserError
from facekp.data.near_duplicates import image_hashes
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.decoders import DECODERS
from facekp.models.checkpoint import KEY, describe, load_checkpoint, migrate_entry, read_tensors, upgrade_names
from facekp.models.settings import DecoderOverride, DecoderSettings
from tests.conftest import FIXTURES


def test_a_checkpoint_knows_what_trained_it_and_rebuilds_its_model(tiny_run, ckpt, scheme):
    loaded = load_checkpoint(ckpt)
    table = draw_faces(60, 0, scheme)
    split = pd.read_csv(tiny_run / "split.csv")
    expected = image_hashes(table.images[(split["set"] == "train").to_numpy()])
    assert set(loaded.trained_on.tolist()) == set(expected.tolist())
    assert loaded.model.keypoints == scheme
    assert loaded.config["data"]["rows"] == 60
    assert not loaded.model.training


def test_everything_in_it_is_plain(tiny_run):
    entry = read_tensors(tiny_run / "checkpoints" / "last.ckpt")[KEY]

    def kinds(value):
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return {type(value)} if items is None else set().union(*map(kinds, items))

    assert kinds(entry) <= {str, int, float, bool, type(None), torch.Tensor}
    assert entry["plugins"] == []


def test_the_published_weights_are_a_checkpoint(seed_weights):
    loaded = load_checkpoint(seed_weights)
    assert loaded.trained_on is None
    assert loaded.model.codec.stride == 1
    assert loaded.model.decoder == DecoderSettings(rule="argmax", flip=False, floor=0.0, shift=0.0, scale=0.0)
    assert (loaded.model.mean_face == 47.5).all()  # unknown: the image's centre


# Older files.


@pytest.mark.parametrize("run", ["run", "run_ema", "run_older"])
def test_checkpoints_of_version_0_1_predict_what_their_run_recorded(run, scheme):
    loaded = load_checkpoint(FIXTURES / run / "checkpoints" / "best.ckpt")
    recorded = pd.read_csv(FIXTURES / run / "predictions.csv")
    table = draw_faces(60, 0, scheme)
    row = table.row.tolist().index(recorded["row"][0])
    first = recorded[recorded["row"] == recorded["row"][0]]
    images, source = torch.from_numpy(table.images[row])[None, None], torch.tensor([int(table.source[row])])
    points = loaded.model.predict(images, source).points[0, [scheme.names.index(name) for name in first["keypoint"]]]
    np.testing.assert_allclose(points.numpy(), first[["x", "y"]], atol=1e-3)
    assert loaded.config["teacher"]["seen"] is False  # a key that run_older lacks


def test_a_calibrated_checkpoint_of_version_0_1_predicts_the_same(scheme):
    expected = json.loads((FIXTURES / "calibrated_answers.json").read_text())
    predictor = KeypointPredictor.from_checkpoint(FIXTURES / "calibrated.ckpt")
    prediction = predictor.predict(draw_faces(4, 7, scheme).images)
    for name in ("points", "confidence", "expected_error"):
        np.testing.assert_allclose(getattr(prediction, name), np.array(expected[name]), atol=1e-4)


def test_migration_fills_the_keys_that_older_versions_lack(ckpt):
    entry = read_tensors(ckpt)[KEY]
    older = {key: value for key, value in entry.items() if key not in ("offsets", "calibrations", "plugins")}
    older["decoder"] = {key: older["decoder"][key] for key in ("rule", "flip", "floor")}
    migrated = migrate_entry({**older, "format": 1})
    assert migrated["decoder"] == {**older["decoder"], "shift": 0.0, "scale": 0.0}
    assert (migrated["offsets"], migrated["calibrations"], migrated["plugins"]) == ({}, [], [])
    assert migrate_entry({**older, "format": 1, "calibration": None})["calibrations"] == []
    one = migrate_entry({**older, "format": 1, "calibration": {"decoder": {}}})
    assert one["calibrations"] == [{"decoder": {}}]
    assert "calibration" not in one
    assert "shift" not in older["decoder"]


def test_tensors_of_older_training_checkpoints_are_renamed():
    raw = torch.load(FIXTURES / "run_ema" / "checkpoints" / "last.ckpt", weights_only=True)
    assert raw[KEY]["format"] == 1
    before = list(raw["state_dict"])
    upgrade_names(raw)
    model = load_checkpoint(FIXTURES / "run_ema" / "checkpoints" / "last.ckpt").model
    names = {f"model.{name}" for name in model.state_dict()}
    assert names <= set(raw["state_dict"])
    assert names <= set(raw["current_model_state"])
    assert len(raw["state_dict"]) == len(before)


# Plug-ins.


def test_a_checkpoint_names_the_plugin_that_loading_it_needs(ckpt, tmp_path, monkeypatch):
    def middle(maps, cell, sigma):
        return cell.double()

    middle.__module__ = "mymodule"
    monkeypatch.setattr(DECODERS, "entries", dict(DECODERS.entries))
    DECODERS.register("middle")(middle)
    loaded = load_checkpoint(ckpt)
    loaded.model.override_decoder(DecoderOverride(rule="middle"))
    entry = describe(loaded.model, loaded.trained_on, loaded.config, loaded.labels)
    assert entry["plugins"] == [{"kind": DECODERS.kind, "name": "middle", "module": "mymodule"}]
    raw = read_tensors(ckpt)
    torch.save({**raw, KEY: entry}, tmp_path / "x.ckpt")
    assert load_checkpoint(tmp_path / "x.ckpt").model.decoder.rule == "middle"
    del DECODERS.entries["middle"]
    with pytest.raises(UserError, match=r"its decoder rule 'middle' .*mymodule.*; give plugins=\[mymodule\]"):
        load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        ([{"kind": "network", "name": "mine", "module": "a.b", "package": "facekp-mine"}], "pip install facekp-mine$"),
        ([{"kind": "network", "name": "mine", "module": "a.b"}], r"comes from the module a\.b .*plugins=\[a\.b\]$"),
        ([], "its network 'mine' is not part of this facekp; update facekp$"),
    ],
)
def test_a_network_that_is_not_installed_is_named_with_how_to_get_it(ckpt, tmp_path, plugins, message):
    raw = read_tensors(ckpt)
    raw[KEY]["model"]["network"] = {"name": "mine", "width": 3}
    raw[KEY]["plugins"] = plugins
    with pytest.raises(UserError, match=message) as error:
        load_checkpoint(write(tmp_path / "x.ckpt", raw))
    assert "\n" not in str(error.value)


def test_nothing_that_a_file_names_is_imported(ckpt, tmp_path, monkeypatch):
    (tmp_path / "never_imported.py").write_text("raise SystemExit('this must never run')")
    monkeypatch.syspath_prepend(tmp_path)
    raw = read_tensors(ckpt)
    raw[KEY]["model"]["network"] = {"name": "mine"}
    raw[KEY]["plugins"] = [{"kind": "network", "name": "mine", "module": "never_imported"}]
    with pytest.raises(UserError, match="never_imported"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


# Files that are not valid.


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


class Payload:
    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a checkpoint"),
        (b"<html>not found</html>", "not a checkpoint"),
        (b"PK\x03\x04 cut short", "is damaged"),
        ({"state_dict": {}}, "was not written by facekp"),
        ([1, 2], "holds a list"),
        ({KEY: {"format": 99}, "state_dict": {}}, "format 99 is newer"),
        ({KEY: {"format": -1}, "state_dict": {}}, "its format or its weights are damaged"),
        ({KEY: {"format": 2}, "state_dict": [1]}, "its format or its weights are damaged"),
        ({KEY: {"format": 2}}, "its format or its weights are damaged"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as error:
        load_checkpoint(write(tmp_path / "x.ckpt", content))
    assert "x.ckpt" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_changed_byte_of_a_weight_is_refused(ckpt, tmp_path):
    content = bytearray(ckpt.read_bytes())
    weights = torch.load(ckpt, weights_only=True)["state_dict"]["model.mean_face"].numpy().tobytes()
    content[content.index(weights)] ^= 1  # the last bit of a number
    with pytest.raises(UserError, match=r"is damaged \(the checksum of .*data/\d+ is wrong\)"):
        load_checkpoint(write(tmp_path / "x.ckpt", bytes(content)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trained_on", torch.ones(3)),
        ("labels", torch.zeros(1, 1, dtype=torch.int64)),
        ("config", {"data": [1]}),
        ("config", [1]),
        ("size", [0, -5]),
        ("size", ["a", "b"]),
        ("size", [0, 0]),
        ("size", [96.0, 96.0]),
        ("size", [1 << 30, 1 << 30]),
        ("keypoints", {"name": {}, "names": 5}),
        (
            "calibrations",
            [{"decoder": {}, "deviation": [1.0], "error": [float("nan")], "factor": [[1.0]], "reliability": {}}],
        ),
        ("calibrations", [{"decoder": {}, "deviation": [1.0], "error": [1.0], "factor": [[1.0]], "reliability": {}}]),
        ("calibrations", [1]),
        ("calibrations", 5),
        ("decoder", {"rule": ["subpixel"]}),
    ],
)
def test_a_setting_of_another_type_is_reported(ckpt, tmp_path, key, value):
    raw = read_tensors(ckpt)
    raw[KEY][key] = value
    with pytest.raises(UserError, match=r"x\.ckpt: ") as error:
        load_checkpoint(write(tmp_path / "x.ckpt", raw))
    assert "\n" not in str(error.value)


def test_a_tensor_without_a_name_is_damage(ckpt, tmp_path):
    raw = read_tensors(ckpt)
    raw["state_dict"][5] = torch.zeros(1)
    with pytest.raises(UserError, match=r"x\.ckpt: its format or its weights are damaged"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


@pytest.mark.parametrize("damage", ["size", "model", "keypoints", "trained_on"])
def test_a_missing_setting_is_reported_as_damage(ckpt, tmp_path, damage):
    raw = read_tensors(ckpt)
    del raw[KEY][damage]
    with pytest.raises(UserError, match="settings are damaged"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


def test_an_invalid_setting_is_named_with_the_file(ckpt, tmp_path):
    raw = read_tensors(ckpt)
    raw[KEY]["model"]["sigma"] = -1.0
    with pytest.raises(UserError, match=r"x\.ckpt: model\.sigma=-1\.0: must be at least 0\.05"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


def test_code_in_a_file_never_runs(tmp_path, capsys):
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(write(tmp_path / "x.ckpt", {"a": Payload()}))
    assert "must never run" not in capsys.readouterr().out


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(tmp_path / "no.ckpt")
    with pytest.raises(UserError, match="is a folder"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_cut_short_is_refused(ckpt, tmp_path):
    whole = ckpt.read_bytes()
    with pytest.raises(UserError, match=r"x\.ckpt: is damaged .*; copy it again, or take another checkpoint"):
        load_checkpoint(write(tmp_path / "x.ckpt", whole[: len(whole) // 2]))


def test_a_missing_tensor_is_reported(ckpt, tmp_path):
    raw = read_tensors(ckpt)
    raw["state_dict"].popitem()
    with pytest.raises(UserError, match="do not match the file's settings"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


def test_weights_that_do_not_fit_the_network_of_a_plug_in_name_its_package(ckpt, tmp_path):
    raw = torch.load(ckpt, weights_only=True)
    raw["state_dict"].popitem()
    raw["facekp"]["plugins"] = [{"kind": "network", "name": "star", "module": "starlib.net", "package": "starlib"}]
    torch.save(raw, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="; install the version of starlib that trained it, or take another checkpoint"):
        load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(ckpt, tmp_path, value):
    raw = torch.load(ckpt, weights_only=True)
    name = next(key for key in raw["state_dict"] if key.endswith("weight"))
    raw["state_dict"][name].view(-1)[0] = value
    torch.save(raw, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=r"bad\.ckpt: its weights .*weight are not finite: the training diverged"):
        load_checkpoint(tmp_path / "bad.ckpt")


def test_weights_that_float32_can_t_hold_are_refused(ckpt, tmp_path):
    raw = torch.load(ckpt, weights_only=True)
    name = next(key for key in raw["state_dict"] if key.endswith("weight"))
    raw["state_dict"][name] = raw["state_dict"][name].double() * 1e300
    torch.save(raw, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match="are not finite"):
        load_checkpoint(tmp_path / "bad.ckpt")


def test_an_offset_that_is_not_finite_is_refused(ckpt, tmp_path):
    raw = read_tensors(ckpt)
    raw[KEY]["offsets"] = {"dense": float("nan")}
    with pytest.raises(UserError, match="its weights offsets are not finite"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("offsets", "dense", 1e30, r"offsets\.dense=1e\+30: must be pixels"),
        ("decoder", "shift", 1e9, r"decoder\.shift=1000000000\.0: must be below"),
        ("model", "sigma", 1e6, "sigma: 1000000.0 is wider than the image"),
    ],
)
def test_a_distance_larger_than_the_image_is_refused(ckpt, tmp_path, part, key, value, message):
    raw = read_tensors(ckpt)
    raw[KEY][part] = {**raw[KEY][part], key: value}
    with pytest.raises(UserError, match=message):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


def test_published_weights_that_are_not_finite_are_refused(seed_weights, tmp_path):
    raw = torch.load(seed_weights, map_location="cpu", weights_only=True)
    name = next(key for key in raw if key.endswith("weight"))
    raw[name].view(-1)[0] = torch.nan
    torch.save(raw, tmp_path / "published.ckpt")
    with pytest.raises(UserError, match=r"published\.ckpt: its weights .* are not finite"):
        load_checkpoint(tmp_path / "published.ckpt")
