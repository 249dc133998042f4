"""U-Nets: encoders of ResNet-18 and MobileNetV3-Small under nearest upsampling, and the plain one with transposed convolutions."""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import Basic, conv_bn
from .mobilenets import SMALL_CHANNELS, mobilenet_v3_small_050


def double(a, b):
    return nn.Sequential(conv_bn(a, b), conv_bn(b, b))


class UpPath(nn.Module):
    """Doubles the size once for each of `widths`, each time joining the next of `skips`, as long as there are any."""

    def __init__(self, cin, skips, widths):
        super().__init__()
        inputs = [a + b for a, b in zip((cin, *widths), (*skips, 0, 0))]
        self.blocks = nn.ModuleList(double(a, b) for a, b in zip(inputs, widths))

    def forward(self, x, skips):
        for i, block in enumerate(self.blocks):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips[i]], 1) if i < len(skips) else x)
        return x


class UNetR18(nn.Module):
    """Depth 4: three of the four stages of ResNet-18."""

    def __init__(self, classes):
        super().__init__()
        self.stem = conv_bn(3, 64, 7, 2)
        widths = [64, 64, 128, 256]
        self.layers = nn.ModuleList(nn.Sequential(Basic(a, b, 1 if i == 0 else 2), Basic(b, b)) for i, (a, b) in enumerate(zip(widths, widths[1:])))
        self.up = UpPath(256, (128, 64, 64), (96, 48, 32, 16))
        self.head = nn.Conv2d(16, classes, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        skips = [x]
        x = F.max_pool2d(x, 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
        return self.head(self.up(x, skips[-2::-1]))


class UNetMobile(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = mobilenet_v3_small_050()
        self.up = UpPath(SMALL_CHANNELS[-1], SMALL_CHANNELS[-2::-1], (64, 48, 32, 24, 16))
        self.head = nn.Conv2d(16, classes, 3, padding=1)

    def forward(self, x):
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        return self.head(self.up(x, maps[-2::-1]))


class UNetTranspose(nn.Module):
    def __init__(self, classes, widths=(20, 40, 80, 160)):
        super().__init__()
        self.down = nn.ModuleList(double(a, b) for a, b in zip((3, *widths), widths))
        pairs = list(zip(widths[::-1], widths[-2::-1]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(double(2 * b, b) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1]):
            x = merge(torch.cat([up(x), skip], 1))
        return self.head(x)
