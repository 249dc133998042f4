"""How often PyTorch's own float32 gradients lie beyond the bound of test/attach/reference.test.ts, by the kernels it uses.

Evaluates the reference models with PyTorch's layers, the gradient by autograd, the loss as published
(test/bench/loss_reference.py, textbook.py). In float64 that has to be ref.json, or nothing is said about float32. Arguments: folders
of models. Prints a table; with --write it goes into test/attach/float32.md, beside the same count for the training graph
on the runtime (test/attach/float32.ts). Nothing is nudged: picture and weights are those of the files.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F

import torch_operators as operators

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "bench"))
from loss_reference import lovasz_softmax, ohem_cross_entropy  # noqa: E402
from textbook import textbook_loss  # noqa: E402

PAGE = ROOT / "test" / "attach" / "float32.md"
MARKS = ("<!-- table -->", "<!-- end of table -->")

# Name: oneDNN, threads, channels last, environment (read when PyTorch starts).
PLAIN = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
SETTINGS = {
    "oneDNN, 1 thread": (True, 1, False, {}),
    "oneDNN, 2 threads": (True, 2, False, {}),
    "oneDNN, channels last, 1 thread": (True, 1, True, {}),
    "oneDNN, channels last, 2 threads": (True, 2, True, {}),
    "native, 1 thread": (False, 1, False, {}),
    "native, 2 threads": (False, 2, False, {}),
    "native, channels last, 1 thread": (False, 1, True, {}),
    "native, channels last, 2 threads": (False, 2, True, {}),
    "oneDNN, SSE4.1, 1 thread": (True, 1, False, PLAIN),
    "native, no vectors, 1 thread": (False, 1, False, PLAIN),
}


def symmetric(attrs, rank=2):
    pads = attrs.get("pads") or [0] * (2 * rank)
    if attrs.get("auto_pad", "NOTSET") != "NOTSET" or pads[:rank] != pads[rank:]:
        raise NotImplementedError("padding that is not the same on both sides")
    return pads[:rank]


def conv(attrs, x, w, b=None):
    return F.conv2d(x, w, b, attrs.get("strides") or 1, symmetric(attrs), attrs.get("dilations") or 1, attrs.get("group", 1))


def conv_transpose(attrs, x, w, b=None):
    extra = attrs.get("output_padding") or 0
    return F.conv_transpose2d(x, w, b, attrs.get("strides") or 1, symmetric(attrs), extra, attrs.get("group", 1), attrs.get("dilations") or 1)


def max_pool(attrs, x):
    return F.max_pool2d(x, attrs["kernel_shape"], attrs.get("strides") or 1, symmetric(attrs), attrs.get("dilations") or 1, bool(attrs.get("ceil_mode")))


def resize(attrs, x, roi=None, scales=None, sizes=None):
    size = operators.ints(sizes)[2:] if sizes is not None else [math.floor(n * float(s)) for n, s in zip(x.shape[2:], scales[2:])]
    mode = (attrs.get("mode", "nearest"), attrs.get("coordinate_transformation_mode", "half_pixel"))
    if mode == ("nearest", "asymmetric") and attrs.get("nearest_mode") == "floor":
        return F.interpolate(x, size, mode="nearest")
    if mode[0] == "linear" and mode[1] in ("half_pixel", "align_corners"):
        return F.interpolate(x, size, mode="bilinear", align_corners=mode[1] == "align_corners")
    raise NotImplementedError(f"Resize {mode}")


OPERATORS = {
    **operators.OPERATORS,
    "CastLike": lambda attrs, x, like: x.to(like.dtype),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "HardSwish": lambda attrs, x: F.hardswish(x),
    "MaxPool": max_pool,
    "Resize": resize,
}
# Before opset 13 or 18 their axes are an attribute.
WITH_AXES = {"ReduceMean", "ReduceSum", "Squeeze", "Unsqueeze"}


def stored_tensor(value):
    """An initializer, or what a Constant has: a tensor, numbers, one number."""
    if isinstance(value, onnx.TensorProto):
        return torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
    return torch.tensor(list(value) if hasattr(value, "__len__") else value)


class Network:
    """The forward pass of a model as far as its logits, in one float type; `parameters` are leaves of autograd."""

    def __init__(self, graph, logits, names, dtype, channels_last):
        self.graph, self.logits, self.dtype, self.channels_last = graph, logits, dtype, channels_last
        stored = {item.name: item for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                stored[node.output[0]] = onnx.helper.get_attribute_value(node.attribute[0])
        self.stored = {name: self.placed(stored_tensor(value)) for name, value in stored.items()}
        self.parameters = {name: self.stored[name].requires_grad_(True) for name in names}

    def placed(self, value):
        value = value.to(self.dtype) if value.is_floating_point() else value
        return value.contiguous(memory_format=torch.channels_last) if self.channels_last and value.dim() == 4 else value

    def attributes(self, node):
        found = {item.name: operators.attribute(item) for item in node.attribute}
        return {name: self.placed(value) if isinstance(value, torch.Tensor) else value for name, value in found.items()}

    def result(self, node, values):
        inputs = [values[name] if name else None for name in node.input]
        attrs = self.attributes(node)
        if node.op_type in WITH_AXES and "axes" in attrs:
            inputs.append(torch.tensor(attrs.pop("axes")))
        if node.op_type == "Cast" and attrs["to"] == onnx.TensorProto.FLOAT:
            return inputs[0].to(self.dtype)
        return OPERATORS[node.op_type](attrs, *inputs)

    def __call__(self, image):
        values = {**self.stored, self.graph.input[0].name: self.placed(image)}
        for node in self.graph.node:
            if node.op_type == "Constant":
                continue
            values[node.output[0]] = self.result(node, values)
            if node.output[0] == self.logits:
                return values[self.logits]
        raise ValueError(f"nothing makes {self.logits}")


def loss_of(logits, labels, threshold):
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    if logits.shape[1] == 1:
        return textbook_loss(logits, labels, True, threshold)
    return ohem_cross_entropy(logits, labels, threshold) + lovasz_softmax(F.softmax(logits, 1), labels)


def gradients(folder, reference, dtype, channels_last=False):
    network = Network(onnx.load(folder / "model.onnx").graph, reference["logits"], reference["parameters"], dtype, channels_last)
    image = torch.from_numpy(np.load(folder / "input.npy"))
    labels = torch.from_numpy(np.load(folder / "label.npy")).long()
    loss = loss_of(network(image), labels, reference["loss"]["threshold"])
    loss.backward()
    flat = {name: torch.zeros(leaf.numel()) if leaf.grad is None else leaf.grad.contiguous().reshape(-1) for name, leaf in network.parameters.items()}
    return loss.item(), {name: gradient.double().numpy() for name, gradient in flat.items()}


def error(gradient, want):
    """As test/attach/reference.ts: the relative L2 error, from the probed elements and from the norms."""
    probed = sum((gradient[at] - value) ** 2 for at, value in want["probes"])
    estimate = math.sqrt(probed / len(want["probes"]) * len(gradient))
    return max(abs(float(np.linalg.norm(gradient)) - want["l2"]), estimate) / want["l2"]


def ratios(found, reference):
    """Every parameter's error in units of its bound in test/attach/reference.test.ts."""
    largest = max(want["l2"] for want in reference["parameters"].values())
    for name, want in reference["parameters"].items():
        if want.get("zero"):
            yield float(np.abs(found[name]).max()) / largest / 1e-5
        else:
            yield error(found[name], want) / max(2e-4, 4 * want["float32_rel"])


def check_float64(folder, reference):
    """References have 12 digits, so an element is known to 1e-12 of itself and a norm to as much."""
    loss, found = gradients(folder, reference, torch.float64)
    wants = [(found[name], want) for name, want in reference["parameters"].items() if not want.get("zero")]
    worst = max(error(gradient, want) for gradient, want in wants)
    off = abs(loss / reference["loss"]["total"] - 1)
    print(f"{folder.name}: in float64 the loss is off by {off:.1e}, gradients by at most {worst:.1e}", file=sys.stderr)
    if not (off < 1e-9 and worst < 1e-9):
        raise SystemExit(f"{folder.name}: this is not the reference; nothing follows for float32")


def measured(folders, setting):
    """By model: parameters beyond the bound, the worst error in units of it."""
    onednn, threads, channels_last, _ = SETTINGS[setting]
    torch.set_num_threads(threads)
    found = {}
    with torch.backends.mkldnn.flags(enabled=onednn):
        for folder in folders:
            reference = json.loads((folder / "ref.json").read_text())
            all_ratios = list(ratios(gradients(folder, reference, torch.float32, channels_last)[1], reference))
            found[folder.name] = {"beyond": sum(not ratio <= 1 for ratio in all_ratios), "worst": max(all_ratios)}
    return found


def in_its_environment(folders, setting):
    command = [sys.executable, __file__, "--setting", setting, *map(str, folders)]
    # Threads that wait asleep leave a busy machine to those they wait for.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **SETTINGS[setting][3]}
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def on_the_runtime(folders):
    return json.loads(subprocess.run(["npx", "tsx", "test/attach/float32.ts", *map(str, folders)], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def table(columns, names, counts):
    def cell(found):
        return f"{found['beyond']} ({found['worst']:.2g})"

    header = ["model", "parameters", *columns]
    rows = [[name, str(counts[name]), *(cell(column[name]) for column in columns.values())] for name in names]
    rows.append(["models with any beyond", "", *(str(sum(found["beyond"] > 0 for found in column.values())) for column in columns.values())])
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--setting", choices=SETTINGS)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    folders = sorted(given.folders, key=lambda folder: folder.name)
    if given.setting:
        print(json.dumps(measured(folders, given.setting)))
        return
    torch.set_num_threads(1)
    counts = {}
    for folder in folders:
        reference = json.loads((folder / "ref.json").read_text())
        check_float64(folder, reference)
        counts[folder.name] = len(reference["parameters"])
    columns = {**on_the_runtime(folders), **{setting: in_its_environment(folders, setting) for setting in SETTINGS}}
    text = table(columns, list(counts), counts)
    print(text)
    if given.write:
        page = PAGE.read_text()
        start, end = (page.index(mark) for mark in MARKS)
        PAGE.write_text(f"{page[: start + len(MARKS[0])]}\n{text}\n{page[end:]}")


if __name__ == "__main__":
    main()
