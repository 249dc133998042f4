"""LR-ASPP on MobileNetV3-Large (torchvision)."""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import conv_bn, resized
from .mobilenets import mobilenet_v3_large


class LRASPP(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers, channels = mobilenet_v3_large()
        self.low, self.high = nn.Sequential(*layers[:5]), nn.Sequential(*layers[5:])
        self.cbr, self.scale = conv_bn(channels, 128, 1), nn.Conv2d(channels, 128, 1, bias=False)
        self.low_head, self.high_head = nn.Conv2d(40, classes, 1), nn.Conv2d(128, classes, 1)

    def forward(self, x):
        size = x.shape[2:]
        low = self.low(x)
        high = self.high(low)
        y = self.cbr(high) * torch.sigmoid(self.scale(F.adaptive_avg_pool2d(high, 1)))
        return resized(self.low_head(low) + self.high_head(resized(y, low.shape[2:])), size)
