"""`ohemgen train` on ten thousand pictures of 1024 × 2048: is its memory flat, and how long does the step wait for data?

The pictures are hard links of a few dozen generated ones, so the run decodes ten thousand files from little disk. The
network is the demo's. Memory is the resident size of the process, sampled each second; waiting is what the run's journal
says. Everything is written to a temporary folder and deleted.

    npm run bench:loader -- [--steps N] [--batch N] [--crop H,W] [--format png|jpg] [--pictures N]
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

root = Path(__file__).resolve().parent.parent.parent
command = ["node", str(root / "dist" / "cli" / "main.js")]
HEIGHT, WIDTH, DISTINCT, CLASSES = 1024, 2048, 48, 6


def scene(seed):
    """Ellipses in shaded colours under the noise of a camera: it compresses like a photograph. The mask says which."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(60):
        cx, cy, rx, ry = random.uniform([0, 0, 20, 20], [WIDTH, HEIGHT, 300, 200])
        left, right, top, bottom = (int(max(0, v)) for v in (cx - rx, cx + rx, cy - ry, cy + ry))
        part = (slice(top, bottom), slice(left, right))
        mask[part][((x[part] - cx) / rx) ** 2 + ((y[part] - cy) / ry) ** 2 < 1] = random.integers(CLASSES)
    colours = random.uniform(20, 235, (CLASSES, 3)).astype(np.float32)
    light = 1 + 0.3 * np.sin(x / random.uniform(50, 400) + y / random.uniform(50, 400))
    picture = colours[mask] * light[..., None] + random.normal(0, 3, (HEIGHT, WIDTH, 3)).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8), mask


def generate(folder, pictures, ending):
    for name in ("images", "masks"):
        (folder / name).mkdir()
    sizes = []
    for i in range(DISTINCT):
        picture, mask = scene(i)
        image, label = folder / "images" / f"{i:05}.{ending}", folder / "masks" / f"{i:05}.png"
        Image.fromarray(picture).save(image, **({"compress_level": 3} if ending == "png" else {"quality": 92}))
        Image.fromarray(mask).save(label)
        sizes.append(image.stat().st_size)
    for i in range(DISTINCT, pictures):
        os.link(folder / "images" / f"{i % DISTINCT:05}.{ending}", folder / "images" / f"{i:05}.{ending}")
        os.link(folder / "masks" / f"{i % DISTINCT:05}.png", folder / "masks" / f"{i:05}.png")
    return statistics.median(sizes)


def resident(pid):
    """MB; None when the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    except (FileNotFoundError, StopIteration):
        return None


def train(folder, options):
    height, width = options.crop.split(",")
    shape = f"image=batch,3,{height},{width}"
    model = str(root / "examples" / "demo" / "model.onnx")
    subprocess.run([*command, "attach", model, "-o", "t", "--input-shape", shape, "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    arguments = ["train", "t", "--images", "images", "--masks", "masks", "-o", "run", "--steps", options.steps, "--batch", options.batch, "--threads", "2", "--quiet"]
    began = time.monotonic()
    process = subprocess.Popen([*command, *map(str, arguments)], cwd=folder, stdout=subprocess.DEVNULL)
    samples, loads = [], []
    while process.poll() is None:
        memory = resident(process.pid)
        if memory is not None and (folder / "run" / "metrics.jsonl").exists():
            samples.append(memory)
            loads.append(os.getloadavg()[0])
        time.sleep(1)
    if process.returncode not in (0, 130):  # 130: ended by Ctrl-C, and what it did until then counts.
        raise SystemExit(f"the run ended with {process.returncode}")
    events = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "step"], samples, loads, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--crop", default="512,1024")
    parser.add_argument("--format", choices=["png", "jpg"], default="png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ohemgen-loader-") as name:
        folder = Path(name)
        size = generate(folder, options.pictures, options.format)
        steps, samples, loads, seconds = train(folder, options)
    parts = [steps[len(steps) * i // 4 : len(steps) * (i + 1) // 4] for i in range(4)]
    memory = [samples[len(samples) * i // 4 : len(samples) * (i + 1) // 4] for i in range(4)]
    waits = [step["waited"] for step in steps]
    times = [options.batch / step["images_per_second"] for step in steps]
    report = {
        "pictures": options.pictures,
        "file_MB": round(size / 1e6, 2),
        "steps": len(steps),
        "batch": options.batch,
        "crop": options.crop,
        "seconds": round(seconds),
        "step_ms_median": round(1000 * statistics.median(times)),
        # Of time, not of steps: a long step that does not wait weighs more.
        "waited_percent": round(100 * sum(w * t for w, t in zip(waits, times)) / sum(times), 2),
        "waited_percent_by_quarter": [round(100 * statistics.mean(s["waited"] for s in part), 2) for part in parts],
        "memory_MB_by_quarter": [round(statistics.median(part)) for part in memory],
        "memory_MB_peak": round(max(samples)),
        "load": [round(min(loads), 1), round(statistics.median(loads), 1), round(max(loads), 1)],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
