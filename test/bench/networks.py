"""Segmentation networks for the benchmark, in plain PyTorch: no packages of models, weights random but sane.

Each builder returns a module in evaluation mode whose forward gives logits `[N, C, h, w]`. Published architectures:
U-Net with ResNet-18, LR-ASPP with MobileNetV3-Large, ERFNet, U-Net with transposed convolutions, DeepLabV3 with
ResNet-50, HRNet-W18, SegFormer-B0.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv_bn(cin, cout, k=3, stride=1, dilation=1, groups=1, act=nn.ReLU):
    layers = [nn.Conv2d(cin, cout, k, stride, (k // 2) * dilation, dilation, groups, bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, act()) if act is not None else nn.Sequential(*layers)


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


class UNetR18(nn.Module):
    def __init__(self, classes=12):
        super().__init__()
        self.stem = conv_bn(3, 64, 7, 2)
        widths = [64, 64, 128, 256]
        self.layers = nn.ModuleList(nn.Sequential(Basic(a, b, 1 if i == 0 else 2), Basic(b, b)) for i, (a, b) in enumerate(zip(widths, widths[1:])))
        shapes = [(256 + 128, 96), (96 + 64, 48), (48 + 64, 32), (32, 16)]
        self.up = nn.ModuleList(nn.Sequential(conv_bn(a, b), conv_bn(b, b)) for a, b in shapes)
        self.head = nn.Conv2d(16, classes, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        skips = [x]
        x = F.max_pool2d(x, 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
        skips = skips[:-1][::-1]
        for i, block in enumerate(self.up):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips[i]], 1) if i < len(skips) else x)
        return self.head(x)


class SqueezeExcite(nn.Module):
    def __init__(self, c, squeeze):
        super().__init__()
        self.a, self.b = nn.Conv2d(c, squeeze, 1), nn.Conv2d(squeeze, c, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.b(F.relu(self.a(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    def __init__(self, cin, k, expand, cout, se, hs, stride, dilation=1):
        super().__init__()
        act = nn.Hardswish if hs else nn.ReLU
        layers = [conv_bn(cin, expand, 1, act=act)] if expand != cin else []
        layers.append(conv_bn(expand, expand, k, 1 if dilation > 1 else stride, dilation, expand, act=act))
        if se:
            layers.append(SqueezeExcite(expand, max(8, (expand // 4 + 4) // 8 * 8)))
        layers.append(conv_bn(expand, cout, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


class LRASPP(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        rows = [(16, 3, 16, 16, 0, 0, 1, 1), (16, 3, 64, 24, 0, 0, 2, 1), (24, 3, 72, 24, 0, 0, 1, 1), (24, 5, 72, 40, 1, 0, 2, 1)]
        rows += [(40, 5, 120, 40, 1, 0, 1, 1)] * 2 + [(40, 3, 240, 80, 0, 1, 2, 1), (80, 3, 200, 80, 0, 1, 1, 1)]
        rows += [(80, 3, 184, 80, 0, 1, 1, 1)] * 2 + [(80, 3, 480, 112, 1, 1, 1, 1), (112, 3, 672, 112, 1, 1, 1, 1)]
        rows += [(112, 5, 672, 160, 1, 1, 2, 2), (160, 5, 960, 160, 1, 1, 1, 2), (160, 5, 960, 160, 1, 1, 1, 2)]
        blocks = [Inverted(*row) for row in rows]
        self.low = nn.Sequential(conv_bn(3, 16, 3, 2, act=nn.Hardswish), *blocks[:4])
        self.high = nn.Sequential(*blocks[4:], conv_bn(160, 960, 1, act=nn.Hardswish))
        self.cbr, self.scale = conv_bn(960, 128, 1), nn.Conv2d(960, 128, 1, bias=False)
        self.low_head, self.high_head = nn.Conv2d(40, classes, 1), nn.Conv2d(128, classes, 1)

    def forward(self, x):
        size = x.shape[2:]
        low = self.low(x)
        high = self.high(low)
        y = self.cbr(high) * torch.sigmoid(self.scale(F.adaptive_avg_pool2d(high, 1)))
        y = F.interpolate(y, size=low.shape[2:], mode="bilinear", align_corners=False)
        return F.interpolate(self.low_head(low) + self.high_head(y), size=size, mode="bilinear", align_corners=False)


class NonBottleneck(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        d = dilation
        self.a, self.b = nn.Conv2d(c, c, (3, 1), padding=(1, 0)), nn.Conv2d(c, c, (1, 3), padding=(0, 1), bias=False)
        self.c, self.d = nn.Conv2d(c, c, (3, 1), padding=(d, 0), dilation=(d, 1)), nn.Conv2d(c, c, (1, 3), padding=(0, d), dilation=(1, d), bias=False)
        self.n, self.m = nn.BatchNorm2d(c), nn.BatchNorm2d(c)

    def forward(self, x):
        y = F.relu(self.n(self.b(F.relu(self.a(x)))))
        return F.relu(self.m(self.d(F.relu(self.c(y)))) + x)


class Down(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(cin, cout - cin, 3, 2, 1), nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.norm(torch.cat([self.conv(x), F.max_pool2d(x, 2)], 1)))


def erfnet(classes=19):
    up = lambda a, b: nn.Sequential(nn.ConvTranspose2d(a, b, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())  # noqa: E731
    body = [Down(3, 16), Down(16, 64), *(NonBottleneck(64, 1) for _ in range(5)), Down(64, 128)]
    body += [NonBottleneck(128, d) for _ in range(2) for d in (2, 4, 8, 16)]
    body += [up(128, 64), NonBottleneck(64, 1), NonBottleneck(64, 1), up(64, 16), NonBottleneck(16, 1), NonBottleneck(16, 1)]
    return nn.Sequential(*body, nn.ConvTranspose2d(16, classes, 2, 2))


class UNetTranspose(nn.Module):
    def __init__(self, classes=12, widths=(20, 40, 80, 160)):
        super().__init__()
        double = lambda a, b: nn.Sequential(conv_bn(a, b), conv_bn(b, b))  # noqa: E731
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


class DeepLabR50(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.stem = conv_bn(3, 64, 7, 2)
        layers, cin = [], 64
        for width, count, stride, dilation in ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)):
            for i in range(count):
                layers.append(Bottleneck(cin, width, stride if i == 0 else 1, dilation))
                cin = width * 4
        self.body = nn.Sequential(*layers)
        self.aspp = nn.ModuleList([conv_bn(2048, 256, 1), *(conv_bn(2048, 256, 3, dilation=d) for d in (12, 24, 36))])
        self.pool, self.project, self.last = conv_bn(2048, 256, 1), conv_bn(1280, 256, 1), conv_bn(256, 256)
        self.head = nn.Conv2d(256, classes, 1)

    def forward(self, x):
        x = self.body(F.max_pool2d(self.stem(x), 3, 2, 1))
        pooled = self.pool(F.adaptive_avg_pool2d(x, 1)).expand(-1, -1, x.shape[2], x.shape[3])
        return self.head(self.last(self.project(torch.cat([*(branch(x) for branch in self.aspp), pooled], 1))))


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
            parts = [path(x) if j <= i else F.interpolate(path(x), size=xs[i].shape[2:], mode="bilinear", align_corners=False) for j, (path, x) in enumerate(zip(row, xs))]
            result.append(F.relu(sum(parts)))
        return result


class HRNetW18(nn.Module):
    def __init__(self, classes=19):
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
        return self.head(self.last(torch.cat([xs[0], *(F.interpolate(y, size=size, mode="bilinear", align_corners=False) for y in xs[1:])], 1)))


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
    def __init__(self, classes=19):
        super().__init__()
        widths, heads, ratios = (32, 64, 160, 256), (1, 2, 5, 8), (8, 4, 2, 1)
        self.patch = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2) for a, b, k, s in zip((3, *widths), widths, (7, 3, 3, 3), (4, 2, 2, 2)))
        self.embed, self.norm = (nn.ModuleList(nn.LayerNorm(c) for c in widths) for _ in range(2))
        self.blocks = nn.ModuleList(nn.ModuleList(SegBlock(c, h, r) for _ in range(2)) for c, h, r in zip(widths, heads, ratios))
        self.linear = nn.ModuleList(nn.Linear(c, 256) for c in widths)
        self.fuse, self.head = conv_bn(1024, 256, 1), nn.Conv2d(256, classes, 1)

    def forward(self, x):
        maps = []
        for patch, embed, blocks, norm, linear in zip(self.patch, self.embed, self.blocks, self.norm, self.linear):
            x = patch(x)
            n, c, h, w = x.shape
            y = embed(x.flatten(2).transpose(1, 2))
            for block in blocks:
                y = block(y, h, w)
            y = norm(y)
            x = y.transpose(1, 2).reshape(n, c, h, w)
            maps.append(linear(y).transpose(1, 2).reshape(n, 256, h, w))
        size = maps[0].shape[2:]
        return self.head(self.fuse(torch.cat([F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps[::-1]], 1)))


NETWORKS = {
    "unet_resnet18": UNetR18,
    "lraspp_mobilenetv3": LRASPP,
    "unet_convtranspose": UNetTranspose,
    "erfnet": erfnet,
    "segformer_b0": SegFormerB0,
    "hrnet_w18": HRNetW18,
    "deeplabv3_resnet50": DeepLabR50,
}


def build(name):
    """The network with seeded weights; batch statistics near those that its activations have."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, 128, 128))
    return network.eval()


def folded(network):
    """Batch normalization folded into the convolution before it, wherever one follows directly, as exporters do."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            if isinstance(module[i], nn.Conv2d) and isinstance(module[i + 1], nn.BatchNorm2d):
                module[i] = nn.utils.fusion.fuse_conv_bn_eval(module[i], module[i + 1])
                module[i + 1] = nn.Identity()
    return network
