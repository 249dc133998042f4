"""Runs torch.optim on given gradients and prints, as JSON, the parameters and the norm after every step of every case.

Input on stdin: {"params": [...], "gradients": [[...], ...], "cases": [{"kind", "options", "groups": [{"offset", "length",
"lr", "weight_decay"}], "clip": number}]}. Everything in float64: the update under test is float32.
"""

import json
import sys

import torch


def steps_of(case, start, gradients):
    groups = []
    for group in case["groups"]:
        part = torch.nn.Parameter(start[group["offset"] : group["offset"] + group["length"]].clone())
        groups.append({"params": [part], "lr": group["lr"], "weight_decay": group["weight_decay"]})
    optimizer_class = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[case["kind"]]
    optimizer = optimizer_class(groups, lr=1.0, **case["options"])
    for flat in gradients:
        for group, source in zip(optimizer.param_groups, case["groups"]):
            group["params"][0].grad = flat[source["offset"] : source["offset"] + source["length"]].clone()
        parts = [group["params"][0] for group in optimizer.param_groups]
        norm = flat.norm().item()
        if case["clip"] > 0:
            norm = torch.nn.utils.clip_grad_norm_(parts, case["clip"]).item()
        optimizer.step()
        yield {"params": torch.cat([part.detach() for part in parts]).tolist(), "norm": norm}


def main() -> None:
    given = json.load(sys.stdin)
    start = torch.tensor(given["params"], dtype=torch.float64)
    gradients = [torch.tensor(gradient, dtype=torch.float64) for gradient in given["gradients"]]
    json.dump([list(steps_of(case, start, gradients)) for case in given["cases"]], sys.stdout)


main()
