"""Exports: files that say what they are, and none that differs from its checkpoint."""

import json

import numpy as np
import onnx
import pytest
import torch

from facekp.core.errors import UserError
from facekp.models.checkpoint import load_checkpoint
from facekp.models.export import run
from facekp.models.export.check import LIMITS, compare
from facekp.models.export.run import EXTRA_FILE
from facekp.models.settings import DecoderOverride
from tests.conftest import REPOSITORY
from tests.exports import QUICK, export


def test_the_metadata_describes_the_graph(of_all, ckpt):
    out, check, _ = of_all
    entry = json.loads({prop.key: prop.value for prop in onnx.load(out).metadata_props}["facekp"])
    assert entry["check"] == check
    assert entry["keypoints"] == load_checkpoint(ckpt).model.keypoints.to_dict()
    assert entry["size"] == [96, 96]
    assert entry["source"] is None
    assert entry["precision"] == "float32"
    assert entry["decoder"]["scale"] == 0.05


def test_no_path_of_this_machine_is_written(of_all, small):
    for path in (of_all[0], small[0]):
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert str(REPOSITORY).encode() not in content
        assert not any(node.metadata_props for node in onnx.load(path).graph.node)


@pytest.mark.slow
def test_torch_export_writes_a_program_that_predicts(ckpt, tmp_path, faces):
    check = export(ckpt, tmp_path / "a.pt2", "format=torch_export", "decoder.flip=true")
    assert check["furthest"] <= 0.01
    extra = {EXTRA_FILE: ""}
    module = torch.export.load(tmp_path / "a.pt2", extra_files=extra).module()
    loaded = load_checkpoint(ckpt)
    loaded.model.override_decoder(DecoderOverride(flip=True))
    dense = faces.take(np.flatnonzero(faces.source == 0)[:7])
    assert compare(loaded, lambda images, source: module(images), dense)["furthest"] <= 0.01
    assert json.loads(extra[EXTRA_FILE])["source"] == "dense"


def test_a_file_that_differs_too_much_is_written_only_with_force(ckpt, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "float32", ("furthest", -1.0))
    with pytest.raises(UserError, match="force=true"):
        export(ckpt, tmp_path / "a.pt2", *QUICK)
    assert not list(tmp_path.iterdir())
    export(ckpt, tmp_path / "a.pt2", *QUICK, "force=true")
    assert (tmp_path / "a.pt2").is_file()


def test_a_network_that_can_t_be_traced_is_refused_in_one_line(ckpt, monkeypatch):
    def trace(*arguments):
        raise RuntimeError("Constraints violated (batch)!\nMore lines")

    monkeypatch.setattr(run, "trace", trace)
    with pytest.raises(UserError, match=r"^[^\n]*: its network or decoder can't be traced \(Constraints [^\n]*$"):
        export(ckpt, "a.pt2", *QUICK)


def test_an_unknown_source_and_too_few_faces_are_refused(ckpt, tmp_path):
    with pytest.raises(UserError, match="source=other: choose one of dense, sparse, all"):
        export(ckpt, tmp_path / "a.onnx", "source=other")
    with pytest.raises(UserError, match="at least 2"):
        export(ckpt, tmp_path / "a.onnx", "data.rows=1")


def test_without_the_competition_s_files_the_check_uses_drawn_faces(ckpt, tmp_path, caplog):
    given = ["data=kaggle", f"data.dir={tmp_path}", "check=4", *QUICK]
    check = export(ckpt, tmp_path / "a.pt2", *given)
    assert check["faces"] == 4
    assert check["furthest"] <= 0.01
    assert check["rmse"] is None
    assert "training.csv not found" in caplog.text
    assert "checked on drawn faces" in caplog.text


def test_the_first_axis_is_called_batch(of_all):
    inputs, outputs = onnx.load(of_all[0]).graph.input, onnx.load(of_all[0]).graph.output
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in [*inputs, *outputs]} == {"batch"}
