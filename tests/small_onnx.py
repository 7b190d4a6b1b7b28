"""A file of `facekp.export` with a small graph: made in milliseconds, where an export takes many seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch

from facekp.models.checkpoint import load_checkpoint
from facekp.models.export.onnx_file import OPSET, attach, describe
from facekp.models.onnx_model import load_onnx


def write_small_onnx(path: Path, ckpt: Path) -> Path:
    """Write a graph that predicts the same points for every image, with the metadata that `facekp.export` writes.

    Args:
        path: the file.
        ckpt: checkpoint of a scheme of 15 points, whose settings the metadata have.
    """
    points = np.linspace(0, 95, 30, dtype=np.float32).reshape(1, 15, 2)
    tensors = {"points0": points, "confidence0": points[..., 0] / 96, "zero": np.array([0]), "one": np.array([1])}
    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [make("Shape", ["images"], ["shape"]), make("Gather", ["shape", "zero"], ["rows"])]
    for name, dims in (("points", ["rows", "one", "one"]), ("confidence", ["rows", "one"])):
        nodes += [make("Concat", dims, [f"{name}1"], axis=0), make("Expand", [f"{name}0", f"{name}1"], [name])]
    graph = onnx.helper.make_graph(
        nodes,
        "faces",
        [value("images", onnx.TensorProto.FLOAT, ["batch", 1, 96, 96])],
        [
            value("points", onnx.TensorProto.FLOAT, ["batch", 15, 2]),
            value("confidence", onnx.TensorProto.FLOAT, ["batch", 15]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.save(model, path)
    attach(path, describe(load_checkpoint(ckpt), "float32", 0, None))
    predicted = load_onnx(path).model.predict(torch.zeros(3, 1, 96, 96), torch.zeros(3))
    np.testing.assert_array_equal(predicted.points[2], points[0])
    return path
