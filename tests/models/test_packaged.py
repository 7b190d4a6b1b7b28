"""The networks inside the package: their names, what they weigh, and that the fast one predicts like the other."""

from pathlib import Path

import numpy as np
import pytest

from facekp import KeypointPredictor
from facekp.core.errors import UserError
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import load_checkpoint
from facekp.models.packaged import PACKAGED, file_of
from tests.exports import export

MAX_BYTES = {"shipped": 2.1e6, "fast": 0.6e6}  # bytes


@pytest.fixture(scope="module")
def table(scheme):
    return draw_faces(60, 0, scheme)


@pytest.mark.parametrize("name", PACKAGED)
def test_every_name_is_a_file_of_the_package(name):
    assert file_of(name) == file_of(str(PACKAGED[name]))
    assert file_of(name).stat().st_size < MAX_BYTES[name]


def test_everything_else_is_a_path():
    assert file_of("outputs/fast") == Path("outputs/fast")
    assert file_of(Path("a.ckpt")) == Path("a.ckpt")


def test_the_fast_network_predicts_as_the_other_one_does(table):
    faces = table.take(np.flatnonzero(table.source == 0)[:40]).images
    shipped, fast = (KeypointPredictor.from_checkpoint(name)(faces)[0] for name in ("shipped", "fast"))
    assert np.sqrt(np.mean((shipped - fast) ** 2)) < 1.0


def test_the_fast_network_knows_both_sources_and_its_errors(table):
    fast = KeypointPredictor.from_checkpoint("fast", source="sparse")
    points, confidence = fast(table.images[:3])
    assert points.shape == (3, 15, 2)
    assert (confidence > 0).all()
    assert fast.predict(table.images[:3]).expected_error is not None


@pytest.mark.parametrize(("name", "use"), [("fast", "can only predict"), ("network.pt2", "is for other programs")])
def test_an_exported_file_is_no_checkpoint(name, use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("network.pt2").write_bytes(b"PK")
    with pytest.raises(UserError, match=f"an exported file, which {use}; give the checkpoint"):
        load_checkpoint(name)


def test_exporting_the_onnx_file_again_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^ckpt=fast: is an ONNX file already, .*; copy .*fast\.onnx$"):
        export("fast", tmp_path / "a.onnx")
