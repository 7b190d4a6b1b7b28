"""BestAndLastCheckpoints: self-contained, plain, and clear about what is none."""

import pytest
import torch

from facekp.core.errors import UserError
from facekp.data.split import image_hashes
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import KEY, load_checkpoint


def test_a_checkpoint_tells_what_trained_it_and_rebuilds_its_detector(tiny_run, scheme):
    import pandas as pd

    trained = load_checkpoint(tiny_run / "checkpoints" / "best.ckpt")
    table = draw_faces(60, 0, scheme)
    split = pd.read_csv(tiny_run / "split.csv")
    expected = image_hashes(table.images[(split["set"] == "train").to_numpy()])
    assert set(trained.trained_on.tolist()) == set(expected.tolist())
    assert trained.model.keypoints == scheme
    assert trained.config["data"]["rows"] == 60
    assert not trained.model.training


def test_everything_in_it_is_plain(tiny_run):
    raw = torch.load(tiny_run / "checkpoints" / "last.ckpt", weights_only=True)
    entry = raw[KEY]

    def kinds(value):
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values())) if value else set()
        if isinstance(value, list):
            return set().union(*map(kinds, value)) if value else set()
        return {type(value)}

    assert kinds(entry) <= {str, int, float, bool, type(None), torch.Tensor}


def test_the_published_weights_are_a_checkpoint(seed_weights):
    trained = load_checkpoint(seed_weights)
    assert trained.trained_on is None
    assert trained.model.codec.stride == 1
    assert trained.model.decoder == {"rule": "argmax", "flip": False, "floor": 0.0, "shift": 0.0, "scale": 0.0}
    assert (trained.model.mean_face == 47.5).all()  # unknown: the image's centre


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
    ("content", "told"),
    [
        (b"", "is no checkpoint"),
        (b"<html>not found</html>", "is no checkpoint"),
        (b"PK\x03\x04 cut short", "is no checkpoint"),
        ({"state_dict": {}}, "was not written by facekp"),
        ([1, 2], "holds a list"),
        ({KEY: {"format": 99}, "state_dict": {}}, "format 99 is newer"),
    ],
)
def test_what_is_no_checkpoint_is_told_so(tmp_path, content, told):
    with pytest.raises(UserError, match=told) as error:
        load_checkpoint(write(tmp_path / "x.ckpt", content))
    assert "x.ckpt" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["size", "model", "keypoints", "trained_on"])
def test_damaged_settings_are_told_so(tiny_run, tmp_path, damage):
    raw = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    del raw[KEY][damage]
    with pytest.raises(UserError, match="settings are damaged"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))


def test_code_in_a_file_never_runs(tmp_path, capsys):
    with pytest.raises(UserError, match="is no checkpoint"):
        load_checkpoint(write(tmp_path / "x.ckpt", {"a": Payload()}))
    assert "must never run" not in capsys.readouterr().out


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(tmp_path / "no.ckpt")
    with pytest.raises(UserError, match="is a folder"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_cut_short_is_told_so(tiny_run, tmp_path):
    whole = (tiny_run / "checkpoints" / "best.ckpt").read_bytes()
    with pytest.raises(UserError, match="is no checkpoint"):
        load_checkpoint(write(tmp_path / "x.ckpt", whole[: len(whole) // 2]))


def test_weights_that_lack_a_tensor_are_told_so(tiny_run, tmp_path):
    raw = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    raw["state_dict"].popitem()
    with pytest.raises(UserError, match="don't fit their own settings"):
        load_checkpoint(write(tmp_path / "x.ckpt", raw))
