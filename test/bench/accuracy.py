"""Loss and gradient at 2²¹ pixels of 19 classes against float64: exact, histograms of several sizes, float32 PyTorch.

Writes accuracy.json, the table in README.md and bins.svg (error and time over bins; drawn from the data alone with
`--plot`).

    npm run bench:accuracy
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from loss import classes, command, inputs, kinds, session

here = Path(__file__).resolve().parent
bin_counts = (16, 64, 256, 1024, 4096, 16384, 65536)
size = (1024, 2048)


def float64_reference(logits, labels, threshold=0.6, ignore=255):
    """The definitions in float64: δ from integer counts, the gradient in closed form."""
    z = logits[0].reshape(classes, -1).astype(np.float64)
    y = labels.reshape(-1).astype(np.int64)
    valid = y != ignore
    total = y.size
    z, y = z[:, valid], y[valid]
    z -= z.max(0)
    log_sum = np.log(np.exp(z).sum(0))
    own = z[y, np.arange(y.size)] - log_sum
    p = np.exp(z - log_sum)
    score = np.exp(own)
    cut = max(np.float32(threshold), np.partition(score, min(total // 16, y.size - 1))[min(total // 16, y.size - 1)])
    kept = score < cut
    gradient, losses = np.zeros_like(p), []
    for c in range(classes):
        foreground = y == c
        if not foreground.any():
            continue
        errors = np.where(foreground, 1 - p[c], p[c])
        order = np.argsort(-errors, kind="stable")
        hit = foreground[order]
        seen = hit.cumsum()
        intersection = hit.sum() - seen
        union = intersection + np.arange(1, y.size + 1)
        weights = np.where(hit, 1 / union, intersection / (union * np.maximum(union - 1.0, 1)))
        losses.append((errors[order] * weights).sum())
        gradient[c, order] = np.where(hit, -weights, weights)
    gradient /= len(losses)
    result = p * (gradient - (p * gradient).sum(0))
    share = kept / kept.sum()
    result += p * share
    result[y, np.arange(y.size)] -= share
    full = np.zeros((classes, total))
    full[:, valid] = result
    return -own[kept].mean() + np.mean(losses), full


def compare(loss, gradient, reference):
    want_loss, want = reference
    got = gradient.reshape(classes, -1)
    dot = norm = wanted = worst = difference = 0.0
    for row, wanted_row in zip(got, want):
        row = row.astype(np.float64)
        dot += row @ wanted_row
        norm += row @ row
        wanted += wanted_row @ wanted_row
        difference += ((row - wanted_row) ** 2).sum()
        worst = max(worst, np.abs(row - wanted_row).max())
    return {
        "loss_error": abs(float(loss) - want_loss),
        "gradient_error": (difference / wanted) ** 0.5,
        "largest_error": worst / np.abs(want).max(),
        "angle": 1 - dot / (norm * wanted) ** 0.5,
    }


def emit(folder, shape, flags):
    path = Path(folder) / "loss.onnx"
    sizes = f"1,{classes},{shape[0]},{shape[1]}"
    subprocess.run(["node", str(command), "emit", "ohem-lovasz", "--logits-shape", sizes, *flags, "-o", str(path), "--force"], check=True, stdout=subprocess.DEVNULL)
    return session(path)


def methods():
    yield "exact", []
    for bins in bin_counts:
        yield f"histogram {bins}", ["--lovasz-method", "histogram", "--lovasz-bins", str(bins)]


def errors(folder, kind):
    logits, labels = inputs(size, kind)
    reference = float64_reference(logits, labels)
    results = {}
    for name, flags in methods():
        loss, gradient = emit(folder, size, flags).run(["loss", "logits.grad"], {"logits": logits, "labels": labels})
        results[name] = compare(loss, gradient, reference)
    import torch

    from loss_reference import loss_and_gradient

    torch.set_num_threads(2)
    loss, gradient = loss_and_gradient(torch.from_numpy(logits), torch.from_numpy(labels.astype(np.int64)))
    results["PyTorch, float32"] = compare(loss.item(), gradient.numpy(), reference)
    return results


def times(folder, kind, turns=7):
    """Milliseconds at 19×512×1024, the methods in turns."""
    logits, labels = inputs((512, 1024), kind)
    graphs = {name: emit(folder, (512, 1024), flags) for name, flags in methods()}
    taken = {name: [] for name in graphs}
    for turn in range(turns + 1):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph.run(["loss", "logits.grad"], {"logits": logits, "labels": labels})
            if turn > 0:
                taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in taken.items()}


def table(data):
    head = "| logits | | loss, absolute | gradient, relative L2 | largest element | 1 − cosine |"
    lines = [head, "| --- | --- | --- | --- | --- | --- |"]
    for kind, results in data["errors"].items():
        label = kind
        for name, row in results.items():
            numbers = (row["loss_error"], row["gradient_error"], row["largest_error"], max(row["angle"], 0))
            lines.append(f"| {label} | {name} | {' | '.join(f'{number:.1e}' for number in numbers)} |")
            label = ""
    return "\n".join(lines)


def plot(data):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # No date and fixed ids: equal data give equal bytes.
    matplotlib.rcParams.update({"svg.hashsalt": "ohemgen", "font.size": 9})
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), constrained_layout=True)
    for color, (kind, results) in zip(("C0", "C1"), data["errors"].items()):
        for axis, key in zip(axes, ("loss_error", "gradient_error")):
            axis.loglog(bin_counts, [results[f"histogram {bins}"][key] for bins in bin_counts], "o-", color=color, label=f"histogram, {kind}")
            axis.axhline(results["exact"][key], color=color, linestyle="--", label=f"exact, {kind}")
            axis.axhline(results["PyTorch, float32"][key], color=color, linestyle=":", label=f"PyTorch float32, {kind}")
        taken = data["times"][kind]
        axes[2].semilogx(bin_counts, [taken[f"histogram {bins}"] / taken["exact"] for bins in bin_counts], "o-", color=color, label=f"histogram, {kind}")
    axes[0].loglog(bin_counts, [1 / bins for bins in bin_counts], color="grey", linewidth=0.8, label="bound 1/bins")
    axes[2].axhline(1, color="grey", linestyle="--", label="exact")
    axes[2].set_ylim(0)
    for axis, title in zip(axes, ("error of the loss", "error of the gradient, relative L2", "time, exact = 1")):
        axis.set_title(title)
        axis.set_xlabel("bins")
        axis.set_xscale("log", base=2)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=6)
    axes[2].legend(fontsize=6)
    figure.savefig(here / "bins.svg", metadata={"Date": None, "Creator": None})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", action="store_true", help="only draw the data there is")
    path = here / "accuracy.json"
    if not parser.parse_args().plot:
        with tempfile.TemporaryDirectory() as folder:
            data = {"errors": {kind: errors(folder, kind) for kind in kinds}, "times": {kind: times(folder, kind) for kind in kinds}}
        path.write_text(json.dumps(data, indent=1) + "\n")
    data = json.loads(path.read_text())
    from readme import replace

    replace("accuracy", table(data))
    plot(data)


if __name__ == "__main__":
    main()
