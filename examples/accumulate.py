"""Gradient accumulation: `gradient.onnx` several times with the same weights, then `update.onnx` once with the average.

    pip install onnxruntime safetensors numpy pillow
    npx ohemgen attach examples/demo/model.onnx -o model.train
    python examples/accumulate.py model.train examples/demo/images examples/demo/masks trained.safetensors
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image
from safetensors.numpy import load_file, save_file

directory, image_folder, mask_folder, output = map(Path, sys.argv[1:5])
steps = int(sys.argv[5]) if len(sys.argv) > 5 else 20
parts, size = 2, 4  # a step sees `parts` batches of `size` pictures
preprocessing = json.loads((directory / "manifest.json").read_text())["preprocessing"]
mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
names = sorted(path.name for path in image_folder.iterdir())


def batch(number):
    """Images float32 [N,3,H,W] on the scale the network knows, labels uint8 [N,H,W]."""
    chosen = [names[(number * size + i) % len(names)] for i in range(size)]
    pixels = np.stack([np.array(Image.open(image_folder / name).convert("RGB"), np.float32) / 255 for name in chosen])
    labels = np.stack([np.array(Image.open(mask_folder / name)) for name in chosen])
    return ((pixels - mean) / std).transpose(0, 3, 1, 2), labels


options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
gradient, update = (ort.InferenceSession(directory / f"{name}.onnx", options) for name in ("gradient", "update"))
update_outputs = [value.name for value in update.get_outputs()]
state = load_file(directory / "state.safetensors")
for step in range(steps):
    # The sum is one vector, whatever the model.
    total, losses = np.zeros_like(state["params"]), []
    for part in range(parts):
        images, labels = batch(step * parts + part)
        loss, one = gradient.run(["loss", "params.grad"], {"image": images, "labels": labels, "params": state["params"]})
        total += one
        losses.append(loss)
    feeds = {"params.grad": total / np.float32(parts), "learning_rate": np.array(0.01, np.float32), **state}
    out = dict(zip(update_outputs, update.run(None, feeds)))
    state = {name: out[f"{name}.next"] for name in state}
    print(f"loss {np.mean(losses):.4f}  gradient {out['grad_norm']:.3f}")
save_file(state, output)
