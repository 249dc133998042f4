"""Proves that the networks of the benchmark are those of the exported models, where these are at hand.

For each pair: the shapes of the convolution and linear weights are those of meta.json's `torch_parameters`, and the network
with the weights of model.onnx gives the logits that ONNX Runtime gives for input.npy. Exits with 1 where one differs.

    python test/bench/check_networks.py [FOLDER ...]    default: $OHEMGEN_MODELS, or test/models
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import networks
import numpy as np
import onnx
import onnxruntime as ort
import torch
from networks.erfnet import erfnet
from onnx import numpy_helper
from torch import nn

# Network -> model, and what the model has that its logits do not depend on.
PAIRS = {
    "unet_resnet18": ("unet_resnet", "encoder.layer4."),
    "lraspp_mobilenetv3": ("lraspp_mobilenetv3", None),
    "unet_convtranspose": ("unet_convtranspose", None),
    "erfnet": ("erfnet_bn", None),
    "segformer_b0": ("segformer_b0", None),
    "deeplabv3_mobilenetv3_aux": ("deeplabv3_mobilenetv3_aux", "net.aux_classifier."),
    "deeplabv3plus_mobilenetv2": ("deeplabv3plus_mobilenetv2", None),
    "fpn_mobilenetv3_small": ("fpn_mobilenetv3_small", None),
    "linknet": ("linknet_softmax_argmax", None),
    "unet_binary": ("unet_binary_sigmoid", None),
}
# The model is a narrow ERFNet; measured is the published width.
NARROW = {"erfnet": lambda classes: erfnet(classes, widths=(12, 48, 96), plain=3, rounds=1, after=1)}
# Of the largest logit. Both sides compute sixty layers in float32, in different orders: 1e-6 a layer at worst.
TOLERANCE = 1e-4
KINDS = {"Conv": "conv", "ConvTranspose": "conv", "BatchNormalization": "bn", "InstanceNormalization": "group", "LayerNormalization": "layer", "MatMul": "linear", "Gemm": "linear"}


class Weights:
    """The constants of a model by the nodes that use them: one queue for each kind, in the order of the file."""

    def __init__(self, graph, logits):
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.constants |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"}
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.queues = {kind: [] for kind in KINDS.values()}
        needed = {logits}
        kept = []
        for position, node in reversed(list(enumerate(graph.node))):
            if not needed.isdisjoint(node.output):
                needed.update(node.input)
                kept.append((position, node))
        for position, node in reversed(kept):
            kind = KINDS.get(node.op_type)
            if kind is not None and (kind != "linear" or node.input[1] in self.constants):
                self.queues[kind].append((position, node))

    def following(self, kind):
        return self.queues[kind][0][0] if self.queues[kind] else float("inf")

    def take(self, kind):
        node = self.queues[kind].pop(0)[1]
        return node, [self.constants.get(name) for name in node.input[1:]]

    def beside(self, node, op):
        """The constant that the next `op` below a node takes beside its result."""
        while node.op_type != op:
            node = self.readers[node.output[0]][0]
        return next(self.constants[name] for name in node.input if name in self.constants), node


def epsilon(node):
    return next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)


def load(module, weights):
    """Gives a module the constants of the next node of its kind. A normalization that the exporter folded becomes the identity."""
    parameter = lambda value: None if value is None else nn.Parameter(torch.tensor(np.array(value)))  # noqa: E731
    if isinstance(module, nn.BatchNorm2d):
        if weights.following("bn") > weights.following("conv"):
            module.running_mean.zero_(), module.running_var.fill_(1 - module.eps), nn.init.ones_(module.weight), nn.init.zeros_(module.bias)
            return
        node, (scale, bias, mean, variance) = weights.take("bn")
        module.weight, module.bias = parameter(scale), parameter(bias)
        module.running_mean, module.running_var = torch.tensor(mean), torch.tensor(variance)
        module.eps = epsilon(node)
    elif isinstance(module, nn.GroupNorm):
        node, _ = weights.take("group")
        scale, node = weights.beside(node, "Mul")
        bias, _ = weights.beside(node, "Add")
        module.weight, module.bias = parameter(scale.reshape(-1)), parameter(bias.reshape(-1))
    elif isinstance(module, nn.Linear):
        node, (weight, *bias) = weights.take("linear")
        module.weight = parameter(weight.T)
        module.bias = parameter(bias[0] if bias else weights.beside(node, "Add")[0])
    else:
        normalization = isinstance(module, nn.LayerNorm)
        node, (weight, *bias) = weights.take("layer" if normalization else "conv")
        if weight.shape != tuple(module.weight.shape):
            raise ValueError(f"{node.name} has the shape {weight.shape}, the network {tuple(module.weight.shape)}")
        module.weight, module.bias = parameter(weight), parameter(bias[0] if bias else None)
        if normalization:
            module.eps = epsilon(node)


def logits_of(path, name, feed):
    model = onnx.load(path)
    if all(output.name != name for output in model.graph.output):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([name], {session.get_inputs()[0].name: feed})[0], Weights(model.graph, name)


def difference(name, folder):
    """What is wrong with a network, or nothing; and how far its logits lie from those of the model."""
    model, unused = PAIRS[name]
    meta = json.loads((folder / model / "meta.json").read_text())
    network = NARROW.get(name, networks.NETWORKS[name][0])(meta["classes"]).eval()
    theirs = Counter(tuple(shape) for key, shape in meta["torch_parameters"].items() if len(shape) > 1 and not (unused and key.startswith(unused)))
    mine = Counter(tuple(parameter.shape) for parameter in network.parameters() if parameter.ndim > 1)
    if mine != theirs:
        return f"shapes differ: without {dict(theirs - mine)}, with {dict(mine - theirs)}", None
    feed = np.load(folder / model / "input.npy")
    expected, weights = logits_of(folder / model / "model.onnx", meta["logits"], feed)
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.Linear)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(lambda module, _: load(module, weights))
    try:
        with torch.no_grad():
            actual = network(torch.from_numpy(feed)).numpy()
    except ValueError as problem:
        return str(problem), None
    if any(weights.queues.values()):
        return f"unused: {[node.name for queue in weights.queues.values() for _, node in queue]}", None
    if actual.shape != expected.shape:
        return f"logits {actual.shape} instead of {expected.shape}", None
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    return None if error < TOLERANCE else f"logits differ by {error:.1e}", error


def main():
    roots = sys.argv[1:] or [os.environ.get("OHEMGEN_MODELS", "test/models")]
    wrong = seen = 0
    for name, (model, _) in PAIRS.items():
        folder = next((Path(root) for root in roots if (Path(root) / model / "model.onnx").exists()), None)
        if folder is None:
            continue
        seen += 1
        problem, error = difference(name, folder)
        wrong += problem is not None
        print(f"{name}: {problem or f'same weights, logits within {error:.1e}'}", file=sys.stderr if problem else sys.stdout, flush=True)
    if seen == 0:
        raise SystemExit(f"no model in {', '.join(roots)}")
    sys.exit(wrong > 0)


main()
