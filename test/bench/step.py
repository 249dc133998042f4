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
from pathlib import Path

import networks
import onnxruntime as ort
import readme
import torch
from sides import MODES, SHAPE, THREADS, Graph, Torch, attach, batch, by_turns, export, make, modes_of

# Relative, between the losses of the two sides before the first update. Counted into 1024 bins, the Lovász term is below the
# exact one by at most 1/1024; the rest is rounding: logits to 1e-5, the textbook's differences of Jaccard losses to 4e-5, and
# pixels that it puts on the other side of the cut, which weigh one in at least P/16.
AGREEMENT = 1e-3


def status(field):
    """MB of a line of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak(side, name, mode, folder):
    """MB that a fresh process grows by over three steps; run as a child of itself."""
    output = subprocess.run([sys.executable, __file__, "--peak", side, name, mode, str(folder)], check=True, capture_output=True, text=True)
    return float(output.stdout.split()[-1])


def measure_forms(name, model, folder, rounds):
    """Cross-entropy alone: the network's own passes."""
    attach(model, folder, "ce")
    forms = {form: Torch(name, "ce", *batch(networks.classes_of(name)), form) for form in ("folded", "unfolded", "compiled")}
    times, _ = by_turns({**forms, "graph": Graph(folder, *batch(networks.classes_of(name)))}, rounds)
    return {"network": name, **{f"{side}_ms": 1e3 * statistics.median(each) for side, each in times.items()}}


def measure(name, mode, model, folder, rounds):
    seconds = attach(model, folder, mode)
    runs = {side: make(side, name, mode, folder) for side in ("torch", "graph")}
    times, first = by_turns(runs, rounds)
    difference = abs(first["graph"] / first["torch"] - 1)
    if not difference < AGREEMENT:
        raise SystemExit(f"{name}, {mode}: the losses are {first['torch']} and {first['graph']}: not the same network")
    ratios = [b / a for a, b in zip(times["torch"], times["graph"])]
    memory = {side: peak(side, name, mode, folder) for side in ("torch", "graph")}
    return {
        "network": name,
        "mode": mode,
        "loss": (first["torch"], first["graph"]),
        "loss_difference": difference,
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
    print(f"{'network':28}{'loss':11}{'PyTorch':>9}{'graph':>9}{'ratio':>7}{'MB':>8}{'MB':>8}{'ratio':>7}{'session':>9}{'losses':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.networks.split(","):
            model = Path(folder) / f"{name}.onnx"
            export(name, model)
            if given.forms:
                rows.append(measure_forms(name, model, Path(folder) / "train", given.rounds))
                print({key: value if isinstance(value, str) else round(value) for key, value in rows[-1].items()}, flush=True)
                continue
            for mode in modes_of(name, given.modes.split(",")):
                row = measure(name, mode, model, Path(folder) / "train", given.rounds)
                rows.append(row)
                print(
                    f"{name:28}{mode:11}{row['torch_ms']:9.0f}{row['graph_ms']:9.0f}{row['ratio']:7.2f}{row['torch_mb']:8.0f}{row['graph_mb']:8.0f}{row['memory_ratio']:7.2f}{row['session_s']:8.1f}s{row['loss_difference']:9.0e}",
                    flush=True,
                )
    if given.write and not given.forms:
        write(rows, given.rounds)


main()
