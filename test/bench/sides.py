"""The two sides that the step benchmark compares: PyTorch eager, and the attached graph on ONNX Runtime.

Both take the same network, batch, loss options and optimizer; `step` runs one step and returns its loss.
"""

import subprocess
import time
import warnings
from pathlib import Path

import networks
import numpy as np
import onnxruntime as ort
import torch
from safetensors.numpy import load_file
from textbook import textbook_loss

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (2, 3, 256, 512)
THREADS = 2
MODES = {"ce": ["--lovasz", "0"], "histogram": ["--lovasz-method", "histogram"], "exact": []}
# Not in the default run: the graphs of ce after `ohemgen tune`, and those of histogram with activations made again.
MORE_MODES = {"tuned": MODES["ce"], "checkpointed": [*MODES["histogram"], "--checkpoint-activations"]}


def modes_of(name, modes):
    """Those that a network can have: a one-channel head has the Lovász hinge, whose errors have no bounds and so no histogram."""
    return [mode for mode in modes if networks.classes_of(name) > 1 or "histogram" not in (MODES | MORE_MODES)[mode]]


def batch(classes, shape=SHAPE):
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, max(classes, 2), (shape[0], shape[2] // 32, shape[3] // 32))
    labels = blocks.repeat(32, 1).repeat(32, 2).astype(np.uint8)
    labels[generator.random(labels.shape) < 0.1] = 255
    return generator.standard_normal(shape, dtype=np.float32), labels


class Torch:
    """`form` is that of the network: "folded" as in the exported file, "unfolded", or "compiled" (folded, by torch.compile)."""

    def __init__(self, name, mode, images, labels, form="folded"):
        torch.set_num_threads(THREADS)
        network = networks.build(name)
        self.network = network if form == "unfolded" else networks.folded(network)
        if form == "compiled":
            self.network = torch.compile(self.network)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-4, momentum=0.9)
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
        self.lovasz = mode not in ("ce", "tuned")

    def step(self):
        self.optimizer.zero_grad()
        loss = textbook_loss(self.network(self.images), self.labels, self.lovasz)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Graph:
    """`start` is the time that the session took, in seconds; `profile` a path that a profile is written at."""

    def __init__(self, folder, images, labels, profile=None):
        options = ort.SessionOptions()
        options.enable_mem_pattern = False
        options.intra_op_num_threads = THREADS
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        start = time.perf_counter()
        self.session = ort.InferenceSession(str(Path(folder) / "train_step.onnx"), options, providers=["CPUExecutionProvider"])
        self.start = time.perf_counter() - start
        self.binding = self.session.io_binding()
        self.feeds = {"input": images, "labels": labels, "learning_rate": np.array(1e-4, np.float32)}
        # Two sets of state in turn, as the trainer and the example do.
        state = load_file(Path(folder) / "state.safetensors")
        self.sets = [{name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in state.items()} for _ in range(2)]

    def step(self):
        current, following = self.sets
        for name, value in self.feeds.items():
            self.binding.bind_cpu_input(name, value)
        for name, value in current.items():
            self.binding.bind_ortvalue_input(name, value)
            self.binding.bind_ortvalue_output(f"{name}.next", following[name])
        self.binding.bind_output("loss")
        self.session.run_with_iobinding(self.binding)
        loss = float(self.binding.get_outputs()[-1].numpy())
        self.binding.clear_binding_inputs()
        self.binding.clear_binding_outputs()
        self.sets.reverse()
        return loss


def export(name, path, shape=SHAPE, classes=None):
    network = networks.folded(networks.build(name, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(shape),), path, input_names=["input"], output_names=["logits"], dynamo=True, external_data=False, verbose=False)


def attach(model, folder, mode):
    """Seconds that the whole command took."""
    start = time.perf_counter()
    command = ["node", str(ROOT / "dist/cli/main.js"), "attach", str(model), "--for", "cpu", "-o", str(folder), "--force", *(MODES | MORE_MODES)[mode]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    if mode == "tuned":
        tune = ["node", str(ROOT / "dist/cli/main.js"), "tune", str(folder), "--threads", str(THREADS), "--quiet"]
        subprocess.run(tune, check=True, stdout=subprocess.DEVNULL)
    return seconds


def make(side, name, mode, folder):
    data = batch(networks.classes_of(name))
    return Torch(name, mode, *data) if side == "torch" else Graph(folder, *data)


def by_turns(runs, rounds):
    """Seconds of the steps of each, after a first one that is not counted, and the losses of that."""
    first = {side: run.step() for side, run in runs.items()}
    times = {side: [] for side in runs}
    for _ in range(rounds):
        for side, run in runs.items():
            start = time.perf_counter()
            run.step()
            times[side].append(time.perf_counter() - start)
    return times, first
