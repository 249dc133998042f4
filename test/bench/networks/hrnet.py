"""HRNet of width 18: branches of four resolutions that exchange their maps; logits at a quarter of the size."""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import Basic, Bottleneck, conv_bn, resized


class HRStage(nn.Module):
    def __init__(self, widths, blocks=2):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(Basic(c, c) for _ in range(blocks))) for c in widths)
        self.fuse = nn.ModuleList(nn.ModuleList(self.path(i, j, widths) for j in range(len(widths))) for i in range(len(widths)))

    @staticmethod
    def path(i, j, widths):
        if i == j:
            return nn.Identity()
        if j > i:
            return conv_bn(widths[j], widths[i], 1, act=None)
        steps = [conv_bn(widths[j], widths[j], 3, 2) for _ in range(i - j - 1)]
        return nn.Sequential(*steps, conv_bn(widths[j], widths[i], 3, 2, act=None))

    def forward(self, xs):
        xs = [branch(x) for branch, x in zip(self.branches, xs)]
        result = []
        for i, row in enumerate(self.fuse):
            parts = [path(x) if j <= i else resized(path(x), xs[i].shape[2:]) for j, (path, x) in enumerate(zip(row, xs))]
            result.append(F.relu(sum(parts)))
        return result


class HRNetW18(nn.Module):
    def __init__(self, classes):
        super().__init__()
        w = (18, 36, 72, 144)
        self.stem = nn.Sequential(conv_bn(3, 64, 3, 2), conv_bn(64, 64, 3, 2), Bottleneck(64, 64), Bottleneck(256, 64))
        self.first = nn.ModuleList([conv_bn(256, w[0]), conv_bn(256, w[1], 3, 2)])
        self.next = nn.ModuleList([conv_bn(w[1], w[2], 3, 2), conv_bn(w[2], w[3], 3, 2)])
        self.stages = nn.ModuleList([HRStage(w[:2]), HRStage(w[:3]), HRStage(w), HRStage(w)])
        self.last, self.head = conv_bn(sum(w), sum(w), 1), nn.Conv2d(sum(w), classes, 1)

    def forward(self, x):
        x = self.stem(x)
        xs = self.stages[0]([layer(x) for layer in self.first])
        xs = self.stages[1]([*xs, self.next[0](xs[-1])])
        xs = self.stages[3](self.stages[2]([*xs, self.next[1](xs[-1])]))
        size = xs[0].shape[2:]
        return self.head(self.last(torch.cat([xs[0], *(resized(y, size) for y in xs[1:])], 1)))
