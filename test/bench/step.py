"""A whole training step against PyTorch eager: forward, OHEM + Lovász, backward, SGD with momentum, on two threads.

Both run in one process by turns, the same network with batch normalization folded as in the exported file, the same
batch, loss options and optimizer; the loss of PyTorch is the textbook one with autograd. Peak memory is that of three
steps above what the imports take, weights and state included, each side in a process of its own. Afterwards both sides
are taken apart into forward, loss, backward and optimizer (split.py).

    python test/bench/step.py [--networks a,b] [--modes ce,histogram,exact,tuned,checkpointed] [--rounds 5] [--write]
    python test/bench/step.py --forms    other forms of PyTorch instead (forms.py)
    python test/bench/step.py --growth   larger pictures, batches and class counts instead, of one network (growth.py)

`--write` keeps the results in step.json and the tables in README.md.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import forms
import growth
import networks
import results
from sides import MODES, by_turns, attach, export, make, modes_of
from split import PHASES, measure_split

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


def print_peak(side, name, mode, folder):
    base = status("VmRSS")
    run = make(side, name, mode, folder)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building
    for _ in range(3):
        run.step()
    print(status("VmHWM") - base)


def measure(name, mode, model, folder, rounds):
    seconds = attach(model, folder, mode)
    runs = {side: make(side, name, mode, folder) for side in ("torch", "graph")}
    times, first = by_turns(runs, rounds)
    difference = abs(first["graph"] / first["torch"] - 1)
    if not difference < AGREEMENT:
        raise SystemExit(f"{name}, {mode}: the losses are {first['torch']} and {first['graph']}: not the same network")
    ratios = [b / a for a, b in zip(times["torch"], times["graph"])]
    memory = {side: peak(side, name, mode, folder) for side in ("torch", "graph")}
    start = runs.pop("graph").start
    runs.clear()
    return {
        "network": name,
        "mode": mode,
        "rounds": rounds,
        "loss": (first["torch"], first["graph"]),
        "loss_difference": difference,
        "torch_ms": 1e3 * statistics.median(times["torch"]),
        "graph_ms": 1e3 * statistics.median(times["graph"]),
        "ratio": statistics.median(ratios),
        "ratio_of_minima": min(times["graph"]) / min(times["torch"]),
        "torch_mb": memory["torch"],
        "graph_mb": memory["graph"],
        "memory_ratio": memory["graph"] / memory["torch"],
        "session_s": start,
        "attach_s": seconds,
        "split": measure_split(name, mode, folder),
    }


def measure_steps(given, folder):
    print(f"{'network':28}{'loss':11}{'PyTorch':>9}{'graph':>9}{'ratio':>7}{'MB':>8}{'MB':>8}{'ratio':>7}{'session':>9}{'losses':>9}")
    rows = []
    for name in given.networks.split(","):
        model = folder / f"{name}.onnx"
        export(name, model)
        for mode in modes_of(name, given.modes.split(",")):
            row = measure(name, mode, model, folder / "train", given.rounds)
            rows.append(row)
            times = f"{row['torch_ms']:9.0f}{row['graph_ms']:9.0f}{row['ratio']:7.2f}"
            memory = f"{row['torch_mb']:8.0f}{row['graph_mb']:8.0f}{row['memory_ratio']:7.2f}"
            print(f"{name:28}{mode:11}{times}{memory}{row['session_s']:8.1f}s{row['loss_difference']:9.0e}", flush=True)
            for side, phases in row["split"].items():
                print(f"{'':28}{side:11}{', '.join(f'{phase} {phases[phase]:.0f}' for phase in PHASES)}", flush=True)
    return rows


def measure_other_forms(given, folder):
    rows, usable = [], forms.available()
    for name in given.networks.split(","):
        model = folder / f"{name}.onnx"
        export(name, model)
        rows.append(forms.measure_forms(name, model, folder / "train", given.rounds, usable))
        print(f"{name:28}{', '.join(f'{side} {each:.0f} ms' for side, each in rows[-1]['ms'].items())}", flush=True)
    return rows


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peak":
        print_peak(*sys.argv[2:6])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", help="default: all; with --growth lraspp_mobilenetv3")
    parser.add_argument("--modes", help=f"default: {','.join(MODES)}; with --growth exact")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.networks = given.networks or ("lraspp_mobilenetv3" if given.growth else ",".join(networks.NETWORKS))
    given.modes = given.modes or ("exact" if given.growth else ",".join(MODES))
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        if given.growth:
            rows = [row for name in given.networks.split(",") for mode in modes_of(name, given.modes.split(",")) for row in growth.measure_growth(name, mode, folder, given.rounds)]
        else:
            rows = (measure_other_forms if given.forms else measure_steps)(given, folder)
    if given.write:
        results.keep("growth" if given.growth else "forms" if given.forms else "rows", rows)


main()
