"""YuNet's file: the one that facekp ships, damaged ones, and those of users."""

import hashlib
import shutil

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.photos import yunet
from facekp.photos.yunet import MAX_MODEL_BYTES, WEIGHTS, load_yunet
from tests.conftest import REPOSITORY


def test_the_shipped_file_is_the_published_one():
    content = WEIGHTS.read_bytes()
    assert len(content) == 232_589
    digest = hashlib.sha256(content).hexdigest()
    assert digest == "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def test_the_licence_of_the_file_is_beside_it():
    licence = (WEIGHTS.parent / "LICENSE").read_text()
    assert licence.startswith("MIT License\n\nCopyright (c) 2020 Shiqi Yu")
    assert "src/facekp/photos/weights/LICENSE" in (REPOSITORY / "pyproject.toml").read_text()


@pytest.mark.parametrize(("content", "state"), [(b"damaged", "is damaged"), (None, "is missing")])
def test_a_damaged_file_of_the_package_is_named(tmp_path, monkeypatch, content, state):
    file = tmp_path / "yunet.onnx"
    if content is not None:
        file.write_bytes(WEIGHTS.read_bytes()[:-7] + content)
    monkeypatch.setattr(yunet, "WEIGHTS", file)
    with pytest.raises(UserError) as error:
        load_yunet(None, 0.6, 0.3)
    assert str(error.value) == f"{file}: {state}; install facekp again, or use detector=haar"


def test_another_file_of_the_same_kind_is_used(tmp_path):
    shutil.copy(WEIGHTS, tmp_path / "größer.onnx")
    detector = load_yunet(tmp_path / "größer.onnx", 0.6, 0.3)
    detector.setInputSize((100, 80))
    assert detector.detect(np.zeros((80, 100, 3), np.uint8))[1] is None


def small_onnx(path):
    """A model that OpenCV can read: it adds 1."""
    onnx = pytest.importorskip("onnx")
    shape = [1, 3, 64, 64]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("input", "cls_8")]
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["input", "one"], ["cls_8"])], "g", *[[e] for e in ends], [one]
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=8), path)


@pytest.mark.parametrize("kind", ["text", "empty", "cut off", "another model"])
def test_a_file_that_is_no_yunet_is_refused_in_one_line(tmp_path, capfd, kind):
    file = tmp_path / "model.onnx"
    contents = {"text": b"not a model", "empty": b"", "cut off": WEIGHTS.read_bytes()[:100_000]}
    if kind in contents:
        file.write_bytes(contents[kind])
    else:
        small_onnx(file)
    with pytest.raises(UserError) as error:
        load_yunet(file, 0.6, 0.3)
    assert str(error.value).startswith(f"detector.model={file}: is not an ONNX file of YuNet; give one")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""  # OpenCV prints nothing


def test_a_missing_and_a_huge_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"detector\.model=.*nowhere\.onnx: no such file"):
        load_yunet(tmp_path / "nowhere.onnx", 0.6, 0.3)
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(MAX_MODEL_BYTES + 1)
    with pytest.raises(UserError, match="is larger than 64 MiB"):
        load_yunet(tmp_path / "huge.onnx", 0.6, 0.3)
