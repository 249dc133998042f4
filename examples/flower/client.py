"""Federated averaging with Flower, a client: it trains on its own pictures, which never leave it.

In every round it makes some steps with the server's parameters. Flower starts it anew for that; the optimizer's moments
and the number of steps done stay on the client from one round to the next. Only the parameters, the loss and the number
of pictures are sent.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from PIL import Image
from safetensors.numpy import load_file

app = ClientApp()


def batches(directory, images, masks, size, first):
    """From batch number `first` on: images float32 [N,3,H,W] on the scale the network knows, labels uint8 [N,H,W]."""
    preprocessing = json.loads((directory / "manifest.json").read_text())["preprocessing"]
    mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
    names = sorted(path.name for path in images.iterdir())
    while True:
        chosen = [names[(first * size + i) % len(names)] for i in range(size)]
        pixels = np.stack([np.array(Image.open(images / name).convert("RGB"), np.float32) / 255 for name in chosen])
        yield ((pixels - mean) / std).transpose(0, 3, 1, 2), np.stack([np.array(Image.open(masks / name)) for name in chosen])
        first += 1


@app.train()
def train(message, context):
    directory, images, masks = (Path(context.node_config[name]) for name in ("directory", "images", "masks"))
    steps, size = (message.content["config"][name] for name in ("steps", "batch"))
    options = ort.SessionOptions()
    options.enable_mem_pattern = False  # half the peak memory
    step = ort.InferenceSession(directory / "train_step.onnx", options)
    outputs = [value.name for value in step.get_outputs()]

    state, done = load_file(directory / "state.safetensors"), 0
    if "state" in context.state:
        state = {name: array.numpy() for name, array in context.state["state"].items()}
        done = context.state["progress"]["steps"]
    [state["params"]] = message.content["arrays"].to_numpy_ndarrays()
    losses = []
    for _, (pixels, labels) in zip(range(steps), batches(directory, images, masks, size, done)):
        feeds = {"image": pixels, "labels": labels, "learning_rate": np.array(0.01, np.float32), **state}
        out = dict(zip(outputs, step.run(None, feeds)))
        state = {name: out[f"{name}.next"] for name in state}
        losses.append(float(out["loss"]))

    context.state["state"] = ArrayRecord({name: Array(value) for name, value in state.items()})
    context.state["progress"] = ConfigRecord({"steps": done + steps})
    metrics = MetricRecord({"num-examples": steps * size, "loss": float(np.mean(losses))})
    return Message(RecordDict({"arrays": ArrayRecord([state["params"]]), "metrics": metrics}), reply_to=message)
