"""The operator test models of the ONNX package: written to a folder, and their gradients compared with differences.

`write FOLDER [--one-per-operator]` puts NAME.onnx and NAME.pickle (the inputs of the first data set) into the folder
and prints one description per model. `check FOLDER` reads on stdin what `ohemgen grad` made of them
([{name, outputs: [{of, file, wrt: [{name, zero}]}]}]) and prints one result per model.

The independent gradient is a finite difference in float64: the model with every float type widened to double, run by
the reference evaluator of the ONNX package, along random directions.
"""

import json
import os
import pickle
import sys
import warnings

import numpy as np
import onnx
import onnx.backend.test
import onnx.version_converter
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

warnings.filterwarnings("ignore")

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


def feeds_of(model, inputs):
    """The inputs of a data set by name."""
    names = [item.name for item in model.graph.input]
    stored = {item.name for item in model.graph.initializer}
    # Files of the first IR versions list stored tensors as inputs too.
    free = names if len(inputs) == len(names) else [name for name in names if name not in stored]
    return {name: value for name, value in zip(free, inputs) if value is not None}


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


def moved_off(base, names, random, scale):
    """The given inputs, moved a little: integers and equal numbers are where an operator has its kinks."""
    result = dict(base)
    for name in names:
        value = np.asarray(base[name])
        result[name] = np.where(np.isfinite(value), value + scale * random.uniform(-1, 1, value.shape), value)
    return result


def difference(oracle, point, name, direction, seed, output, step):
    """The 4-point formula; its error is step⁴/30 of the fifth derivative."""

    def at(factor):
        value = oracle.run({**point, name: point[name] + factor * step * direction}, output)
        if value.shape != seed.shape:
            raise Unchecked("the shape of the output depends on the value")
        return float(np.sum(np.where(seed == 0, 0, value * seed)))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)


def agreement(case, output, names, point, seed, feeds, oracle, got, found, noise):
    """Compares the gradients of `names` at a point; returns those whose derivative is not there, or not by this oracle."""
    of = output["of"]
    value = oracle.run(point, of)
    finite = np.isfinite(value)
    largest = 1 + np.max(np.abs(value[finite]), initial=0)
    left = []
    for name in names:
        gradient = got[f"{name}.grad"]
        if gradient.shape != point[name].shape:
            raise AssertionError(f"{name}.grad has the shape {list(gradient.shape)}, {name} {list(point[name].shape)}")
        worst = 0.0
        # One direction moves every element of a large tensor; a second tells as much and takes as long.
        for _ in range(0 if gradient.size == 0 else 1 if gradient.size > 10_000 else 3):
            direction = np.where(np.isfinite(point[name]), RANDOM_NUMBERS.uniform(-1, 1, point[name].shape), 0)
            if oracle.smooth > 1e-4:
                # Larger steps run into more kinks: few elements at a time.
                direction *= RANDOM_NUMBERS.permutation(direction.size).reshape(direction.shape) < 4
            coarse, fine = (difference(oracle, point, name, direction, seed, of, step) for step in oracle.steps)
            float32_noise = 2.0**-24 * largest * np.sqrt(value.size) * 4 / oracle.steps[1] if oracle.smooth > 1e-4 else 0
            products = np.where(direction == 0, 0, gradient * direction)
            size = np.linalg.norm(products) + abs(fine) + 1e-3 * np.linalg.norm(seed)
            if not abs(coarse - fine) <= oracle.smooth * size + float32_noise + 1e-9 * largest:
                left.append(name)
                break
            error = max(0.0, abs(float(np.sum(products)) - fine) - float32_noise) / max(size, 1e-12)
            allowed = max(oracle.allowed if noise == 0 else 0, 16 * noise)
            if not error <= allowed:
                error = in_float64(output, name, feeds, direction, fine, size)
                if not error <= 1e-5 or oracle.smooth > 1e-4:
                    raise AssertionError(f"{name}.grad of {of} is off by {abs(float(np.sum(products)) - fine) / max(size, 1e-12):.1e}")
                found["rounding"] = True
                error = 0.0
            worst = max(worst, error)
        else:
            found["pairs"] += 1
            found["worst"] = max(found["worst"], worst)
            found["by"] = sorted({*found["by"], oracle.label})
    return left


def in_float64(output, name, feeds, direction, fine, size):
    """The error of the gradient graph itself, evaluated in float64: what is left is no rounding."""
    try:
        wide = ReferenceEvaluator(in_double(onnx.load(output["file"])))
        (gradient,) = wide.run([f"{name}.grad"], {key: wide_value(value) for key, value in feeds.items()})
    except Exception:
        return float("inf")
    return abs(float(np.sum(np.where(direction == 0, 0, gradient * direction))) - fine) / max(size, 1e-12)


RANDOM_NUMBERS = np.random.default_rng(0)


def compare(case, output, found):
    """One output against every input: pairs compared, and those without a derivative where it was looked for."""
    of = output["of"]
    wrt = [item["name"] for item in output["wrt"] if item["name"] not in case.settings]
    found["settings"] += [item["name"] for item in output["wrt"] if item["name"] in case.settings]
    made = Session(onnx.load(output["file"]))
    noise = max([{TensorProto.FLOAT16: 2.0**-11, TensorProto.BFLOAT16: 2.0**-8}.get(code, 0.0) for code in made.codes.values()])
    # Stored tensors are constants of the graph: they stay where the file has them.
    free = [name for name in wrt if name in made.codes]
    if not all(np.asarray(case.base[name]).dtype.kind == "f" for name in wrt):
        raise Unchecked("an input is not given")
    left = list(wrt)
    problems = []
    for scale in [0.1, 0.1, 0.1, 0.03, 0.01, 0.001, 0.0]:
        if not left:
            return
        point = moved_off(case.base, free, RANDOM_NUMBERS, scale)
        for name in free:
            point[name] = rounded(point[name], made.codes[name])
        for oracle in case.oracles:
            if scale < 4 * oracle.steps[0] and oracle.smooth > 1e-4:
                continue
            try:
                value = oracle.run(point, of)
            except Exception as error:
                problems.append(f"{oracle.label}: {type(error).__name__}: {error}"[:160])
                continue
            finite = np.isfinite(value)
            if not finite.all() and scale > 0:
                break
            seed = rounded(np.where(finite, RANDOM_NUMBERS.uniform(-1, 1, value.shape), 0), made.codes[f"{of}.grad"])
            feeds = {**case.feeds, **{name: point[name] for name in free}, f"{of}.grad": seed}
            got = made.run(feeds, [of, *[f"{name}.grad" for name in wrt]])
            if got[of].shape != value.shape:
                problems.append(f"{of} has the shape {list(got[of].shape)}, by the {oracle.label} {list(value.shape)}")
                continue
            off = np.max(np.abs(got[of] - value)[finite], initial=0) / (1 + np.max(np.abs(value[finite]), initial=0))
            if not off <= max(2e-4, 4 * noise):
                problems.append(f"{of} differs from the {oracle.label} by {off:.1e}")
                continue
            left = agreement(case, output, left, point, seed, feeds, oracle, got, found, noise)
            if not left:
                return
    if problems and found["pairs"] == 0 and all("differs" in text or "shape" in text for text in problems):
        raise AssertionError(problems[-1])
    found["kinks"] += [f"{name} of {of}" for name in left]
    if problems and left:
        found["problems"] = sorted(set(problems))


def checked(folder, given):
    global RANDOM_NUMBERS
    found = {"name": given["name"], "pairs": 0, "kinks": [], "settings": [], "by": [], "worst": 0.0}
    # Every model has its own numbers, whichever others are checked.
    RANDOM_NUMBERS = np.random.default_rng(sum(given["name"].encode()))
    try:
        case = Case(folder, given["name"])
        if is_random(case):
            raise Unchecked("random numbers")
        for output in given["outputs"]:
            compare(case, output, found)
    except AssertionError as error:
        return {**found, "failed": str(error)}
    except Unchecked as error:
        return {**found, "unchecked": str(error)}
    except Exception as error:
        kind = "failed" if type(error).__module__.startswith("onnxruntime") else "unchecked"
        return {**found, kind: f"{type(error).__name__}: {error}"[:300]}
    return found


def main():
    if sys.argv[1] == "write":
        json.dump(write(sys.argv[2], "--one-per-operator" in sys.argv), sys.stdout)
        return
    np.seterr(all="ignore")
    for given in json.load(sys.stdin):
        print(json.dumps(checked(sys.argv[2], given)), flush=True)


if __name__ == "__main__":
    main()
