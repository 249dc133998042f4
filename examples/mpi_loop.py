"""Data-parallel training with MPI: every process computes a gradient, one all-reduce adds them up, every process updates alike.

    pip install onnxruntime safetensors numpy pillow mpi4py mpich
    npx ohemgen attach examples/demo/model.onnx -o model.train --mining off --normalizer valid --lovasz 0
    mpiexec -n 4 python examples/mpi_loop.py model.train examples/demo/images examples/demo/masks trained.safetensors 20 8

A step sees `batch` pictures, divided among the processes, whose number must divide it. Each gradient counts with its process's number of
labelled pixels: with cross-entropy over all labelled pixels (`--mining off --normalizer valid --lovasz 0`) the sum is the gradient of the whole
batch, however many processes there are. With `--normalizer all` give `images` as the last argument: each process counts alike.
Hard pixels are ranked, and Lovász-Softmax counts, within each process's own pictures.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from mpi4py import MPI
from PIL import Image
from safetensors.numpy import load_file, save_file

world = MPI.COMM_WORLD
directory, image_folder, mask_folder, output = map(Path, sys.argv[1:5])
steps = int(sys.argv[5]) if len(sys.argv) > 5 else 20
batch = int(sys.argv[6]) if len(sys.argv) > 6 else 8
weight_by = sys.argv[7] if len(sys.argv) > 7 else "valid"
if batch % world.size != 0:
    sys.exit(f"{world.size} processes do not divide a batch of {batch}")
preprocessing = json.loads((directory / "manifest.json").read_text())["preprocessing"]
mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
names = sorted(path.name for path in image_folder.iterdir())


def own_part(step):
    """This process's pictures of a step: images float32 [N,3,H,W], labels uint8 [N,H,W]."""
    size = batch // world.size
    start = step * batch + world.rank * size
    chosen = [names[i % len(names)] for i in range(start, start + size)]
    pixels = np.stack([np.array(Image.open(image_folder / name).convert("RGB"), np.float32) / 255 for name in chosen])
    labels = np.stack([np.array(Image.open(mask_folder / name)) for name in chosen])
    return ((pixels - mean) / std).transpose(0, 3, 1, 2), labels


options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
options.intra_op_num_threads = max(1, (os.cpu_count() or 1) // world.size)  # the processes of one machine share its cores
gradient, update = (ort.InferenceSession(directory / f"{name}.onnx", options) for name in ("gradient", "update"))
update_outputs = [value.name for value in update.get_outputs()]
state = load_file(directory / "state.safetensors")
total = np.empty(state["params"].size + 2, np.float32)
for step in range(steps):
    images, labels = own_part(step)
    feeds = {"image": images, "labels": labels, "params": state["params"]}
    loss, valid, own = gradient.run(["loss", "valid", "params.grad"], feeds)
    weight = np.float32(valid if weight_by == "valid" else len(images))
    # One vector for everything: the weighted gradient, the weighted loss, the weight.
    world.Allreduce(np.concatenate([own * weight, [loss * weight, weight]], dtype=np.float32), total)
    average = total / max(total[-1], np.float32(1))
    out = dict(zip(update_outputs, update.run(None, {"params.grad": average[:-2], "learning_rate": np.array(0.01, np.float32), **state})))
    state = {name: out[f"{name}.next"] for name in state}
    if world.rank == 0:
        print(f"loss {average[-2]:.6f}", flush=True)
if world.rank == 0:
    save_file(state, output)
