"""Layers of one picture (colour, label, depth, sun, emission) in perspective, painted far to near; classes, and mixing of colours."""

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, SS = 160, 96, 3
CLASSES = ["sky", "building", "vegetation", "road", "vehicle", "person"]
SKY, BUILDING, VEGETATION, ROAD, VEHICLE, PERSON = range(6)
IGNORE = 255
LOOKS = ("day", "night-rain")
COLOURS = {
    SKY: (112, 176, 224), BUILDING: (150, 110, 100), VEGETATION: (88, 156, 62),
    ROAD: (118, 92, 138), VEHICLE: (36, 62, 190), PERSON: (226, 40, 70),
    IGNORE: (245, 242, 230),
}


def clip8(c):
    return tuple(int(min(255, max(0, round(v)))) for v in c)


def mul(c, k):
    return tuple(v * k for v in c)


def mix(a, b, t):
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def noise(rng, h, w, cell, octaves=3):
    """Fractal value noise, about zero mean, roughly within -1..1."""
    out = np.zeros((h, w), np.float32)
    amp = 1.0
    for _ in range(octaves):
        gh, gw = max(2, int(h / cell) + 2), max(2, int(w / cell) + 2)
        g = Image.fromarray(rng.uniform(-1, 1, (gh, gw)).astype(np.float32))
        out += amp * np.asarray(g.resize((w, h), Image.BICUBIC))
        amp *= 0.55
        cell = max(1.0, cell / 2.1)
    return out


class Canvas:
    """Layers of one picture, painted far to near."""

    def __init__(self, rng):
        self.w, self.h = WIDTH * SS, HEIGHT * SS
        self.f = self.w * rng.uniform(0.82, 0.98)
        self.vx = self.w * rng.uniform(0.36, 0.64)
        self.hor = self.h * rng.uniform(0.42, 0.53)
        self.cam = rng.uniform(1.3, 1.65)
        self.curve = rng.uniform(-1, 1) * 0.0016
        size = (self.w, self.h)
        self.layers = {
            "rgb": Image.new("RGB", size), "label": Image.new("L", size, SKY),
            "depth": Image.new("F", size, 1e4), "sun": Image.new("L", size, 255),
            "emit": Image.new("RGB", size),
        }
        self.draws = {k: ImageDraw.Draw(v) for k, v in self.layers.items()}
        self.lights = []  # (x, y, z, colour, strength, radius)

    def at(self, x, y, z):
        z = max(z, 1.1)
        return (self.vx + self.f * (x / z + self.curve * z), self.hor + self.f * (self.cam - y) / z)

    def _fills(self, col, label, z, lit, emit):
        return {"rgb": clip8(col), "label": label, "depth": float(z), "sun": int(255 * lit),
                "emit": clip8(emit)}

    def poly(self, pts, col, label, z, lit=0.8, emit=(0, 0, 0)):
        for k, v in self._fills(col, label, z, lit, emit).items():
            self.draws[k].polygon(pts, fill=v)

    def poly3(self, pts, col, label, lit=0.8, emit=(0, 0, 0), z=None):
        z = z if z is not None else sum(max(p[2], 1.1) for p in pts) / len(pts)
        self.poly([self.at(*p) for p in pts], col, label, z, lit, emit)

    def oval(self, cx, cy, rx, ry, col, label, z, lit=0.8, emit=(0, 0, 0)):
        for k, v in self._fills(col, label, z, lit, emit).items():
            self.draws[k].ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=v)

    def shadow(self, pts, k):
        self.draws["sun"].polygon([self.at(*p) for p in pts], fill=int(255 * k))
