"""Trains the bundled network on 'day' scenes and exports it to model.onnx.

    pip install torch onnx onnxscript numpy pillow
    python train_source_model.py            # about three minutes on two cores

The day scenes are drawn on the fly and never stored.  The exported graph is the
inference graph: BatchNorm is folded into the convolutions, the batch is dynamic,
height and width are fixed, and logits come out at half the input resolution.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from street import CLASSES, HEIGHT, IGNORE, WIDTH, render

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HERE = Path(__file__).parent


class ConvBN(nn.Module):
    def __init__(self, cin, cout, k=3, stride=1, groups=1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.act = act

    def forward(self, x):
        x = self.bn(self.conv(x))
        return F.relu(x) if self.act else x

    def fold(self):
        self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class InvertedResidual(nn.Module):
    def __init__(self, cin, cout, stride=1, expand=3):
        super().__init__()
        mid = cin * expand
        self.expand = ConvBN(cin, mid, 1)
        self.depthwise = ConvBN(mid, mid, 3, stride, groups=mid)
        self.project = ConvBN(mid, cout, 1, act=False)
        self.skip = stride == 1 and cin == cout

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


def up2(x):
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class StreetNet(nn.Module):
    """Inverted-residual encoder to 1/16, bilinear decoder with skips to 1/2."""

    def __init__(self, classes=len(CLASSES)):
        super().__init__()
        ir = InvertedResidual
        self.stem = ConvBN(3, 16, 3, 2)
        self.stage4 = nn.Sequential(ir(16, 24, 2), ir(24, 24))
        self.stage8 = nn.Sequential(ir(24, 40, 2), ir(40, 40))
        self.stage16 = nn.Sequential(ir(40, 64, 2), ir(64, 64), ir(64, 64))
        self.lateral16 = ConvBN(64, 40, 1)
        self.fuse8 = ConvBN(40, 32)
        self.fuse4 = ConvBN(32 + 24, 24)
        self.fuse2 = ConvBN(24 + 16, 16)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, image):
        s2 = self.stem(image)
        s4 = self.stage4(s2)
        s8 = self.stage8(s4)
        s16 = self.stage16(s8)
        y = self.fuse8(up2(self.lateral16(s16)) + s8)
        y = self.fuse4(torch.cat([up2(y), s4], 1))
        y = self.fuse2(torch.cat([up2(y), s2], 1))
        return self.head(y)

    def fold(self):
        self.eval()
        for m in self.modules():
            if isinstance(m, ConvBN):
                m.fold()
        return self


def normalise(images):
    """uint8 N,H,W,3 -> float N,3,H,W."""
    x = torch.as_tensor(np.asarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def loss_of(logits, target):
    # smoothed labels keep the network from being sure of what it has never seen
    logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, target, ignore_index=IGNORE, label_smoothing=0.1)


@torch.no_grad()
def iou(net, images, masks):
    """Intersection over union of each class, over the whole set."""
    net.eval()
    n = len(CLASSES)
    hist = torch.zeros(n, n)
    for i in range(0, len(images), 8):
        logits = net(normalise(images[i:i + 8]))
        p = F.interpolate(logits, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False).argmax(1)
        t = torch.as_tensor(np.asarray(masks[i:i + 8])).long()
        ok = t != IGNORE
        hist += torch.bincount(t[ok] * n + p[ok], minlength=n * n).view(n, n)
    tp = hist.diag()
    return tp / (hist.sum(0) + hist.sum(1) - tp)


def draw(args):
    return render(*args)


def scenes_of(seeds, look, workers):
    with ProcessPoolExecutor(workers) as pool:
        pairs = list(pool.map(draw, [(s, look) for s in seeds], chunksize=8))
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def train(net, images, masks, epochs, batch, lr):
    net.train()
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-3)
    steps = epochs * (len(images) // batch)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=steps, pct_start=0.15)
    rng = np.random.default_rng(5)
    began = time.time()
    for epoch in range(epochs):
        order, total = rng.permutation(len(images)), 0.0
        for i in range(len(images) // batch):
            idx = order[i * batch:(i + 1) * batch]
            x, t = normalise(images[idx]), torch.as_tensor(masks[idx]).long()
            if rng.random() < 0.5:
                x, t = x.flip(-1), t.flip(-1)
            x = x * float(rng.uniform(0.92, 1.08)) + float(rng.uniform(-0.08, 0.08))
            loss = loss_of(net(x), t)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}  loss {total / (i + 1):.4f}  {time.time() - began:.0f} s", flush=True)


def export(net, path):
    import onnx

    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.onnx.export(
        net, (torch.zeros(2, 3, HEIGHT, WIDTH),), dynamo=True, opset_version=18, external_data=False,
        input_names=["image"], output_names=["logits"], dynamic_shapes=({0: batch},), optimize=True, verbose=False)
    model = program.model_proto
    # keep the graph, drop what describes the exporting machine
    for holder in [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info,
                   *model.graph.input, *model.graph.output, *model.functions]:
        del holder.metadata_props[:]
    for item in [*model.graph.node, *model.graph.initializer, model.graph]:
        item.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", type=Path, default=HERE / "model.onnx")
    ap.add_argument("--scenes", type=int, default=800)
    ap.add_argument("--epochs", type=int, default=20)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float, default=6e-3)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    torch.manual_seed(3)
    torch.set_num_threads(a.threads)
    images, masks = scenes_of(range(a.scenes), "day", a.threads)
    print(f"{len(images)} day scenes drawn", flush=True)
    net = StreetNet()
    train(net, images, masks, a.epochs, a.batch, a.lr)
    net.fold()
    print("parameters", sum(p.numel() for p in net.parameters()))
    for look in ("day", "night-rain"):
        v = iou(net, *scenes_of(range(800000, 800016), look, a.threads))
        print(f"{look:11s} mIoU {v.mean():.4f} ", " ".join(f"{c} {x:.3f}" for c, x in zip(CLASSES, v)))
    export(net, a.out)
    print("wrote", a.out.name, a.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
