"""A training loop of one's own in Python, with the stock ONNX Runtime and nothing of ohemgen.

    pip install onnxruntime safetensors numpy pillow
    npx ohemgen attach examples/demo/model.onnx -o model.train
    python examples/loop.py model.train examples/demo/images examples/demo/masks trained.safetensors
    npx ohemgen export model.train --checkpoint trained.safetensors -o trained.onnx
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
preprocessing = json.loads((directory / "manifest.json").read_text())["preprocessing"]
mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
names = sorted(path.name for path in image_folder.iterdir())


def batches(size=8):
    """Images float32 [N,3,H,W] on the scale the network knows, labels uint8 [N,H,W]."""
    for start in range(0, steps * size, size):
        chosen = [names[i % len(names)] for i in range(start, start + size)]
        pixels = np.stack([np.array(Image.open(image_folder / name).convert("RGB"), np.float32) / 255 for name in chosen])
        labels = np.stack([np.array(Image.open(mask_folder / name)) for name in chosen])
        yield ((pixels - mean) / std).transpose(0, 3, 1, 2), labels


options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
step = ort.InferenceSession(directory / "train_step.onnx", options)
outputs = [value.name for value in step.get_outputs()]
state = load_file(directory / "state.safetensors")
for images, labels in batches():
    rate = np.array(0.01, np.float32)
    out = dict(zip(outputs, step.run(None, {"image": images, "labels": labels, "learning_rate": rate, **state})))
    state = {name: out[f"{name}.next"] for name in state}
    print(f"loss {out['loss']:.4f}  hard pixels {out['kept']} of {out['valid']}")
save_file(state, output)
