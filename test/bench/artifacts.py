"""What ONNX Runtime's own tool for on-device training (`generate_artifacts`, 1.19.2) says to the sample models.

For each: artifacts for all float weights and its cross-entropy at the logits, then one step with them. Arguments: the page
to write, and the folder of the models. It needs the environment of test/requirements-training.txt.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.training import artifacts
from onnxruntime.training.api import CheckpointState, Module, Optimizer

page, models = sys.argv[1:]


def said(error: Exception) -> str:
    """The message without the C++ function that raised it, and without its paths."""
    text = re.sub(r"/onnxruntime_src/\S*/", "", re.sub(r"\s+", " ", str(error)).strip())
    text = re.split(r"was false\. |(?<=\)) (?=\[ONNXRuntimeError)", text)[-1] or re.split(r"\) ", text)[-1]
    return f"{type(error).__name__}: {text[:240]}".replace("|", "\\|")


def with_logits(model: onnx.ModelProto, logits: str) -> None:
    """The loss of the tool reads outputs, so that the logits are made the only one."""
    kept = [output for output in model.graph.output if output.name == logits]
    del model.graph.output[:]
    model.graph.output.extend(kept or [onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, ["n", "c", "h", "w"])])


def attempt(folder: Path) -> tuple[str, str]:
    meta = json.loads((folder / "ref.json").read_text())
    model = onnx.load(folder / "model.onnx")
    with_logits(model, meta["logits"])
    trained = set(meta["parameters"])
    weights = [tensor.name for tensor in model.graph.initializer if tensor.name in trained]
    picture, labels = np.load(folder / "input.npy"), np.load(folder / "label.npy").astype(np.int64)
    with tempfile.TemporaryDirectory() as out:
        try:
            artifacts.generate_artifacts(
                model, requires_grad=weights, loss=artifacts.LossType.CrossEntropyLoss, optimizer=artifacts.OptimType.AdamW, artifact_directory=out
            )
        except Exception as error:  # noqa: BLE001: what it says is the result
            return said(error), ""
        try:
            state = CheckpointState.load_checkpoint(f"{out}/checkpoint")
            module = Module(f"{out}/training_model.onnx", state, device="cpu")
            module.train()
            loss = float(module(picture, np.where(labels == 255, 0, labels)))
            Optimizer(f"{out}/optimizer_model.onnx", module).step()
        except Exception as error:  # noqa: BLE001
            return "made", said(error)
        return "made", f"loss {loss:.4g}"


lines = [
    "# What the runtime's own tool says",
    "",
    f"`onnxruntime.training.artifacts.generate_artifacts` of onnxruntime-training-cpu {onnxruntime.__version__} on the sample models: all weights, its",
    "cross-entropy at the logits, AdamW. Written by `artifacts.py` beside this page; `attach --target ort-training` makes all of them train on that engine",
    "(`test/attach/ort-training.test.ts`).",
    "",
    "| model | artifacts | one step |",
    "| --- | --- | --- |",
]
for folder in sorted(path.parent for path in Path(models).glob("*/model.onnx")):
    made, step = attempt(folder)
    lines.append(f"| {folder.name} | {made} | {step} |")
    print(lines[-1], flush=True)
Path(page).write_text("\n".join(lines) + "\n")
