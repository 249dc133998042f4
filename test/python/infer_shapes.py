"""Types as the ONNX package infers them, from those of the inputs alone.

Reads paths of models on stdin, one per line. Prints one line of JSON per model: {"error": text} where strict inference
fails, else {"nodes": [[type, dims] or null per output, per node]}; a dimension is a number, a name or null.
"""

import json
import sys

import onnx


def inferred(path):
    model = onnx.load(path)
    del model.graph.value_info[:]
    for item in model.graph.output:
        if item.type.HasField("tensor_type"):
            item.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:
        return {"error": str(error)}
    known = {item.name: item.type for item in [*graph.value_info, *graph.output]}

    def described(name):
        kind = known.get(name)
        if kind is None or not kind.HasField("tensor_type"):
            return None
        tensor = kind.tensor_type
        if not tensor.HasField("shape"):
            return [tensor.elem_type, None]
        dims = [dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim]
        return [tensor.elem_type, dims]

    return {"nodes": [[described(name) for name in node.output] for node in graph.node]}


for line in sys.stdin.read().splitlines():
    print(json.dumps(inferred(line)))
