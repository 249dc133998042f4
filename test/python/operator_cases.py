"""The operator test models of the ONNX package, and the files they are written to."""

import os
import pickle

import onnx
import onnx.backend.test
import onnx.version_converter
from onnx import TensorProto, numpy_helper

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
DATA = os.path.join(os.path.dirname(onnx.backend.test.__file__), "data")
FOLDERS = ["pytorch-operator", "pytorch-converted", "simple"]


def subgraphs(node):
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs


def operators(graph):
    """Operator types of the graph with their domains, subgraphs included, in order of appearance."""
    for node in graph.node:
        yield node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        for inner in subgraphs(node):
            yield from operators(inner)


def cases():
    """(name, model, inputs of the first data set by position), in order of kind and name."""
    from onnx.backend.test.case.node import collect_testcases

    for case in sorted(collect_testcases(None), key=lambda item: item.name):
        yield case.name, case.model, list(case.data_sets[0][0]) if case.data_sets else []
    for folder in FOLDERS:
        for name in sorted(os.listdir(os.path.join(DATA, folder))):
            path = os.path.join(DATA, folder, name)
            model = onnx.load(os.path.join(path, "model.onnx"))
            yield f"{folder}/{name}", model, data_set(model, os.path.join(path, "test_data_set_0"))


def data_set(model, folder):
    result = []
    fed = [item for item in model.graph.input]
    for i, item in enumerate(fed):
        path = os.path.join(folder, f"input_{i}.pb")
        if not os.path.exists(path):
            break
        kind = item.type.WhichOneof("value")
        if kind != "tensor_type":
            sequence = onnx.SequenceProto()
            with open(path, "rb") as file:
                sequence.ParseFromString(file.read())
            result.append(numpy_helper.to_list(sequence))
            continue
        tensor = onnx.TensorProto()
        with open(path, "rb") as file:
            tensor.ParseFromString(file.read())
        result.append(numpy_helper.to_array(tensor))
    return result


def element_type(item):
    return item.type.tensor_type.elem_type if item.type.WhichOneof("value") == "tensor_type" else 0


def description(name, model):
    graph = model.graph
    stored = [item.name for item in graph.initializer]
    floats = [item.name for item in graph.input if element_type(item) in FLOATS and item.name not in stored]
    floats += [item.name for item in graph.initializer if item.data_type in FLOATS]
    return {
        "name": name,
        "operators": list(dict.fromkeys(operators(graph))),
        "opset": max([item.version for item in model.opset_import if item.domain in ("", "ai.onnx")], default=1),
        "inputs": floats,
        "outputs": [item.name for item in graph.output if element_type(item) in FLOATS],
    }


def file_of(folder, name, suffix):
    return os.path.join(folder, name.replace("/", "__") + suffix)


def slopes_fit(model):
    """Whether slopes of PRelu broadcast: the converter leaves the one per channel that they could be before opset 7."""
    sizes = {item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in model.graph.input}
    for node in model.graph.node:
        if node.op_type == "PRelu":
            x, slope = (sizes.get(name, []) for name in node.input)
            if any(b not in (1, a) for a, b in zip(x[::-1], slope[::-1])):
                return False
    return True


def cases_with_conversions():
    """The cases, and those of opsets below 7 once more as the version converter of ONNX brings them to 13."""
    for name, model, inputs in cases():
        yield name, model, inputs
        if 1 < description(name, model)["opset"] < 7:
            try:
                converted = onnx.version_converter.convert_version(model, 13)
            except (RuntimeError, onnx.version_converter.ConvertError):
                continue
            if not slopes_fit(converted):
                continue
            yield f"{name}_at_13", converted, inputs


def write(folder, one_per_operator):
    chosen = []
    covered = set()
    for name, model, inputs in cases_with_conversions():
        about = description(name, model)
        if one_per_operator:
            new = [op for op in about["operators"] if op not in covered]
            if not new or "_expanded" in name or not about["inputs"] or not about["outputs"] or about["opset"] < 7:
                continue
            covered.update(new)
        onnx.save(model, file_of(folder, name, ".onnx"))
        with open(file_of(folder, name, ".pickle"), "wb") as file:
            pickle.dump([plain(value) for value in inputs], file)
        chosen.append({**about, "file": file_of(folder, name, ".onnx")})
    return chosen


def plain(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
