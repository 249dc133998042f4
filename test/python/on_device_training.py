"""Trains a folder of `attach --target ort-training` with ONNX Runtime's on-device training API. Arguments: folder, picture
and labels (.npy), learning rate, steps, checkpoint to save. Prints losses, what evaluation then says, and the version as JSON."""

import json
import sys

import numpy as np
import onnxruntime
from onnxruntime.training.api import CheckpointState, Module, Optimizer

folder, picture, labels, rate, steps, saved = sys.argv[1:]
batch = np.load(picture), np.load(labels)
state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
module = Module(f"{folder}/training_model.onnx", state, f"{folder}/eval_model.onnx", device="cpu")
optimizer = Optimizer(f"{folder}/optimizer_model.onnx", module)
optimizer.set_learning_rate(float(rate))

losses = []
module.train()
for _ in range(int(steps)):
    losses.append(float(module(*batch)[0]))
    optimizer.step()
    module.lazy_reset_grad()

module.eval()
names = [output["name"] for output in json.load(open(f"{folder}/manifest.json"))["ortTraining"]["evalOutputs"]]
evaluated = dict(zip(names, module(*batch)))
CheckpointState.save_checkpoint(state, saved)
result = {
    "version": onnxruntime.__version__,
    "losses": losses,
    "loss": float(evaluated["loss"]),
    "prediction": np.asarray(evaluated["prediction"]).astype(int).ravel().tolist(),
}
print(json.dumps(result))
