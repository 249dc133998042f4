"""Other forms of the same exported model, each as a converter or another exporter would write it.

Arguments: a model file, a folder. Writes NAME.onnx per variant into the folder and prints {NAME: null or what the
converter said when it refused}. The variants:

opset-N   brought to another opset by the version converter of the ONNX package, down and up
ir3       IR version 3: every initializer is a graph input too
external  weights in a data file
float16, float16-io  by the converter of ONNX Runtime; with float32 inputs and outputs
rounded   the file itself with its weights rounded to float16: what the float16 models are compared with
dynamic   every batch size, height and width a name, nothing known inside
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, version_converter
from onnxruntime.transformers.float16 import convert_float_to_float16

OPSETS = [11, 13, 15, 17, 19, 21, 23, 25]


def copy_of(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def converted(model, opset):
    """The model at that opset; raises what the converter or the checker says."""
    other = version_converter.convert_version(copy_of(model), opset)
    onnx.checker.check_model(other, full_check=True)
    return other


def inputs_too(model):
    other = copy_of(model)
    other.ir_version = 3
    for item in other.graph.initializer:
        other.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)))
    return other


def stored_tensors(model):
    """Initializers and the tensors of Constant nodes, by name."""
    yield from ((item.name, item) for item in model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], item.t) for item in node.attribute if item.name == "value")


def rounded_as(model, half):
    """The model with every tensor rounded that is float16 in `half`."""
    other = copy_of(model)
    kinds = {name: numpy_helper.to_array(tensor) for name, tensor in stored_tensors(half) if tensor.data_type == TensorProto.FLOAT16}
    for name, tensor in stored_tensors(other):
        if name in kinds and tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(kinds[name].astype(np.float32), tensor.name))
    return other


def dynamic(model):
    other = copy_of(model)
    del other.graph.value_info[:]
    for item in other.graph.input:
        rank = len(item.type.tensor_type.shape.dim)
        for axis, name in {0: "batch", 2: "height", 3: "width"}.items():
            if axis < rank:
                item.type.tensor_type.shape.dim[axis].dim_param = name
    for item in other.graph.output:
        for axis, dim in enumerate(item.type.tensor_type.shape.dim):
            dim.dim_param = f"{item.name}_{axis}"
    return other


def variants(path, folder):
    model = onnx.load(path)
    said = {}

    def write(name, make, **options):
        try:
            onnx.save(make(), os.path.join(folder, f"{name}.onnx"), **options)
            said[name] = None
        except (RuntimeError, version_converter.ConvertError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            said[name] = " ".join(str(error).split())

    own = next(item.version for item in model.opset_import if item.domain == "")
    for opset in OPSETS:
        if opset != own:
            write(f"opset-{opset}", lambda opset=opset: converted(model, opset))
    write("ir3", lambda: inputs_too(model))
    write("external", lambda: copy_of(model), save_as_external_data=True, location="external.data", size_threshold=256)
    half = convert_float_to_float16(copy_of(model), keep_io_types=False)
    write("float16", lambda: half)
    write("float16-io", lambda: convert_float_to_float16(copy_of(model), keep_io_types=True))
    write("rounded", lambda: rounded_as(model, half))
    write("dynamic", lambda: dynamic(model))
    return said


if __name__ == "__main__":
    print(json.dumps(variants(sys.argv[1], sys.argv[2])))
