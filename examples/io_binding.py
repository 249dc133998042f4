"""The training loop with I/O binding: the state stays where the step is computed, in two sets of buffers used in turn.

One buffer must never be input and output of the same run: the runtime reads what it has already overwritten, silently.

    pip install onnxruntime safetensors numpy pillow        # onnxruntime-gpu for cuda
    npx ohemgen attach examples/demo/model.onnx -o model.train
    python examples/io_binding.py model.train examples/demo/images examples/demo/masks trained.safetensors 20 cpu
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image
from safetensors.numpy import load_file, save_file

directory, image_folder, mask_folder, output = map(Path, sys.argv[1:5])
steps = int(sys.argv[5]) if len(sys.argv) > 5 else 20
device = sys.argv[6] if len(sys.argv) > 6 else "cpu"
preprocessing = json.loads((directory / "manifest.json").read_text())["preprocessing"]
mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
names = sorted(path.name for path in image_folder.iterdir())


def batches(size=8):
    """Images float32 [N,3,H,W] on the scale the network knows, labels uint8 [N,H,W]."""
    for start in range(0, steps * size, size):
        chosen = [names[i % len(names)] for i in range(start, start + size)]
        pixels = np.stack([np.array(Image.open(image_folder / name).convert("RGB"), np.float32) / 255 for name in chosen])
        labels = np.stack([np.array(Image.open(mask_folder / name)) for name in chosen])
        yield np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2)), labels


options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
step = ort.InferenceSession(directory / "train_step.onnx", options, providers=[provider])
if step.get_providers()[0] != provider:
    sys.exit(f"{provider} is not there: only {step.get_providers()}")

state = load_file(directory / "state.safetensors")
current, following = ({name: ort.OrtValue.ortvalue_from_numpy(value, device, 0) for name, value in state.items()} for _ in range(2))
binding = step.io_binding()
for images, labels in batches():
    rate = np.array(0.01, np.float32)
    for name, value in {"image": images, "labels": labels, "learning_rate": rate}.items():
        binding.bind_cpu_input(name, value)
    for name in state:
        binding.bind_ortvalue_input(name, current[name])
        binding.bind_ortvalue_output(f"{name}.next", following[name])
    for name in ("loss", "kept", "valid"):
        binding.bind_output(name)  # a few numbers, brought to the CPU
    step.run_with_iobinding(binding)
    loss, kept, valid = (value.numpy() for value in binding.get_outputs()[len(state) :])
    print(f"loss {loss:.4f}  hard pixels {kept} of {valid}")
    binding.clear_binding_inputs()
    binding.clear_binding_outputs()
    current, following = following, current
save_file({name: value.numpy() for name, value in current.items()}, output)
