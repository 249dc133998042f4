"""Loss and gradient at the logits: graphs of `ohemgen emit` on ONNX Runtime against the published PyTorch code.

Time: all variants in one process, in turns. Memory: a process per variant, peak resident size above that of the
process with its session and inputs. Writes loss.json and the tables between the marks in README.md.

    npm run bench:loss -- [--turns N] [--only 512x1024]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
command = here.parent.parent / "dist" / "cli" / "main.js"
classes, threads = 19, 2
sizes = ((512, 1024), (1024, 2048))
kinds = ("random", "nearly trained")
bars = {("exact", "random"): 0.15, ("exact", "nearly trained"): 0.5, ("histogram", "random"): 0.08, ("histogram", "nearly trained"): 0.08}


def inputs(size, kind):
    """Labels in blocks of 32 × 32 with 3 % void; logits of a net that knows nothing, or errs at 5 % of the pixels."""
    height, width = size
    random = np.random.default_rng(7)
    blocks = random.choice(classes, (height // 32, width // 32), p=np.arange(classes, 0, -1) / (classes * (classes + 1) / 2))
    labels = blocks.repeat(32, 0).repeat(32, 1).astype(np.uint8)
    logits = random.standard_normal((1, classes, height, width), np.float32)
    if kind == "nearly trained":
        believed = np.where(random.random((height, width)) < 0.05, random.integers(0, classes, (height, width)), labels)
        certainty = random.gamma(6, 1.5, (height, width)).astype(np.float32)
        np.put_along_axis(logits[0], believed[None].astype(np.int64), certainty[None] + np.take_along_axis(logits[0], believed[None].astype(np.int64), 0), 0)
    labels[random.random((height, width)) < 0.03] = 255
    return logits, labels[None]


def emit(folder, size, method):
    path = Path(folder) / f"{method.replace(' ', '')}-{size[0]}.onnx"
    if not path.exists():
        name, _, provider = method.partition(" --for ")
        flags = ["--logits-shape", f"1,{classes},{size[0]},{size[1]}", "--lovasz-method", name, "--for", provider or "any", "-o", str(path)]
        subprocess.run(["node", str(command), "emit", "ohem-lovasz", *flags], check=True, stdout=subprocess.DEVNULL)
    return path


def session(path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.enable_mem_pattern = False
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(variant, logits, labels, folder):
    """A call that makes the loss and the gradient once."""
    if variant == "PyTorch":
        import torch

        sys.path.insert(0, str(here))
        from loss_reference import loss_and_gradient

        torch.set_num_threads(threads)
        z, y = torch.from_numpy(logits), torch.from_numpy(labels.astype(np.int64))
        loss_and_gradient(z[:, :, :16, :16], y[:, :16, :16])
        return lambda: loss_and_gradient(z, y)
    graph = session(emit(folder, logits.shape[2:], variant))
    return lambda: graph.run(["loss", "logits.grad"], {"logits": logits, "labels": labels})


def peak(variant, size, kind, folder):
    """MB above the process that is ready to run; the child's last line."""
    arguments = [sys.executable, __file__, "--child", variant, str(size[0]), str(size[1]), kind, str(folder)]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()[-1])


def status(key):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))


def child(variant, height, width, kind, folder):
    logits, labels = inputs((int(height), int(width)), kind)
    once = runner(variant, logits, labels, folder)
    Path("/proc/self/clear_refs").write_text("5")
    base = status("VmRSS")
    for _ in range(3):
        once()
    print((status("VmHWM") - base) / 1024)


def times(size, kind, folder, turns):
    logits, labels = inputs(size, kind)
    variants = ("PyTorch", "exact", "exact --for cpu", "histogram", "histogram --for cpu")
    once = {name: runner(name, logits, labels, folder) for name in variants}
    for call in once.values():
        call()
    taken = {name: [] for name in variants}
    for _ in range(turns):
        for name, call in once.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return taken


def measure(size, kind, folder, turns):
    taken = times(size, kind, folder, turns)
    result = {"size": list(size), "logits": kind, "variants": {}}
    reference_peak = peak("PyTorch", size, kind, folder)
    for name, values in taken.items():
        ratios = [value / reference for value, reference in zip(values, taken["PyTorch"])]
        memory = reference_peak if name == "PyTorch" else peak(name, size, kind, folder)
        result["variants"][name] = {
            "median_ms": round(statistics.median(values) * 1e3, 1),
            "min_ms": round(min(values) * 1e3, 1),
            "ratio": round(statistics.median(ratios), 4),
            "peak_mb": round(memory, 1),
            "peak_ratio": round(memory / reference_peak, 3),
        }
    return result


def table(results):
    lines = ["| logits | | median ms | min ms | × PyTorch | bar | peak MB | × PyTorch |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for result in results:
        label = f"19×{result['size'][0]}×{result['size'][1]}, {result['logits']}"
        for name, row in result["variants"].items():
            bar = bars.get((name.split()[0], result["logits"]))
            lines.append(
                f"| {label} | {name} | {row['median_ms']:.0f} | {row['min_ms']:.0f} | {row['ratio']:.3f} | {'' if bar is None else f'{bar:.2f}'} | {row['peak_mb']:.0f} | {row['peak_ratio']:.2f} |"
            )
            label = ""
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--only")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    chosen = [size for size in sizes if options.only in (None, f"{size[0]}x{size[1]}")]
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for size in chosen:
            for kind in kinds:
                results.append(measure(size, kind, folder, options.turns))
                print(table(results[-1:]), f"(load {os.getloadavg()[0]:.1f})", flush=True)
    if options.dry:
        return
    import onnxruntime
    import torch

    versions = {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__, "python": platform.python_version(), "threads": threads, "turns": options.turns}
    (here / "loss.json").write_text(json.dumps({"versions": versions, "results": results}, indent=1) + "\n")
    from readme import replace

    replace("loss", table(results))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
