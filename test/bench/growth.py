"""How the time of a step grows with pixels, pictures and classes: at 1, 2 and 4 times as many, the graph alone.

Pixels and pictures multiply the whole work; classes multiply that of the last layer and of the loss, so there the step may
grow by less, never by more.
"""

import statistics

import networks
from sides import SHAPE, Graph, attach, batch, by_turns, export

FACTORS = (1, 2, 4)


def sizes(kind, factor, classes):
    """Shape of the images and number of classes."""
    n, c, h, w = SHAPE
    if kind == "batch":
        return (factor * n, c, h, w), classes
    if kind == "classes":
        return SHAPE, factor * classes
    return (n, c, h * (2 if factor == 4 else 1), w * (2 if factor > 1 else 1)), classes


def measure_growth(name, mode, folder, rounds):
    rows = []
    # A second channel would be another loss, not a larger one.
    for kind in ("pixels", "batch", "classes") if networks.classes_of(name) > 1 else ("pixels", "batch"):
        runs = {}
        for factor in FACTORS:
            shape, classes = sizes(kind, factor, networks.classes_of(name))
            model, train = folder / f"{kind}{factor}.onnx", folder / f"{kind}{factor}"
            export(name, model, shape, classes)
            attach(model, train, mode)
            runs[factor] = Graph(train, *batch(classes, shape))
        times, _ = by_turns(runs, rounds)
        for factor in FACTORS:
            ratio = statistics.median(each / one for one, each in zip(times[1], times[factor]))
            rows.append({"network": name, "mode": mode, "kind": kind, "factor": factor, "ms": 1e3 * statistics.median(times[factor]), "ratio": ratio, "rounds": rounds})
            print(f"{name:28}{mode:11}{kind:>9} × {factor}{rows[-1]['ms']:9.0f} ms, time × {ratio:.2f}", flush=True)
    return rows


def table(rows):
    lines = ["| network | loss | what grows | ms | time at 2× | time at 4× |", "| --- | --- | --- | --- | --- | --- |"]
    for one in (row for row in rows if row["factor"] == 1):
        others = [row for row in rows if row["factor"] > 1 and all(row[key] == one[key] for key in ("network", "mode", "kind"))]
        ratios = " | ".join(f"{row['ratio']:.2f}×" for row in others)
        lines.append(f"| {one['network']} | {one['mode']} | {one['kind']} | {one['ms']:.0f} | {ratios} |")
    return "\n".join(lines)
