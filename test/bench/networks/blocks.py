"""What the networks are made of. Everything that normalizes a convolution is a Sequential in which one follows the other, so
that `folded` finds the pair."""

import torch.nn.functional as F
from torch import nn


def conv_bn(cin, cout, k=3, stride=1, dilation=1, groups=1, act=nn.ReLU):
    layers = [nn.Conv2d(cin, cout, k, stride, (k // 2) * dilation, dilation, groups, bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, act()) if act is not None else nn.Sequential(*layers)


def resized(x, size, align_corners=False):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class Basic(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.a, self.b = conv_bn(cin, cout, 3, stride), conv_bn(cout, cout, act=None)
        self.skip = conv_bn(cin, cout, 1, stride, act=None) if stride > 1 or cin != cout else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.skip(x))


class Bottleneck(nn.Module):
    def __init__(self, cin, width, stride=1, dilation=1):
        super().__init__()
        self.body = nn.Sequential(conv_bn(cin, width, 1), conv_bn(width, width, 3, stride, dilation), conv_bn(width, width * 4, 1, act=None))
        self.skip = conv_bn(cin, width * 4, 1, stride, act=None) if stride > 1 or cin != width * 4 else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


def round_channels(channels):
    """The multiple of 8 nearest to a width, but never below 90 % of it (MobileNet's rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SqueezeExcite(nn.Module):
    def __init__(self, c, squeeze):
        super().__init__()
        self.a, self.b = nn.Conv2d(c, squeeze, 1), nn.Conv2d(squeeze, c, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.b(F.relu(self.a(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """Expand, depthwise, squeeze-and-excite where `se`, project; `act` after the first two. A dilated block keeps the size."""

    def __init__(self, cin, k, expand, cout, se, act, stride, dilation=1):
        super().__init__()
        layers = [conv_bn(cin, expand, 1, act=act)] if expand != cin else []
        layers.append(conv_bn(expand, expand, k, 1 if dilation > 1 else stride, dilation, expand, act=act))
        if se:
            layers.append(SqueezeExcite(expand, round_channels(expand // 4)))
        layers.append(conv_bn(expand, cout, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)
