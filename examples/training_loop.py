"""The shortest training loop in Python: python examples/training_loop.py model.train

Needs numpy, safetensors and the plain onnxruntime (or onnxruntime-gpu). Random pictures stand in for yours.
"""

import json
import sys

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file, save_file

folder = sys.argv[1] if len(sys.argv) > 1 else "model.train"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 5

manifest = json.load(open(f"{folder}/manifest.json", encoding="utf-8"))
options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
session = ort.InferenceSession(f"{folder}/train_step.onnx", options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
state = load_file(f"{folder}/state.safetensors")

inputs = {item["name"]: item for item in manifest["graphs"]["train_step"]["inputs"]}
image = next(item["name"] for item in inputs.values() if item["role"] == "image")
sizes = [size if isinstance(size, int) else 64 for size in inputs[image]["shape"]]
sizes[0] = inputs[image]["shape"][0] if isinstance(inputs[image]["shape"][0], int) else 2
classes = max(2, manifest["heads"][0]["classes"])
generator = np.random.default_rng(0)
feeds = {
    image: generator.standard_normal(sizes, dtype=np.float32),
    "labels": generator.integers(0, classes, (sizes[0], sizes[2], sizes[3]), dtype=inputs["labels"]["type"]),
    "learning_rate": np.array(1e-3, dtype=np.float32),
}

for step in range(1, steps + 1):
    out = dict(zip(names, session.run(None, {**feeds, **state})))
    state = {name: out[f"{name}.next"] for name in state}
    print(f"step {step}  loss {out['loss']:.4f}  kept {out['kept']} of {out['valid']} pixels")

save_file(state, f"{folder}/trained.safetensors")
