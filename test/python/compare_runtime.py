"""Largest difference of OpenVINO's outputs from ONNX Runtime's, over the largest element of each: {model: path, feeds} on stdin, JSON out."""

import json
import sys

import numpy as np
import onnxruntime as ort
import openvino as ov

job = json.load(sys.stdin)
feeds = {name: np.fromfile(feed["file"], feed["dtype"]).reshape(feed["shape"]) for name, feed in job["feeds"].items()}
session = ort.InferenceSession(job["model"], providers=["CPUExecutionProvider"])
want = dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds)))
core = ov.Core()
compiled = core.compile_model(core.read_model(job["model"]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
results = compiled(feeds)
got = {name: results[port] for port in compiled.outputs for name in port.get_names()}
difference = {}
for name, value in want.items():
    a, b = np.asarray(got[name], np.float64), np.asarray(value, np.float64)
    difference[name] = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
json.dump(difference, sys.stdout)
