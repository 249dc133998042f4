"""Decoders that add the encoder's maps instead of joining them, on MobileNetV3-Small of half width: FPN and LinkNet
(segmentation_models_pytorch)."""

import torch.nn.functional as F
from torch import nn

from .blocks import conv_bn
from .mobilenets import SMALL_CHANNELS, mobilenet_v3_small_050


def doubled(x, scale=2):
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=True)


class Ascent(nn.Module):
    """3×3 convolutions with group normalization, each of the `count` followed by doubling the size; one without where none."""

    def __init__(self, cin, cout, count):
        super().__init__()
        widths = [cin, *([cout] * max(1, count))]
        self.steps = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(32, b), nn.ReLU()) for a, b in zip(widths, widths[1:]))
        self.doubles = count > 0

    def forward(self, x):
        for step in self.steps:
            x = doubled(step(x)) if self.doubles else step(x)
        return x


class FPN(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = mobilenet_v3_small_050()
        self.lateral = nn.ModuleList(nn.Conv2d(c, 96, 1) for c in SMALL_CHANNELS[:0:-1])
        self.ascents = nn.ModuleList(Ascent(96, 64, count) for count in (3, 2, 1, 0))
        self.head = nn.Conv2d(64, classes, 1)

    def forward(self, x):
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        pyramid = [self.lateral[0](x)]
        for lateral, skip in zip(self.lateral[1:], maps[-2:0:-1]):
            pyramid.append(F.interpolate(pyramid[-1], scale_factor=2, mode="nearest") + lateral(skip))
        return doubled(self.head(sum(ascent(level) for ascent, level in zip(self.ascents, pyramid))), 4)


class Linknet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = mobilenet_v3_small_050()
        widths = (*SMALL_CHANNELS[::-1], 32)
        self.blocks = nn.ModuleList(self.block(a, b) for a, b in zip(widths, widths[1:]))
        self.head = nn.Conv2d(32, classes, 1)

    @staticmethod
    def block(cin, cout):
        """Doubles the size on a quarter of the channels."""
        c = cin // 4
        return nn.Sequential(conv_bn(cin, c, 1), nn.ConvTranspose2d(c, c, 4, 2, 1), nn.BatchNorm2d(c), nn.ReLU(), conv_bn(c, cout, 1))

    def forward(self, x):
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        for block, skip in zip(self.blocks, (*maps[-2::-1], None)):
            x = block(x) if skip is None else block(x) + skip
        return self.head(x)
