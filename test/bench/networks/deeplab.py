"""DeepLab: atrous pyramid pooling on ResNet-50, MobileNetV3-Large (both torchvision's) and, separable and with a decoder, on
MobileNetV2 (segmentation_models_pytorch)."""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import Bottleneck, conv_bn, resized
from .mobilenets import mobilenet_v2, mobilenet_v3_large


def separable(cin, cout, dilation=1):
    depthwise = nn.Conv2d(cin, cin, 3, 1, dilation, dilation, cin, bias=False)
    return nn.Sequential(depthwise, *conv_bn(cin, cout, 1))


class ASPP(nn.Module):
    def __init__(self, cin, width, atrous):
        super().__init__()
        self.branches = nn.ModuleList([conv_bn(cin, width, 1), *(atrous(cin, width, dilation=d) for d in (12, 24, 36))])
        self.pool, self.project = conv_bn(cin, width, 1), conv_bn(5 * width, width, 1)

    def forward(self, x):
        context = [branch(x) for branch in self.branches]
        pooled = resized(self.pool(F.adaptive_avg_pool2d(x, 1)), x.shape[2:])
        return self.project(torch.cat([*context, pooled], 1))


def head(cin, classes):
    return nn.Sequential(ASPP(cin, 256, conv_bn), conv_bn(256, 256), nn.Conv2d(256, classes, 1))


class DeepLabR50(nn.Module):
    """Logits at an eighth of the size."""

    def __init__(self, classes):
        super().__init__()
        self.stem = conv_bn(3, 64, 7, 2)
        layers, cin = [], 64
        for width, count, stride, dilation in ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)):
            for i in range(count):
                layers.append(Bottleneck(cin, width, stride if i == 0 else 1, dilation))
                cin = width * 4
        self.body, self.head = nn.Sequential(*layers), head(2048, classes)

    def forward(self, x):
        return self.head(self.body(F.max_pool2d(self.stem(x), 3, 2, 1)))


class DeepLabMobile(nn.Module):
    """MobileNetV3-Large of width 0.35; the main output alone, without the auxiliary one."""

    def __init__(self, classes):
        super().__init__()
        layers, channels = mobilenet_v3_large(0.35)
        self.body, self.head = nn.Sequential(*layers), head(channels, classes)

    def forward(self, x):
        return resized(self.head(self.body(x)), x.shape[2:])


class DeepLabPlus(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.low, self.high = mobilenet_v2()
        self.aspp, self.after = ASPP(1280, 96, separable), separable(96, 96)
        self.detail, self.merge, self.head = conv_bn(24, 48, 1), separable(144, 96), nn.Conv2d(96, classes, 1)

    def forward(self, x):
        low = self.low(x)
        context = resized(self.after(self.aspp(self.high(low))), low.shape[2:], align_corners=True)
        return resized(self.head(self.merge(torch.cat([context, self.detail(low)], 1))), x.shape[2:], align_corners=True)
