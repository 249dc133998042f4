"""A training loop in NumPy alone: one graph for the loss and its gradient at the logits, one for the optimizer.

The model is linear in a few features per pixel, so its own gradient is one product.

    pip install numpy onnxruntime
    python examples/numpy_loop.py graphs/ohem-lovasz.onnx graphs/adamw.onnx
"""

import sys

import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
paths = sys.argv[1:3] if len(sys.argv) > 2 else ["graphs/ohem-lovasz.onnx", "graphs/adamw.onnx"]
loss_graph, update_graph = (ort.InferenceSession(path, options) for path in paths)
update_outputs = [value.name for value in update_graph.get_outputs()]
random = np.random.default_rng(0)
classes, height, width = 4, 64, 96

# Regions whose class is a function of the place; five features of each pixel, two of them the place.
rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
labels = (np.where(rows + columns > 0, 2, 0) + (rows > columns)).astype(np.uint8)[None]
features = np.stack([np.ones_like(rows), rows, columns, rows * columns, np.abs(rows)])[None]
features[:, 1:3] += 0.1 * random.standard_normal((1, 2, height, width), np.float32)
labels[:, :2] = 255  # ignored

params = np.zeros(classes * 5, np.float32)
state = {"params": params, "exp_avg": np.zeros_like(params), "exp_avg_sq": np.zeros_like(params), "step": np.zeros(1, np.int64)}
for step in range(200):
    weight = state["params"].reshape(classes, 5)
    logits = np.einsum("cf,nfhw->nchw", weight, features)
    loss, kept, gradient = loss_graph.run(["loss", "kept", "logits.grad"], {"logits": logits, "labels": labels})
    of_weight = np.einsum("nchw,nfhw->cf", gradient, features)
    feeds = {"params.grad": of_weight.reshape(-1), "learning_rate": np.array(0.1, np.float32), **state}
    out = dict(zip(update_outputs, update_graph.run(None, feeds)))
    state = {name: out[f"{name}.next"] for name in state}
    if step % 40 == 0 or step == 199:
        known = labels != 255
        right = (logits.argmax(1) == labels)[known].mean()
        print(f"step {step:3}  loss {loss:.4f}  hard pixels {kept}  right {right:.3f}")
