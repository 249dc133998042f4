"""Other forms of PyTorch beside the graph: batch normalization kept, and the network through torch.compile.

Cross-entropy alone, so that what is compared is the network's own passes.
"""

import os
import shutil
import statistics

import networks
from sides import Graph, Torch, attach, batch, by_turns

FORMS = {"folded": "PyTorch", "unfolded": "normalization kept", "compiled": "torch.compile"}


def available():
    """torch.compile writes C++ and needs a compiler for it."""
    if any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "c++") if name):
        return list(FORMS)
    print("no C++ compiler (g++, clang++ or $CXX): torch.compile is left out")
    return [form for form in FORMS if form != "compiled"]


def measure_forms(name, model, folder, rounds, forms):
    attach(model, folder, "ce")
    data = batch(networks.classes_of(name))
    times, _ = by_turns({**{form: Torch(name, "ce", *data, form) for form in forms}, "graph": Graph(folder, *data)}, rounds)
    ratios = {form: statistics.median(b / a for a, b in zip(times[form], times["graph"])) for form in forms}
    return {"network": name, "rounds": rounds, "ms": {side: 1e3 * statistics.median(each) for side, each in times.items()}, "ratio": ratios}


def table(rows):
    lines = [f"| network | {' ms | '.join(FORMS.values())} ms | graph ms | {' | '.join(f'graph ÷ {name}' for name in FORMS.values())} |"]
    lines.append("| --- " * (2 + 2 * len(FORMS)) + "|")
    for row in rows:
        times = [f"{row['ms'][side]:.0f}" if side in row["ms"] else "–" for side in (*FORMS, "graph")]
        ratios = [f"{row['ratio'][form]:.2f}" if form in row["ratio"] else "–" for form in FORMS]
        lines.append(f"| {row['network']} | {' | '.join([*times, *ratios])} |")
    return "\n".join(lines)
