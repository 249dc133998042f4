"""Runs a graph on another runtime than ONNX Runtime.

Input on stdin: {"runtime": "openvino" | "reference", "model": path, "feeds": {name: {"file", "dtype", "shape"}},
"outputs": [name], "folder": path}; writes one raw little-endian float64 file per output into the folder, named by its
place among the outputs, and prints the runtime's version.
"""

import json
import sys

import numpy as np


def openvino(model, feeds, outputs):
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(feeds)
    found = {name: results[port] for port in compiled.outputs for name in port.get_names()}
    return ov.__version__.split("-")[0], [found[name] for name in outputs]


def reference(model, feeds, outputs):
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops.op_conv_transpose import ConvTranspose as OwnConvTranspose

    class GatherElements(OpRun):
        """The package's own chooses among the first entries of an axis only (numpy.choose takes 64 at most)."""

        op_domain = ""

        def _run(self, data, indices, axis=0):
            return (np.take_along_axis(data, np.where(indices < 0, indices + data.shape[axis], indices), axis),)

    class Pad(OpRun):
        """The package's own refuses negative pads, which cut."""

        op_domain = ""

        def _run(self, data, pads, value=None, axes=None, mode="constant"):
            if mode != "constant" or axes is not None:
                raise NotImplementedError("Pad other than constant, on all axes")
            both = np.reshape(pads, (2, -1)).T
            cut = data[tuple(slice(max(-begin, 0), size - max(-end, 0)) for size, (begin, end) in zip(data.shape, both))]
            return (np.pad(cut, np.maximum(both, 0), constant_values=0 if value is None else value),)

    class ConvTranspose(OwnConvTranspose):
        """The package's own takes one group only."""

        def _run(self, x, w, b=None, group=1, **attributes):
            parts = zip(np.split(x, group, 1), np.split(w, group, 0))
            whole = np.concatenate([super(ConvTranspose, self)._run(part, weight, None, group=1, **attributes)[0] for part, weight in parts], 1)
            return (whole if b is None else whole + b.reshape(-1, *[1] * (x.ndim - 2)),)

    return onnx.__version__, ReferenceEvaluator(model, new_ops=[GatherElements, Pad, ConvTranspose]).run(outputs, feeds)


job = json.load(sys.stdin)
given = {name: np.fromfile(feed["file"], feed["dtype"]).reshape(feed["shape"]) for name, feed in job["feeds"].items()}
version, values = {"openvino": openvino, "reference": reference}[job["runtime"]](job["model"], given, job["outputs"])
for i, value in enumerate(values):
    np.asarray(value, np.float64).tofile(f"{job['folder']}/output{i}")
json.dump(version, sys.stdout)
