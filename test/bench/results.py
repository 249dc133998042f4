"""What the step benchmark keeps: step.json, and from it the tables of README.md.

Rows replace those of the same network, loss and size and leave the others, so that a part can be measured again; rows of
other versions or another machine go.
"""

import json
import os
from pathlib import Path

import forms
import growth
import networks
import onnxruntime as ort
import readme
import split
import torch
from sides import MODES, MORE_MODES, SHAPE, THREADS

PATH = Path(__file__).with_name("step.json")
KEYS = ("network", "mode", "kind", "factor")


def order(row):
    """As the tables list them: networks, then losses; a stable sort leaves the rest."""
    return list(networks.NETWORKS).index(row["network"]), list(MODES | MORE_MODES).index(row.get("mode", "ce"))


def keep(section, rows):
    """`section` is "rows" (steps), "growth" or "forms"."""
    machine = {"cores": os.cpu_count(), "threads": THREADS, "torch": torch.__version__, "onnxruntime": ort.__version__}
    document = {"machine": machine, "shape": list(SHAPE)}
    old = json.loads(PATH.read_text()) if PATH.exists() else {}
    if all(old.get(key) == value for key, value in document.items()):
        document = old
    new = {tuple(row.get(key) for key in KEYS) for row in rows}
    kept = [row for row in document.get(section, []) if tuple(row.get(key) for key in KEYS) not in new]
    document[section] = sorted([*kept, *rows], key=order)
    PATH.write_text(json.dumps(document, indent=1) + "\n")
    if section == "rows":
        readme.replace("step", steps(document["rows"]))
        readme.replace("split", split.table([row for row in document["rows"] if "split" in row]))
    else:
        readme.replace(section, {"growth": growth, "forms": forms}[section].table(document[section]))


def steps(rows):
    lines = ["| network | loss | PyTorch ms | graph ms | ratio | PyTorch MB | graph MB | ratio | session |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        times = f"{row['torch_ms']:.0f} | {row['graph_ms']:.0f} | **{row['ratio']:.2f}**"
        memory = f"{row['torch_mb']:.0f} | {row['graph_mb']:.0f} | {row['memory_ratio']:.2f}"
        lines.append(f"| {row['network']} | {row['mode']} | {times} | {memory} | {row['session_s']:.1f} s |")
    return "\n".join(lines)
