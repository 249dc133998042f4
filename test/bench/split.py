"""Where the time of a step goes: forward, loss, backward, optimizer, on both sides.

PyTorch is timed phase by phase, with the logits as a leaf of the loss: the gradient of the loss at them belongs to the loss
on both sides. The graph is profiled in a session of its own, and the times of its kernels summed by the scope in their names:
profiling makes each a little slower, so the phases add up to more than the step takes without.
"""

import json
import statistics
import time

import networks
from sides import Graph, Torch, batch
from textbook import textbook_loss

PHASES = ("forward", "loss", "backward", "optimizer")
# The optimizer has the flat state with it: weights are sliced out of it, gradients joined to it. What has no scope is the
# network's own forward pass, also where the runtime made several nodes of one and named them itself.
SCOPES = {"loss": "loss", "grad": "backward", "params": "optimizer", "params.grad": "optimizer", "optim": "optimizer", "taken": "optimizer"}
ROUNDS = 3


def phase_of(name):
    return SCOPES.get(name.split("/")[0], "forward")


def torch_phases(run):
    """Seconds of the phases of one step."""
    marks = [time.perf_counter()]
    logits = run.network(run.images)
    marks.append(time.perf_counter())
    leaf = logits.detach().requires_grad_(True)
    textbook_loss(leaf, run.labels, run.lovasz).backward()
    marks.append(time.perf_counter())
    logits.backward(leaf.grad)
    marks.append(time.perf_counter())
    run.optimizer.step()
    run.optimizer.zero_grad()
    marks.append(time.perf_counter())
    return {phase: end - start for phase, start, end in zip(PHASES, marks, marks[1:])}


def profiled_phases(events):
    """Seconds of the phases of each run of a profile. Nodes inside a branch of an If are events beside that of the If, which
    takes as long as they and more: only the outer one counts."""
    kernels = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    outer = [(event["ts"], event["ts"] + event["dur"]) for event in kernels if event["args"]["op_name"] in ("If", "Loop", "Scan")]
    inside = lambda event: any(start <= event["ts"] and event["ts"] + event["dur"] <= end and event["dur"] < end - start for start, end in outer)  # noqa: E731
    runs = []
    for run in events:
        if run["name"] != "model_run":
            continue
        phases = dict.fromkeys(PHASES, 0.0)
        for event in kernels:
            if run["ts"] <= event["ts"] < run["ts"] + run["dur"] and not inside(event):
                phases[phase_of(event["name"])] += event["dur"] / 1e6
        runs.append(phases)
    return runs


def measure_split(name, mode, folder):
    """Milliseconds of each phase: the median over a few steps, after one that is not counted."""
    data = batch(networks.classes_of(name))
    graph, run = Graph(folder, *data, profile=folder.parent / "profile"), Torch(name, mode, *data)
    parts = {"torch": [], "graph": []}
    for _ in range(1 + ROUNDS):
        parts["torch"].append(torch_phases(run))
        graph.step()
    with open(graph.session.end_profiling()) as file:
        parts["graph"] = profiled_phases(json.load(file))
    return {side: {phase: 1e3 * statistics.median(step[phase] for step in steps[1:]) for phase in PHASES} for side, steps in parts.items()}


def table(rows):
    lines = [f"| network | loss | {' | '.join(PHASES)} |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        parts = row["split"]
        cells = [f"{parts['torch'][phase]:.0f} → {parts['graph'][phase]:.0f}" for phase in PHASES]
        lines.append(f"| {row['network']} | {row['mode']} | {' | '.join(cells)} |")
    return "\n".join(lines)
