"""A PyTorch model trained with a loss that ONNX Runtime computes: the graph gives the gradient, autograd takes it from there.

    pip install torch numpy onnxruntime
    python examples/pytorch_loss.py graphs/ohem-lovasz.onnx
"""

import sys

import onnxruntime as ort
import torch

options = ort.SessionOptions()
options.enable_mem_pattern = False  # half the peak memory
graph = ort.InferenceSession(sys.argv[1] if len(sys.argv) > 1 else "graphs/ohem-lovasz.onnx", options)


class OhemLovasz(torch.autograd.Function):
    @staticmethod
    def forward(context, logits, labels):
        loss, gradient = graph.run(["loss", "logits.grad"], {"logits": logits.detach().numpy(), "labels": labels.numpy()})
        context.save_for_backward(torch.from_numpy(gradient))
        return torch.tensor(loss)

    @staticmethod
    def backward(context, outer):
        return outer * context.saved_tensors[0], None


def pictures(count, generator, size=48):
    """Squares of class 1 and stripes of class 2 on background, with noise; the frame of each picture is ignored."""
    labels = torch.zeros(count, size, size, dtype=torch.uint8)
    for i in range(count):
        x, y, stripe = torch.randint(4, size - 20, (3,), generator=generator).tolist()
        labels[i, stripe : stripe + 5] = 2
        labels[i, y : y + 14, x : x + 14] = 1
    tint = torch.tensor([[0.2, 0.2, 0.3], [0.7, 0.3, 0.2], [0.3, 0.6, 0.3]])
    images = tint[labels.long()].permute(0, 3, 1, 2) + 0.3 * torch.randn(count, 3, size, size, generator=generator)
    labels[:, [0, -1]] = 255
    labels[:, :, [0, -1]] = 255
    return images, labels


def iou(model, images, labels):
    found, known = model(images).argmax(1), labels != 255
    hits = [((found == c) & (labels == c) & known).sum() / (((found == c) | (labels == c)) & known).sum() for c in range(3)]
    return sum(hits).item() / 3


torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
model = torch.nn.Sequential(
    *(layer for width in ((3, 16), (16, 16)) for layer in (torch.nn.Conv2d(*width, 5, padding=2), torch.nn.ReLU())),
    torch.nn.Conv2d(16, 3, 1),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
held_out = pictures(16, generator)
for step in range(60):
    images, labels = pictures(8, generator)
    loss = OhemLovasz.apply(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0 or step == 59:
        with torch.no_grad():
            print(f"step {step:3}  loss {loss.item():.4f}  mean IoU {iou(model, *held_out):.3f}")
