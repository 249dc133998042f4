"""A whole training step against PyTorch eager: forward, OHEM + Lovász, backward, SGD with momentum, on two threads.

Both run in one process by turns, the same network with batch normalization folded as in the exported file, the same
batch, loss options and optimizer; the loss of PyTorch is the textbook one with autograd. Peak memory is that of three
steps above what the imports take, weights and state included, each side in a process of its own.

    python test/bench/step.py [--networks a,b] [--modes ce,histogram,exact,tuned,checkpointed] [--forms] [--rounds 5] [--write]

`--forms` measures other forms of PyTorch instead: batch normalization kept, and the network through torch.compile (which
needs a C++ compiler) and prints them. `--write` keeps the results in step.json and the table in README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import networks
import numpy as np
import onnxruntime as ort
import readme
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (2, 3, 256, 512)
THREADS = 2
MODES = {"ce": ["--lovasz", "0"], "histogram": ["--lovasz-method", "histogram"], "exact": []}
# Not in the default run: the graphs of ce after `ohemgen tune`, and those of histogram with activations made again.
MORE_MODES = {"tuned": MODES["ce"], "checkpointed": [*MODES["histogram"], "--checkpoint-activations"]}


def textbook_loss(logits, labels, lovasz, threshold=0.6, min_kept=1 / 16):
    """OHEM cross-entropy and Lovász-Softmax as commonly published: sorts, masks, autograd."""
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none").flatten()
    valid = (labels != 255).flatten()
    probabilities = torch.softmax(logits, 1)
    scores = probabilities.detach().gather(1, labels.where(labels != 255, 0).unsqueeze(1)).flatten()[valid]
    k = min(int(labels.numel() * min_kept), scores.numel() - 1)
    cut = max(scores.sort().values[k].item(), threshold)
    total = losses[valid][scores < cut].mean()
    if not lovasz:
        return total
    rows = probabilities.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])[valid]
    truth = labels.flatten()[valid]
    terms = []
    for index in range(logits.shape[1]):
        foreground = (truth == index).float()
        if foreground.sum() == 0:
            continue
        errors, order = (foreground - rows[:, index]).abs().sort(descending=True)
        sorted_truth = foreground[order]
        intersection = sorted_truth.sum() - sorted_truth.cumsum(0)
        union = sorted_truth.sum() + (1 - sorted_truth).cumsum(0)
        jaccard = 1 - intersection / union
        jaccard[1:] = jaccard[1:] - jaccard[:-1]
        terms.append(torch.dot(errors, jaccard))
    return total + torch.stack(terms).mean()


def batch(classes):
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, classes, (SHAPE[0], SHAPE[2] // 32, SHAPE[3] // 32))
    labels = blocks.repeat(32, 1).repeat(32, 2).astype(np.uint8)
    labels[generator.random(labels.shape) < 0.1] = 255
    return generator.standard_normal(SHAPE, dtype=np.float32), labels


class Torch:
    def __init__(self, name, mode, images, labels, form="folded"):
        torch.set_num_threads(THREADS)
        network = networks.build(name)
        self.network = network if form == "unfolded" else networks.folded(network)
        if form == "compiled":
            self.network = torch.compile(self.network)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-4, momentum=0.9)
        self.images, self.labels, self.lovasz = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), mode not in ("ce", "tuned")

    def step(self):
        self.optimizer.zero_grad()
        loss = textbook_loss(self.network(self.images), self.labels, self.lovasz)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Graph:
    def __init__(self, folder, images, labels):
        options = ort.SessionOptions()
        options.enable_mem_pattern = False
        options.intra_op_num_threads = THREADS
        start = time.perf_counter()
        self.session = ort.InferenceSession(str(folder / "train_step.onnx"), options, providers=["CPUExecutionProvider"])
        self.start = time.perf_counter() - start
        self.binding = self.session.io_binding()
        self.feeds = {"input": images, "labels": labels, "learning_rate": np.array(1e-4, np.float32)}
        # Two sets of state in turn, as the trainer and the example do.
        state = load_file(folder / "state.safetensors")
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


def export(name, path):
    network = networks.folded(networks.build(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(SHAPE),), path, input_names=["input"], output_names=["logits"], dynamo=True, external_data=False, verbose=False)


def attach(model, folder, mode):
    start = time.perf_counter()
    command = ["node", str(ROOT / "dist/cli/main.js"), "attach", str(model), "--for", "cpu", "-o", str(folder), "--force", *(MODES | MORE_MODES)[mode]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    if mode == "tuned":
        tune = ["node", str(ROOT / "dist/cli/main.js"), "tune", str(folder), "--threads", str(THREADS), "--quiet"]
        subprocess.run(tune, check=True, stdout=subprocess.DEVNULL)
    return seconds


def data(name):
    return batch({"unet_resnet18": 12, "unet_convtranspose": 12}.get(name, 19))


def make(side, name, mode, folder):
    images, labels = data(name)
    return Torch(name, mode, images, labels) if side == "torch" else Graph(Path(folder), images, labels)


def status(field):
    """MB of a line of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak(side, name, mode, folder):
    """MB that a fresh process grows by over three steps; run as a child of itself."""
    output = subprocess.run([sys.executable, __file__, "--peak", side, name, mode, str(folder)], check=True, capture_output=True, text=True)
    return float(output.stdout.split()[-1])


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


def measure_forms(name, model, folder, rounds):
    """Cross-entropy alone: the network's own passes."""
    attach(model, folder, "ce")
    forms = {form: Torch(name, "ce", *data(name), form) for form in ("folded", "unfolded", "compiled")}
    times, _ = by_turns({**forms, "graph": Graph(folder, *data(name))}, rounds)
    return {"network": name, **{f"{side}_ms": 1e3 * statistics.median(each) for side, each in times.items()}}


def measure(name, mode, model, folder, rounds):
    seconds = attach(model, folder, mode)
    runs = {side: make(side, name, mode, folder) for side in ("torch", "graph")}
    times, first = by_turns(runs, rounds)
    ratios = [b / a for a, b in zip(times["torch"], times["graph"])]
    memory = {side: peak(side, name, mode, folder) for side in ("torch", "graph")}
    return {
        "network": name,
        "mode": mode,
        "loss": (first["torch"], first["graph"]),
        "torch_ms": 1e3 * statistics.median(times["torch"]),
        "graph_ms": 1e3 * statistics.median(times["graph"]),
        "ratio": statistics.median(ratios),
        "ratio_of_minima": min(times["graph"]) / min(times["torch"]),
        "torch_mb": memory["torch"],
        "graph_mb": memory["graph"],
        "memory_ratio": memory["graph"] / memory["torch"],
        "session_s": runs["graph"].start,
        "attach_s": seconds,
    }


def write(rows, rounds):
    machine = {"cores": os.cpu_count(), "threads": THREADS, "torch": torch.__version__, "onnxruntime": ort.__version__}
    document = {"machine": machine, "shape": SHAPE, "rounds": rounds, "rows": rows}
    Path(__file__).with_name("step.json").write_text(json.dumps(document, indent=1) + "\n")
    lines = ["| network | loss | PyTorch ms | graph ms | ratio | PyTorch MB | graph MB | ratio | session |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        times = f"{row['torch_ms']:.0f} | {row['graph_ms']:.0f} | **{row['ratio']:.2f}**"
        memory = f"{row['torch_mb']:.0f} | {row['graph_mb']:.0f} | {row['memory_ratio']:.2f}"
        lines.append(f"| {row['network']} | {row['mode']} | {times} | {memory} | {row['session_s']:.1f} s |")
    readme.replace("step", "\n".join(lines))


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peak":
        base = status("VmRSS")
        run = make(*sys.argv[2:6])
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building
        for _ in range(3):
            run.step()
        print(status("VmHWM") - base)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(networks.NETWORKS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rows = []
    print(f"{'network':22}{'loss':11}{'PyTorch':>9}{'graph':>9}{'ratio':>7}{'MB':>8}{'MB':>8}{'ratio':>7}{'session':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.networks.split(","):
            model = Path(folder) / f"{name}.onnx"
            export(name, model)
            if given.forms:
                rows.append(measure_forms(name, model, Path(folder) / "train", given.rounds))
                print({key: value if isinstance(value, str) else round(value) for key, value in rows[-1].items()}, flush=True)
                continue
            for mode in given.modes.split(","):
                row = measure(name, mode, model, Path(folder) / "train", given.rounds)
                rows.append(row)
                print(
                    f"{name:22}{mode:11}{row['torch_ms']:9.0f}{row['graph_ms']:9.0f}{row['ratio']:7.2f}{row['torch_mb']:8.0f}{row['graph_mb']:8.0f}{row['memory_ratio']:7.2f}{row['session_s']:8.1f}s",
                    flush=True,
                )
    if given.write and not given.forms:
        write(rows, given.rounds)


main()
