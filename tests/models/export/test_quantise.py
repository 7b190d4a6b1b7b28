"""int8: the convolutions inside are quantised, those at the ends are not."""

import json

import onnx


def test_inner_convolutions_are_quantised(small, of_all):
    graph = onnx.load(small[0]).graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    kinds = [made_by.get(node.input[0]) for node in graph.node if node.op_type == "Conv"]
    assert kinds[0] != "DequantizeLinear"
    assert kinds[-1] != "DequantizeLinear"
    assert kinds.count("DequantizeLinear") == len(kinds) - 2
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(of_all[0]).graph.node}
    assert json.loads(onnx.load(small[0]).metadata_props[0].value)["precision"] == "int8"
