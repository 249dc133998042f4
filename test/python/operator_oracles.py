"""Evaluations of an operator model that are not ours: the reference evaluator of ONNX with every float type widened to
double, and the runtime as the file has it.
"""

import pickle

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from operator_cases import FLOATS, element_type, file_of, subgraphs


def feeds_of(model, inputs):
    """The inputs of a data set by name."""
    names = [item.name for item in model.graph.input]
    stored = {item.name for item in model.graph.initializer}
    # Files of the first IR versions list stored tensors as inputs too.
    free = names if len(inputs) == len(names) else [name for name in names if name not in stored]
    return {name: value for name, value in zip(free, inputs) if value is not None}


def widened(tensor):
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)


def widen_type(kind):
    which = kind.WhichOneof("value")
    if which == "tensor_type" and kind.tensor_type.elem_type in FLOATS:
        kind.tensor_type.elem_type = TensorProto.DOUBLE
    elif which == "sequence_type":
        widen_type(kind.sequence_type.elem_type)
    elif which == "optional_type":
        widen_type(kind.optional_type.elem_type)


def widen_nodes(nodes):
    for node in nodes:
        for item in node.attribute:
            if item.name in ("to", "dtype", "stash_type", "softmax_precision", "output_datatype") and item.i in FLOATS:
                item.i = TensorProto.DOUBLE
            if item.name in ("value_float", "value_floats"):
                array = np.array(item.f if item.name == "value_float" else list(item.floats), np.float64)
                item.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(array)))
            if item.HasField("t") and item.t.data_type in FLOATS:
                item.t.CopyFrom(widened(item.t))
        # A ConstantOfShape without a value makes float32 zeros.
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(onnx.helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))
        for inner in subgraphs(node):
            widen_graph(inner)


def widen_graph(graph):
    for item in [*graph.input, *graph.output, *graph.value_info]:
        widen_type(item.type)
    for item in graph.initializer:
        if item.data_type in FLOATS:
            item.CopyFrom(widened(item))
    widen_nodes(graph.node)


def in_double(model):
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    widen_graph(wide.graph)
    for function in wide.functions:
        widen_nodes(function.node)
    return wide


def wide_value(value):
    if isinstance(value, list):
        return [wide_value(item) for item in value]
    array = np.asarray(value)
    return array.astype(np.float64) if is_float(array) else array


def is_float(array):
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


class Unchecked(Exception):
    """The independent gradient cannot be had here; the message says why."""


# Inputs that set sizes, positions or chances: declared to have no gradient, and moving them would change shapes.
SETTINGS = {"Resize": [1, 2], "Upsample": [1], "RoiAlign": [1], "MaxRoiPool": [1], "Dropout": [1], "OneHot": [1], "Range": [1], "NonMaxSuppression": [0, 1]}
RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}


def settings_of(graph):
    return {node.input[i] for node in graph.node for i in SETTINGS.get(node.op_type, []) if i < len(node.input)}


def is_random(case):
    for node in case.model.graph.node:
        if node.op_type in RANDOM:
            return True
        if node.op_type == "Dropout" and len(node.input) > 2:
            ratio = case.base.get(node.input[1])
            if bool(case.base.get(node.input[2])) and not (ratio is not None and float(ratio) == 0):
                return True
    return False


class Oracle:
    """An evaluation of the model that is not ours, and the steps its precision allows."""

    def __init__(self, label, run, steps, smooth, allowed):
        self.label = label
        self.run = run
        self.steps = steps
        self.smooth = smooth
        self.allowed = allowed


def beyond_single(value):
    """Whether finite numbers are too large or too small for float32."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        return False
    size = np.abs(value[np.isfinite(value) & (value != 0)])
    return bool(np.any((size > 1e38) | (size < 1e-38)))


class Case:
    """One model, evaluated by the reference evaluator in float64 or by the runtime as the file has it."""

    def __init__(self, folder, name):
        self.path = file_of(folder, name, ".onnx")
        self.model = onnx.load(self.path)
        with open(file_of(folder, name, ".pickle"), "rb") as file:
            inputs = pickle.load(file)
        self.stored = {item.name: numpy_helper.to_array(item) for item in self.model.graph.initializer}
        self.feeds = feeds_of(self.model, inputs)
        # Some files have whatever was in memory, as doubles that float32, in which gradients are computed, does not reach.
        self.feeds = {name: 1 + np.arange(value.size).reshape(value.shape) / 8 if beyond_single(value) else value for name, value in self.feeds.items()}
        self.base = {name: wide_value(value) for name, value in {**self.stored, **self.feeds}.items()}
        self.settings = settings_of(self.model.graph)
        self.session = None
        self.evaluator = None
        self.oracles = [
            Oracle("reference", self.reference, (1e-4, 1e-5), 1e-5, 1e-3),
            # Some operators of the reference are float32 whatever comes in.
            Oracle("reference", self.reference, (2**-8, 2**-9), 1e-3, 4e-3),
            Oracle("runtime", self.runtime, (2**-8, 2**-9), 1e-3, 4e-3),
        ]

    def reference(self, feeds, output):
        if self.evaluator is None:
            wide = in_double(self.model)
            names = [item.name for item in wide.graph.input]
            # Stored tensors as inputs, so that they can be moved.
            for item in list(wide.graph.initializer):
                if item.name not in names:
                    wide.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)))
            del wide.graph.initializer[:]
            self.evaluator = ReferenceEvaluator(wide)
        (result,) = self.evaluator.run([output], feeds)
        return np.asarray(result, np.float64)

    def runtime(self, feeds, output):
        if self.session is None:
            loose = onnx.ModelProto()
            loose.CopyFrom(self.model)
            names = [item.name for item in loose.graph.input]
            # Stored floats as plain inputs: the runtime takes no other numbers for those that have a value already.
            moved = [item for item in loose.graph.initializer if item.data_type in FLOATS]
            for item in moved:
                if item.name not in names:
                    loose.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)))
                loose.graph.initializer.remove(item)
            self.session = Session(loose)
        return self.session.run(feeds, [output])[output]


ELEMENTS = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16}


def rounded(array, code):
    """The numbers a tensor of that type holds, in float64."""
    if code == TensorProto.BFLOAT16:
        import ml_dtypes

        return np.asarray(array).astype(ml_dtypes.bfloat16).astype(np.float64)
    return np.asarray(array, ELEMENTS[code]).astype(np.float64)


class Session:
    """A model on the runtime; bfloat16, which NumPy does not have, comes and goes as float32."""

    def __init__(self, model):
        import onnxruntime as ort

        def through(item, before):
            item.type.tensor_type.elem_type = TensorProto.FLOAT
            inner, outer = item.name, f"{item.name}/float32"
            if before:
                model.graph.node.insert(0, onnx.helper.make_node("Cast", [outer], [inner], to=TensorProto.BFLOAT16))
            else:
                model.graph.node.append(onnx.helper.make_node("Cast", [inner], [outer], to=TensorProto.FLOAT))
            item.name = outer

        self.codes = {item.name: element_type(item) for item in [*model.graph.input, *model.graph.output]}
        for item in model.graph.input:
            if element_type(item) == TensorProto.BFLOAT16:
                through(item, True)
        for item in model.graph.output:
            if element_type(item) == TensorProto.BFLOAT16:
                through(item, False)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.inputs = [item.name for item in self.session.get_inputs()]

    def run(self, feeds, names):
        def typed(name):
            kind = ELEMENTS.get(self.codes.get(name, 0))
            value = feeds[name]
            return value if isinstance(value, list) else np.asarray(value, kind)

        given = {}
        for name in self.inputs:
            own = name.removesuffix("/float32")
            if own in feeds:
                given[name] = np.asarray(feeds[own], np.float32) if own != name else typed(name)
        outer = [f"{name}/float32" if self.codes.get(name) == TensorProto.BFLOAT16 else name for name in names]
        return {name: np.asarray(value, np.float64) for name, value in zip(names, self.session.run(outer, given))}
