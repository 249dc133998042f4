"""Random graphs with their gradients by PyTorch's autograd in float64.

A graph is drawn from its seed: operators that broadcast, reduce and move, values read several times, sizes of 0, static
and dynamic shapes. `write FOLDER COUNT` puts SEED.onnx into the folder and prints [{name, of, wrt}]. `check FOLDER` reads
[name] on stdin, evaluates FOLDER/NAME.grad.onnx in float64 (evaluate_float64.py, which knows nothing of gradients), and
prints one result per graph: the largest difference, relative to the largest of 1 and the gradient's numbers.
"""

import json
import random
import sys

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import evaluate_float64

# None whose derivative has a constant that float32 rounds, as 2/√π of Erf: differences would hide behind it.
UNARY = {"Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Neg": torch.neg, "Abs": torch.abs}
BINARY = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}


class Drawn:
    """One graph while it is drawn: every node is computed by PyTorch the moment it is added."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.nodes, self.constants, self.values, self.inputs, self.types = [], [], {}, [], []
        # A third static, a third with a name per axis, a third where no two inputs share a name.
        self.naming = seed % 3
        self.sizes = [self.random.choice([0, 1, 2, 3, 4] if seed % 4 == 0 else [1, 2, 3, 4]) for _ in range(3)]
        for _ in range(self.random.randint(2, 4)):
            self.input()
        for _ in range(self.random.randint(4, 14)):
            self.step()
        self.output = self.nodes[-1].output[0]

    def input(self):
        name = f"x{len(self.inputs)}"
        axes = list(range(self.random.randint(0, 2), 3))
        sizes = [1 if self.random.random() < 0.3 else self.sizes[axis] for axis in axes]
        dims = [size if self.naming == 0 else f"d{axis}" if size != 1 else 1 for axis, size in zip(axes, sizes)]
        if self.naming == 2:
            dims = [f"{name}_{axis}" for axis in axes]
        self.values[name] = torch.randn(sizes, generator=self.torch, dtype=torch.float64).requires_grad_()
        self.inputs.append(name)
        self.types.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))

    def constant(self, numbers):
        name = f"c{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers))
        return name

    def add(self, op, inputs, result, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.values[name] = result

    def pick(self, suits=lambda value: True):
        """A value, late ones more often; the same one may come again."""
        names = [name for name, value in self.values.items() if suits(value)]
        return None if not names else names[max(self.random.randrange(len(names)), self.random.randrange(len(names)))]

    def step(self):
        name = self.pick()
        x = self.values[name]
        axis = self.random.randrange(x.dim()) if x.dim() > 0 else None
        kind = self.random.choice(["unary", "binary", "binary", "binary", "sum", "mean", "transpose", "concat", "slice", "matmul", "softmax", "flat", "unsqueeze"])
        if kind == "binary":
            return self.binary(name, x)
        if kind == "matmul" and x.dim() >= 2:
            other = self.pick(lambda y: y.dim() >= 2 and y.shape[-2] == x.shape[-1] and (x.dim() == 2 or y.dim() == 2))
            if other is not None:
                return self.add("MatMul", [name, other], x @ self.values[other])
        if axis is not None and kind in ("sum", "mean") and (kind == "sum" or x.shape[axis] > 0):
            keep = self.random.randrange(2)
            result = getattr(x, kind)(axis, keepdim=bool(keep))
            return self.add("ReduceSum" if kind == "sum" else "ReduceMean", [name, self.constant([axis])], result, keepdims=keep)
        if axis is not None and kind == "transpose":
            order = self.random.sample(range(x.dim()), x.dim())
            return self.add("Transpose", [name], x.permute(order), perm=order)
        if axis is not None and kind == "concat":
            return self.add("Concat", [name, name], torch.cat([x, x], axis), axis=axis)
        if axis is not None and kind == "slice":
            # Ends beyond the axis, and starts that leave nothing.
            start, end = self.random.randint(0, 1), self.random.randint(1, 5)
            bounds = [self.constant([number]) for number in (start, end, axis)]
            return self.add("Slice", [name, *bounds], x[tuple([slice(None)] * axis + [slice(start, end)])])
        if axis is not None and kind == "softmax":
            return self.add("Softmax", [name], torch.softmax(x, axis), axis=axis)
        if axis is not None and kind == "flat":
            return self.add("Reshape", [name, self.constant([-1])], x.reshape(-1))
        if kind == "unsqueeze" and x.dim() < 4:
            return self.add("Unsqueeze", [name, self.constant([0])], x.unsqueeze(0))
        op = self.random.choice(sorted(UNARY))
        return self.add(op, [name], UNARY[op](x))

    def binary(self, name, x):
        def fits(y):
            try:
                torch.broadcast_shapes(x.shape, y.shape)
                return True
            except RuntimeError:
                return False

        other = self.pick(fits)
        pair = [name, other] if self.random.random() < 0.5 else [other, name]
        op = self.random.choice(sorted(BINARY))
        self.add(op, pair, BINARY[op](*(self.values[each] for each in pair)))

    def model(self):
        rank = self.values[self.output].dim()
        output = helper.make_tensor_value_info(self.output, TensorProto.FLOAT, [f"y{axis}" for axis in range(rank)])
        graph = helper.make_graph(self.nodes, "random", self.types, [output], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def check(folder, name):
    drawn = Drawn(int(name))
    y = drawn.values[drawn.output]
    seed = torch.randn(y.shape, generator=drawn.torch, dtype=torch.float64)
    leaves = [drawn.values[each] for each in drawn.inputs]
    expected = torch.autograd.grad(y, leaves, seed, allow_unused=True) if y.requires_grad else [None] * len(leaves)
    graph = onnx.load(f"{folder}/{name}.grad.onnx").graph
    values = {item.name: evaluate_float64.tensor(numpy_helper.to_array(item)) for item in graph.initializer}
    values |= {each: leaf.detach() for each, leaf in zip(drawn.inputs, leaves)} | {f"{drawn.output}.grad": seed}
    wanted = {f"{each}.grad" for each in drawn.inputs}
    with torch.no_grad():
        values = evaluate_float64.evaluate(graph, values, wanted)
    worst, failed, nonzero = 0.0, None, 0
    for each, leaf, right in zip(drawn.inputs, leaves, expected):
        right = torch.zeros_like(leaf) if right is None else right
        found = values[f"{each}.grad"]
        if found.shape != right.shape:
            failed = f"{each}.grad has the shape {list(found.shape)}, not {list(right.shape)}"
        elif right.numel() > 0:
            nonzero += int(right.abs().max() > 0)
            difference = ((found - right).abs().max() / max(1.0, right.abs().max())).item()
            worst = max(worst, difference if difference == difference else float("inf"))
    empty = any(leaf.numel() == 0 for leaf in leaves)
    readers = [each for node in drawn.nodes for each in node.input if each.startswith(("x", "v"))]
    return {"name": name, "worst": worst, "failed": failed, "nonzero": nonzero, "empty": empty, "reused": len(readers) > len(set(readers))}


def main():
    command, folder, *rest = sys.argv[1:]
    torch.set_num_threads(1)
    if command == "write":
        described = []
        for seed in range(int(rest[0])):
            drawn = Drawn(seed)
            onnx.save(drawn.model(), f"{folder}/{seed}.onnx")
            described.append({"name": str(seed), "of": drawn.output, "wrt": drawn.inputs})
        print(json.dumps(described))
    else:
        print(json.dumps([check(folder, name) for name in json.load(sys.stdin)]))


main()
