"""Exports a network whose fresh norms and layer scales are equal, which the TorchScript exporter merges into one tensor.

Argument: the file to write.
"""

import sys
import warnings

import torch

warnings.filterwarnings("ignore")


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = torch.nn.Conv2d(width, width, 3, padding=1)
        self.gamma = torch.nn.Parameter(torch.full((width, 1, 1), 0.1))
        self.beta = torch.nn.Parameter(torch.full((width, 1, 1), 0.2))

    def forward(self, x):
        return x + self.gamma * torch.relu(self.conv(x)) + self.beta


torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, padding=1), *(Block(6) for _ in range(3)), torch.nn.Conv2d(6, 4, 1))
example = torch.rand(2, 3, 8, 8)
names = dict(input_names=["image"], output_names=["logits"])
torch.onnx.export(net.train(), (example,), sys.argv[1], dynamo=False, opset_version=17, keep_initializers_as_inputs=False, do_constant_folding=False, **names)
