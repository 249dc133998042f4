"""`ohemgen attach`, whole command: time and memory for 65 million parameters, and growth with the number of nodes.

Memory is the peak resident size above that of a bare Node process, against the size of the model. Writes attach.json
and the table between the marks in README.md.

    npm run bench:attach -- [--turns N]
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

here = Path(__file__).resolve().parent
command = here.parent.parent / "dist" / "cli" / "main.js"
marks = ("<!-- attach -->", "<!-- /attach -->")
random = np.random.default_rng(7)


def save(nodes, weights, classes, path):
    shape = lambda channels: [1, channels, 32, 32]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape(3))]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape(classes))]
    graph = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def wide(path):
    """65 convolutions of about a million weights each."""
    nodes, weights, last = [], {}, "input"
    for i in range(66):
        weights[f"w{i}"] = random.standard_normal((333, 3 if i == 0 else 333, 3, 3), np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], kernel_shape=[3, 3], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last = f"r{i}"
    weights["head"] = random.standard_normal((4, 333, 1, 1), np.float32)
    nodes.append(helper.make_node("Conv", [last, "head"], ["logits"], kernel_shape=[1, 1]))
    save(nodes, weights, 4, path)


def deep(path, count, normalized=False):
    """`count` nodes: residual blocks of eight channels, as exported with batch normalization folded, or with it."""
    nodes, weights = [], {}

    def add(op, inputs, **attributes):
        name = f"{op.lower()}{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def tensor(name, value):
        weights[name] = np.asarray(value, np.float32)
        return name

    def conv(x, channels=8):
        name = f"layer{len(nodes)}"
        w = tensor(f"{name}.weight", random.standard_normal((8, channels, 3, 3)))
        if not normalized:
            return add("Conv", [x, w, tensor(f"{name}.bias", np.zeros(8))], kernel_shape=[3, 3], pads=[1] * 4)
        y = add("Conv", [x, w], kernel_shape=[3, 3], pads=[1] * 4)
        statistics = [tensor(f"{name}.bn.{part}", value * np.ones(8)) for part, value in (("weight", 1), ("bias", 0), ("mean", 0), ("var", 1))]
        return add("BatchNormalization", [y, *statistics])

    x = conv("input", 3)
    # A block and the last node: two convolutions, two Relu, the sum and, where it is there, two normalizations.
    while len(nodes) + (8 if normalized else 6) <= count:
        inner = conv(add("Relu", [x]))
        x = add("Add", [x, conv(add("Relu", [inner]))])
    nodes.append(helper.make_node("Identity", [x], ["logits"], name="end"))
    save(nodes, weights, 8, path)


# The peak of the process's own memory. What wait4 tells counts this script's too, with which the process begins.
tell_peak = """data:text/javascript,import { readFileSync } from "node:fs";
process.on("exit", () => process.stderr.write(/VmHWM.*/.exec(readFileSync("/proc/self/status", "utf8"))[0]));"""


def measured(arguments):
    """Seconds on the clock, seconds of the processor, and peak resident bytes of a process."""
    began = time.perf_counter()
    child = subprocess.Popen(["node", "--import", tell_peak, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    told = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    took = time.perf_counter() - began
    if status != 0:
        sys.exit(f"node {' '.join(arguments)} failed: {told}")
    return took, used.ru_utime + used.ru_stime, int(re.search(r"VmHWM:\s*(\d+) kB", told)[1]) * 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bare = statistics.median(measured(["-e", "0"])[2] for _ in range(turns))
        cases = [("65 M parameters", wide)]
        cases += [(f"{count} nodes", partial(deep, count=count)) for count in (5000, 10000, 20000)]
        cases += [("20000 nodes, batch normalization in the file", partial(deep, count=20000, normalized=True))]
        for name, build in cases:
            path = Path(folder) / "model.onnx"
            build(path)
            size = path.stat().st_size
            runs = [measured([str(command), "attach", str(path), "-o", str(Path(folder) / "out"), "--force"]) for _ in range(turns)]
            row = {"case": name, "model_mb": size / 1e6, "seconds": min(run[0] for run in runs), "median": statistics.median(run[0] for run in runs)}
            row |= {"processor_seconds": min(run[1] for run in runs), "memory_mb": (max(run[2] for run in runs) - bare) / 1e6}
            row["memory_ratio"] = row["memory_mb"] / row["model_mb"]
            rows.append(row)
            print({key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    result = {"turns": turns, "machine": {"system": platform.system(), "cores": os.cpu_count()}, "rows": rows}
    (here / "attach.json").write_text(json.dumps(result, indent=2) + "\n")
    lines = ["| | model | seconds (median) | of the processor | memory | × model |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        numbers = f"{row['model_mb']:.0f} MB | {row['seconds']:.1f} ({row['median']:.1f}) | {row['processor_seconds']:.1f} | {row['memory_mb']:.0f} MB"
        lines.append(f"| {row['case']} | {numbers} | {row['memory_ratio']:.2f} |")
    readme = (here / "README.md").read_text()
    before, rest = readme.split(marks[0])
    (here / "README.md").write_text(f"{before}{marks[0]}\n" + "\n".join(lines) + f"\n{marks[1]}{rest.split(marks[1])[1]}")


if __name__ == "__main__":
    main()
