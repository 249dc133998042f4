"""Federated averaging with Flower, a client: it trains on its own pictures, which never leave it.

    python examples/flower_client.py model.train images masks 127.0.0.1:8080 4 2

takes the server's parameters and makes 4 steps of 2 pictures with them in every round. The optimizer's moments stay
here, from one round to the next; only the parameters, the loss and the number of pictures are sent.
"""

import json
import os
import sys
from pathlib import Path

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # read on import

import numpy as np
import onnxruntime as ort
from flwr.client import NumPyClient, start_client
from PIL import Image
from safetensors.numpy import load_file

directory, image_folder, mask_folder = map(Path, sys.argv[1:4])
address = sys.argv[4] if len(sys.argv) > 4 else "127.0.0.1:8080"
steps = int(sys.argv[5]) if len(sys.argv) > 5 else 4
size = int(sys.argv[6]) if len(sys.argv) > 6 else 2
preprocessing = json.loads((directory / "manifest.json").read_text())["preprocessing"]
mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
names = sorted(path.name for path in image_folder.iterdir())


def batch(number):
    """Images float32 [N,3,H,W] on the scale the network knows, labels uint8 [N,H,W]."""
    chosen = [names[(number * size + i) % len(names)] for i in range(size)]
    pixels = np.stack([np.array(Image.open(image_folder / name).convert("RGB"), np.float32) / 255 for name in chosen])
    labels = np.stack([np.array(Image.open(mask_folder / name)) for name in chosen])
    return ((pixels - mean) / std).transpose(0, 3, 1, 2), labels


class Trainer(NumPyClient):
    def __init__(self):
        options = ort.SessionOptions()
        options.enable_mem_pattern = False  # half the peak memory
        self.step = ort.InferenceSession(directory / "train_step.onnx", options)
        self.outputs = [value.name for value in self.step.get_outputs()]
        self.state = load_file(directory / "state.safetensors")
        self.done = 0

    def fit(self, parameters, config):
        [self.state["params"]] = parameters
        losses = []
        for _ in range(steps):
            images, labels = batch(self.done)
            feeds = {"image": images, "labels": labels, "learning_rate": np.array(0.01, np.float32), **self.state}
            out = dict(zip(self.outputs, self.step.run(None, feeds)))
            self.state = {name: out[f"{name}.next"] for name in self.state}
            losses.append(float(out["loss"]))
            self.done += 1
        return [self.state["params"]], steps * size, {"loss": float(np.mean(losses))}


# The loopback address needs no encryption; other addresses need root_certificates.
start_client(server_address=address, client=Trainer().to_client(), insecure=address.startswith("127.0.0.1:"), max_wait_time=60)
