"""Evaluates an ONNX graph of standard operators in float64 with PyTorch: every float32 tensor becomes a double.

An independent second implementation of the operators that training graphs are made of. It separates what a graph
computes from what float32 rounding makes of it. Input on stdin:
{"model": path, "feeds": {name: {"file", "dtype", "shape"}}, "outputs": [name], "folder": path}; writes one raw
little-endian float64 file per output into the folder and prints their shapes.
"""

import json
import sys

import numpy as np
import onnx
import onnx.numpy_helper
import torch

from torch_operators import OPERATORS, attribute, tensor


def names_read(node):
    """Inputs of a node and what its subgraphs may read."""
    inner = [name for item in node.attribute if item.HasField("g") for each in item.g.node for name in names_read(each)]
    outputs = [output.name for item in node.attribute if item.HasField("g") for output in item.g.output]
    return [*node.input, *inner, *outputs]


def operate(node, inputs):
    try:
        return OPERATORS[node.op_type]({item.name: attribute(item) for item in node.attribute}, *inputs)
    except Exception as error:
        raise RuntimeError(f"{node.op_type} {node.name}: {error}") from error


def evaluate(graph, values, wanted):
    remaining = {}
    for node in graph.node:
        for name in names_read(node):
            remaining[name] = remaining.get(name, 0) + 1
    for node in graph.node:
        inputs = [values[name] if name else None for name in node.input]
        if node.op_type == "If":
            chosen = "then_branch" if inputs[0].item() else "else_branch"
            branch = next(item.g for item in node.attribute if item.name == chosen)
            inner = evaluate(branch, dict(values), {output.name for output in branch.output})
            result = [inner[output.name] for output in branch.output]
        else:
            result = operate(node, inputs)
        outputs = result if isinstance(result, (tuple, list)) or hasattr(result, "_fields") else [result]
        for name, value in zip(node.output, outputs):
            values[name] = value
        for name in names_read(node):
            remaining[name] -= 1
            if remaining[name] == 0 and name not in wanted:
                values.pop(name, None)
    return values


def main():
    # Hundreds of small convolutions: with two threads each waits for the other, up to 60 times as long on a busy machine.
    torch.set_num_threads(1)
    job = json.load(sys.stdin)
    graph = onnx.load(job["model"]).graph
    values = {item.name: tensor(onnx.numpy_helper.to_array(item)) for item in graph.initializer}
    for name, feed in job["feeds"].items():
        values[name] = tensor(np.fromfile(feed["file"], dtype=feed["dtype"]).reshape(feed["shape"]))
    with torch.no_grad():
        values = evaluate(graph, values, set(job["outputs"]))
    shapes = {}
    for name in job["outputs"]:
        result = values[name].double().contiguous()
        result.numpy().tofile(f"{job['folder']}/{name}.f64")
        shapes[name] = list(result.shape)
    json.dump(shapes, sys.stdout)


if __name__ == "__main__":
    main()
