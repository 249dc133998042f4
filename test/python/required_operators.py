"""Operators by domain and opset: as ONNX Runtime's parser reads a configuration, and as they stand in graphs. Arguments: the
configuration, the graphs. Prints both as JSON."""

import json
import sys

import onnx
from onnxruntime.tools.reduced_build_config_parser import parse_config

parsed, _ = parse_config(sys.argv[1])
used: dict[str, dict[int, set[str]]] = {}


def collect(graph: onnx.GraphProto, opsets: dict[str, int]) -> None:
    for node in graph.node:
        domain = node.domain or "ai.onnx"
        used.setdefault(domain, {}).setdefault(opsets[node.domain], set()).add(node.op_type)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                collect(attribute.g, opsets)


for path in sys.argv[2:]:
    model = onnx.load(path)
    collect(model.graph, {opset.domain: opset.version for opset in model.opset_import})


def listed(operators: dict[str, dict[int, set[str]]]) -> dict[str, dict[str, list[str]]]:
    return {domain: {str(opset): sorted(names) for opset, names in by_opset.items()} for domain, by_opset in operators.items()}


print(json.dumps({"parsed": listed(parsed), "used": listed(used)}))
