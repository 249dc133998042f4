"""SegFormer-B0: attention over reduced maps, one linear decoder; logits at a quarter of the size."""

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import conv_bn, resized


class SegAttention(nn.Module):
    def __init__(self, c, heads, ratio):
        super().__init__()
        self.heads, self.ratio = heads, ratio
        self.q, self.k, self.v, self.o = (nn.Linear(c, c) for _ in range(4))
        self.reduce = nn.Conv2d(c, c, ratio, ratio) if ratio > 1 else None
        self.norm = nn.LayerNorm(c)

    def forward(self, x, h, w):
        n, length, c = x.shape
        y = x
        if self.reduce is not None:
            y = self.norm(self.reduce(x.transpose(1, 2).reshape(n, c, h, w)).flatten(2).transpose(1, 2))
        split = lambda t: t.reshape(n, -1, self.heads, c // self.heads).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q(x)), split(self.k(y)), split(self.v(y))
        a = torch.softmax(q @ k.transpose(2, 3) / (c // self.heads) ** 0.5, -1)
        return self.o((a @ v).transpose(1, 2).reshape(n, length, c))


class SegBlock(nn.Module):
    def __init__(self, c, heads, ratio):
        super().__init__()
        self.n1, self.n2, self.attention = nn.LayerNorm(c), nn.LayerNorm(c), SegAttention(c, heads, ratio)
        self.fc1, self.fc2, self.depthwise = nn.Linear(c, 4 * c), nn.Linear(4 * c, c), nn.Conv2d(4 * c, 4 * c, 3, 1, 1, groups=4 * c)

    def forward(self, x, h, w):
        x = x + self.attention(self.n1(x), h, w)
        y = self.fc1(self.n2(x))
        n, length, c = y.shape
        y = self.depthwise(y.transpose(1, 2).reshape(n, c, h, w)).flatten(2).transpose(1, 2)
        return x + self.fc2(F.gelu(y))


class SegFormerB0(nn.Module):
    def __init__(self, classes):
        super().__init__()
        widths, heads, ratios = (32, 64, 160, 256), (1, 2, 5, 8), (8, 4, 2, 1)
        self.patch = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2) for a, b, k, s in zip((3, *widths), widths, (7, 3, 3, 3), (4, 2, 2, 2)))
        self.embed, self.norm = (nn.ModuleList(nn.LayerNorm(c) for c in widths) for _ in range(2))
        self.blocks = nn.ModuleList(nn.ModuleList(SegBlock(c, h, r) for _ in range(2)) for c, h, r in zip(widths, heads, ratios))
        self.linear = nn.ModuleList(nn.Linear(c, 256) for c in widths)
        self.fuse, self.head = conv_bn(1024, 256, 1), nn.Conv2d(256, classes, 1)

    def forward(self, x):
        maps = []
        for patch, embed, blocks, norm in zip(self.patch, self.embed, self.blocks, self.norm):
            x = patch(x)
            n, c, h, w = x.shape
            y = embed(x.flatten(2).transpose(1, 2))
            for block in blocks:
                y = block(y, h, w)
            x = norm(y).transpose(1, 2).reshape(n, c, h, w)
            maps.append(x)
        size = maps[0].shape[2:]
        # Each map through its linear layer, then to the size of the first.
        maps = [linear(m.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(m.shape[0], 256, *m.shape[2:]) for linear, m in zip(self.linear, maps)]
        return self.head(self.fuse(torch.cat([resized(m, size) for m in maps[::-1]], 1)))
