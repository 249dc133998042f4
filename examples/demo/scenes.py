"""Procedural street scenes with pixel labels, in two looks of the same world.

A small deferred renderer: every object is painted into colour, label, depth,
sun and emission layers; a "look" then lights those layers.  The geometry of a
seed does not depend on the look, so labels are comparable between looks.

    python scenes.py                 # rewrites images/, masks/, val_images/, val_masks/
    python scenes.py --sheet s.png   # a contact sheet of both looks, with masks

Needs numpy and Pillow only.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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


# ---------------------------------------------------------------- world parts

WALLS = [(196, 128, 96), (214, 186, 146), (186, 96, 78), (224, 212, 190), (162, 146, 132),
         (206, 164, 118), (150, 92, 82), (232, 222, 206), (172, 178, 176), (198, 150, 140)]
ROOFS = [(140, 66, 52), (92, 78, 76), (120, 84, 66), (76, 82, 92)]
AWNINGS = [(180, 50, 48), (44, 110, 92), (212, 160, 60), (50, 84, 140)]
PAINTS = [(190, 36, 40), (236, 236, 232), (46, 52, 60), (40, 84, 160), (176, 182, 188),
          (222, 164, 40), (60, 112, 84), (120, 32, 48), (90, 150, 190)]
COATS = [(206, 60, 52), (60, 92, 168), (226, 178, 66), (72, 128, 88), (238, 232, 222),
         (112, 66, 128), (40, 44, 58), (222, 120, 140)]
SKINS = [(236, 196, 164), (198, 150, 114), (140, 96, 70), (96, 66, 50)]


def ground(cv, rng, rw, sw, verge):
    """Road, kerbs, pavement and verges, textured in world coordinates."""
    h, w = cv.h, cv.w
    y0 = int(cv.hor) + 1
    yy, xx = np.mgrid[y0:h, 0:w].astype(np.float32)
    z = cv.f * cv.cam / np.maximum(yy - cv.hor, 0.4)
    x = (xx - cv.vx) * z / cv.f - cv.curve * z * z
    tile = noise(rng, 256, 256, 40, 6)
    tile2 = noise(rng, 256, 256, 6, 2)
    fade = np.exp(-z / 22)

    def tex(t, s):
        return t[(z * s).astype(np.int64) & 255, (x * s).astype(np.int64) & 255]

    grain = tex(tile, 14) * 0.10 + tex(tile2, 34) * 0.07 * fade
    col = np.empty(x.shape + (3,), np.float32)
    lab = np.full(x.shape, ROAD, np.uint8)
    asphalt = np.array([104, 104, 110]) * rng.uniform(0.86, 1.14)
    pave = np.array([176, 166, 152]) * rng.uniform(0.88, 1.08)
    grass = np.array([104, 146, 64]) * rng.uniform(0.88, 1.1)
    ax = np.abs(x)
    road, walk = ax < rw, (ax >= rw) & (ax < rw + sw)
    col[:] = asphalt
    wear = np.exp(-((ax - rw * 0.25) / 0.35) ** 2) + np.exp(-((ax - rw * 0.75) / 0.35) ** 2)
    col[road] *= (1 - 0.10 * wear * fade)[road][:, None]
    slabs = (((z % 1.6) < 0.09) | ((ax - rw) % 1.2 < 0.07)) & (z < 26)
    out = ~road
    col[out] = pave
    col[out & slabs] *= 0.86
    for side in (-1, 1):
        if verge[side] == "grass":
            g = (x * side >= rw + sw)
            col[g] = grass * 1.0
            col[g] += (tex(tile2, 22)[..., None] * np.array([16, 22, 10]))[g]
            lab[g] = VEGETATION
    kerb = (ax >= rw) & (ax < rw + 0.22)
    col[kerb] = (198, 194, 186)
    gutter = (ax < rw) & (ax > rw - 0.18)
    col[gutter] *= 0.8
    paint = np.zeros(x.shape, bool)
    phase = rng.uniform(0, 9)
    if rng.random() < 0.85:
        paint |= (ax < 0.11) & ((z + phase) % 7 < 3.6)
    if rng.random() < 0.5:
        paint |= (np.abs(ax - (rw - 0.5)) < 0.08)
    if rng.random() < 0.35:
        zc = rng.uniform(8, 20)
        paint |= (np.abs(z - zc) < 1.5) & (ax < rw - 0.3) & ((x + 50) % 1.1 < 0.55)
    col[paint & road] = np.array([232, 230, 220]) * 0.98
    if rng.random() < 0.5:  # a patched strip
        px, pz, pl = rng.uniform(-rw, rw - 1), rng.uniform(5, 14), rng.uniform(2, 6)
        m = (x > px) & (x < px + 1.3) & (z > pz) & (z < pz + pl) & road & ~paint
        col[m] *= 0.82
    col *= (1 + grain)[..., None]
    rgb = np.asarray(cv.layers["rgb"]).copy()
    rgb[y0:] = np.clip(col, 0, 255)
    cv.layers["rgb"].paste(Image.fromarray(rgb))
    label = np.asarray(cv.layers["label"]).copy()
    label[y0:] = lab
    cv.layers["label"].paste(Image.fromarray(label))
    depth = np.asarray(cv.layers["depth"]).copy()
    depth[y0:] = z
    cv.layers["depth"].paste(Image.fromarray(depth))


def distance(cv, rng, style):
    """A far skyline: hills or tree lines, and blocks."""
    base = cv.hor + cv.h * 0.012
    if rng.random() < 0.7:
        n = noise(rng, 1, cv.w + 8, cv.w * 0.35, 4)[0]
        top = cv.hor - cv.h * (0.05 + 0.04 * n)
        pts = [(i, float(top[i])) for i in range(0, cv.w + 8, 4)]
        cv.poly(pts + [(cv.w + 8, base), (0, base)], (96, 128, 84), VEGETATION, 190, 0.8)
    if style != "suburb" or rng.random() < 0.4:
        x = -5.0
        while x < cv.w:
            bw = cv.w * rng.uniform(0.03, 0.09)
            if rng.random() < 0.75:
                bh = cv.h * rng.uniform(0.05, 0.24)
                wall = WALLS[rng.integers(len(WALLS))]
                z = rng.uniform(85, 140)
                cv.poly([(x, base), (x, base - bh), (x + bw, base - bh), (x + bw, base)], wall,
                        BUILDING, z, rng.uniform(0.4, 1))
                for yy in np.arange(base - bh + 4, base - 4, 5.5):
                    for xx in np.arange(x + 3, x + bw - 4, 5.5):
                        lit = rng.random() < 0.3
                        cv.poly([(xx, yy), (xx + 2, yy), (xx + 2, yy + 2), (xx, yy + 2)],
                                mul(wall, 0.55), BUILDING, z, 0.6,
                                mul((255, 205, 130), rng.uniform(0.3, 0.7)) if lit else (0, 0, 0))
            x += bw * rng.uniform(0.8, 1.4)
    x = -10.0
    while x < cv.w:
        r = cv.h * rng.uniform(0.015, 0.045)
        if rng.random() < (0.8 if style == "suburb" else 0.45):
            g = mix((74, 116, 58), (122, 140, 66), rng.random())
            for _ in range(6):
                cv.oval(x + rng.normal(0, r * 0.6), base - r * rng.uniform(0.2, 1.3), r * 0.7, r * 0.6,
                        mul(g, rng.uniform(0.85, 1.1)), VEGETATION, rng.uniform(70, 100),
                        rng.uniform(0.5, 1))
            cv.poly([(x - r, base - r * 0.5), (x + r, base - r * 0.5), (x + r, base), (x - r, base)],
                    mul(g, 0.8), VEGETATION, 90, 0.6)
        x += r * rng.uniform(1.0, 2.4)


def building(cv, rng, side, x, z1, z2, h, sunside, house):
    """A block along the street: the wall beside the road and the gable facing us."""
    s = side
    x *= s
    z1 = max(z1, 1.3)
    depth = rng.uniform(7, 11)
    wall = mul(WALLS[rng.integers(len(WALLS))], rng.uniform(0.9, 1.06))
    lit_side = 1.0 if sunside == -s else 0.22
    lit_front = rng.uniform(0.45, 0.75)
    xo = x + s * depth
    cv.poly3([(x, 0, z1), (x, h, z1), (xo, h, z1), (xo, 0, z1)], mul(wall, 0.93), BUILDING, lit_front)
    n = max(1, math.ceil((z2 - z1) / 4))
    for i in range(n):  # slices keep the wall on a bent road and give it depth
        a, b = z1 + (z2 - z1) * i / n, z1 + (z2 - z1) * (i + 1) / n
        cv.poly3([(x, 0, a), (x, h, a), (x, h, b), (x, 0, b)], wall, BUILDING, lit_side)
    trim = mix(wall, (240, 236, 226), 0.55)
    if house:
        roof = ROOFS[rng.integers(len(ROOFS))]
        rh = rng.uniform(1.6, 3.2)
        mid = x + s * depth / 2
        cv.poly3([(x - s * .4, h - .2, z1 - .3), (x - s * .4, h - .2, z2), (mid, h + rh, z2),
                  (mid, h + rh, z1 - .3)], roof, BUILDING, 1.0 if sunside == -s else 0.4)
        cv.poly3([(x, h, z1), (mid, h + rh, z1), (xo, h, z1)], mul(wall, 0.93), BUILDING, lit_front)
        if rng.random() < 0.6:
            zc = z1 + (z2 - z1) * rng.uniform(0.3, 0.7)
            cx = x + s * depth * 0.4
            cv.poly3([(cx, h + rh * .5, zc), (cx, h + rh + 1.1, zc), (cx + s * .9, h + rh + 1.1, zc),
                      (cx + s * .9, h + rh * .5, zc)], mul(roof, 0.8), BUILDING, 0.6)
    else:
        cv.poly3([(x - s * .25, h - .55, z1), (x - s * .25, h + .1, z1), (x - s * .25, h + .1, z2),
                  (x - s * .25, h - .55, z2)], trim, BUILDING, lit_side)
        cv.poly3([(x - s * .25, h - .55, z1), (x - s * .25, h + .1, z1), (xo, h + .1, z1),
                  (xo, h - .55, z1)], mul(trim, 0.95), BUILDING, lit_front)
    shop = (not house) and rng.random() < 0.7
    fl, ww, gap = rng.uniform(2.9, 3.4), rng.uniform(1.0, 1.5), rng.uniform(2.2, 3.0)
    glass = mix((70, 92, 116), (120, 140, 150), rng.random())
    p_lit = rng.uniform(0.15, 0.5)
    y = 0.9
    floor = 0
    while y + 1.6 < h:
        ground_shop = shop and floor == 0
        zs = z1 + 0.7
        while zs + ww < z2 - 0.3:
            on = rng.random() < (0.8 if ground_shop else p_lit)
            warm = mix((255, 196, 112), (214, 226, 255), rng.random() ** 2)
            em = mul(warm, rng.uniform(0.45, 0.95)) if on else (0, 0, 0)
            a, b = (zs, zs + gap * 0.86) if ground_shop else (zs, zs + ww)
            b = min(b, z2 - 0.2)
            yb, yt = (0.5, 2.5) if ground_shop else (y, y + 1.6)
            if zs < 55:
                cv.poly3([(x, yb - .14, a - .1), (x, yt + .1, a - .1), (x, yt + .1, b + .1),
                          (x, yb - .14, b + .1)], trim, BUILDING, lit_side)
            g = mul(glass, rng.uniform(0.75, 1.15))
            cv.poly3([(x, yb, a), (x, yt, a), (x, yt, b), (x, yb, b)], g, BUILDING, lit_side, em)
            if zs < 30:
                cv.poly3([(x, yt - .5, a), (x, yt, a), (x, yt, b), (x, yt - .25, b)], mul(g, 1.25),
                         BUILDING, lit_side, mul(em, 1.15))
            zs += gap
        if ground_shop:
            aw = AWNINGS[rng.integers(len(AWNINGS))]
            cv.poly3([(x, 3.2, z1 + .3), (x - s * 1.1, 2.6, z1 + .3), (x - s * 1.1, 2.6, z2 - .3),
                      (x, 3.2, z2 - .3)], aw, BUILDING, 0.9, mul(aw, 0.12))
            cv.lights.append((x - s * 1.2, 2.0, (z1 + z2) / 2, (255, 206, 140), 0.30, 2.4))
        y += fl
        floor += 1
    # windows of the wall that faces us
    for yy in np.arange(1.0 + (fl if shop else 0), h - 1.7, fl):
        for k in range(2 if house else 3):
            xa = x + s * (1.0 + k * depth / (2.2 if house else 3.1))
            if z1 < 3 or abs(xa - xo) < 1.4:
                continue
            on = rng.random() < p_lit
            cv.poly3([(xa, yy, z1), (xa, yy + 1.5, z1), (xa + s * 1.1, yy + 1.5, z1), (xa + s * 1.1, yy, z1)],
                     mul(glass, rng.uniform(0.7, 1.1)), BUILDING, lit_front,
                     mul((255, 200, 120), rng.uniform(0.4, 0.9)) if on else (0, 0, 0))


def tree(cv, rng, x, z, size, sunside, kind):
    lean = rng.normal(0, 0.1)
    g = mix(mix((66, 116, 48), (136, 152, 60), rng.random()), (190, 130, 50), 0.5 * (rng.random() < 0.12))
    tw = 0.05 * size
    px = cv.f / z
    if kind == "fir":
        cv.poly3([(x - tw, 0, z), (x + tw, 0, z), (x + tw, size * .3, z), (x - tw, size * .3, z)],
                 (92, 70, 52), VEGETATION, 0.5)
        g = mix((44, 92, 62), (70, 112, 66), rng.random())
        for i in range(5):
            yb, wd = size * (0.16 + 0.16 * i), size * (0.26 - 0.044 * i)
            ap = yb + size * 0.30
            cv.poly3([(x - wd, yb, z), (x, ap, z), (x + wd, yb, z)], mul(g, 0.85 + .06 * i), VEGETATION, 0.45)
            cv.poly3([(x + sunside * wd, yb, z), (x, ap, z), (x + sunside * wd * .1, yb, z)],
                     mul(g, 0.95 + .06 * i), VEGETATION, 0.95)
        return
    if kind == "tree":
        cv.poly3([(x - tw, 0, z), (x + tw, 0, z), (x + tw * .7 + lean, size * .6, z), (x - tw * .7 + lean, size * .6, z)],
                 (104, 82, 62), VEGETATION, 0.6)
        cy, rx, ry = size * 0.68, size * rng.uniform(0.27, 0.36), size * rng.uniform(0.28, 0.33)
    else:  # bush
        cy, rx, ry = size * 0.45, size * rng.uniform(0.6, 0.9), size * 0.5
    sx, sy = cv.at(x + lean, cy, z)
    n = 70 if z < 14 else 44 if z < 30 else 24
    cv.oval(sx, sy, rx * px * .85, ry * px * .85, mul(g, 0.72), VEGETATION, z, 0.3)
    ang, rad = rng.uniform(0, 2 * math.pi, n), np.sqrt(rng.uniform(0, 1, n)) * 0.95
    bx, by = rad * np.cos(ang), rad * np.sin(ang)
    for i in np.argsort(-by + rng.normal(0, .3, n))[::1]:
        up = -by[i] * 0.55 + bx[i] * sunside * 0.45
        r = px * size * rng.uniform(0.055, 0.10)
        cv.oval(sx + bx[i] * rx * px, sy + by[i] * ry * px, r, r * 0.85,
                mul(g, 0.86 + 0.24 * up + rng.normal(0, .06)), VEGETATION, z, min(1, max(.12, .55 + .6 * up)))


def car(cv, rng, x, z, kind, away, sunside, lead=False):
    paint = PAINTS[rng.integers(len(PAINTS))]
    glass = (58, 70, 84)
    w = 1.8
    if kind == "sedan":
        prof = [(0, .32), (0, .95), (.6, 1.0), (1.2, 1.42), (2.7, 1.43), (3.5, .98), (4.4, .82), (4.45, .32)]
        win = [(.85, 1.0), (1.3, 1.34), (2.65, 1.34), (3.25, 1.0)]
        glass_seg = {2, 4}
    elif kind == "hatch":
        prof = [(0, .32), (0, .98), (.4, 1.45), (2.3, 1.5), (3.1, 1.0), (3.85, .86), (3.95, .32)]
        win = [(.45, 1.02), (.65, 1.38), (2.2, 1.4), (2.85, 1.02)]
        glass_seg = {1, 3}
    elif kind == "van":
        w = 2.0
        prof = [(0, .4), (0, 1.2), (.12, 2.2), (3.9, 2.25), (4.6, 1.3), (5.1, 1.1), (5.1, .4)]
        win = [(3.0, 1.3), (3.0, 2.0), (3.8, 2.0), (4.3, 1.3)]
        glass_seg = {1, 3}
    else:  # bus
        w = 2.5
        paint = [(204, 52, 44), (236, 186, 52), (46, 120, 150), (232, 232, 226)][rng.integers(4)]
        prof = [(0, .45), (0, 1.5), (.08, 2.5), (.15, 3.1), (9.3, 3.1), (9.5, 2.6), (9.55, 1.3), (9.6, .45)]
        win = [(.5, 1.5), (.5, 2.5), (9.0, 2.5), (9.0, 1.5)]
        glass_seg = {1, 5}
    length = prof[-1][0]
    P = [(a, b) for a, b in prof]
    if not away:
        P = [(length - a, b) for a, b in reversed(P)]
        win = [(length - a, b) for a, b in win]
        glass_seg = {len(P) - 2 - k for k in glass_seg}
    xl, xr = x - w / 2, x + w / 2
    z = max(z, 2.2)
    # shadow under the body, to the shady side
    k = -sunside * 0.9
    cv.shadow([(xl + min(k, 0), 0, z - .1), (xr + max(k, 0), 0, z - .1), (xr + max(k, 0), 0, z + length),
               (xl + min(k, 0), 0, z + length)], 0.25)
    dark = [cv.at(*p) for p in [(xl, 0, z), (xr, 0, z), (xr, 0, z + length), (xl, 0, z + length)]]
    cv.draws["rgb"].polygon(dark, fill=(34, 33, 36))
    emit_c = (0, 0, 0)
    for i in range(len(P) - 2, -1, -1):
        (a, ya), (b, yb) = P[i], P[i + 1]
        rise = yb - ya
        c, lit = paint, 0.55
        if abs(b - a) > abs(rise) * 1.6:
            c, lit = mul(paint, 1.12), 1.0  # roof and bonnet catch the sky
        ins = 0.12 if max(ya, yb) > 1.2 and kind != "bus" else 0.0
        ia, ib = (ins if ya > 1.2 else 0), (ins if yb > 1.2 else 0)
        cv.poly3([(xl + ia, ya, z + a), (xl + ib, yb, z + b), (xr - ib, yb, z + b), (xr - ia, ya, z + a)], c,
                 VEHICLE, lit, z=z)
        if i in glass_seg:
            m = 0.14
            cv.poly3([(xl + ia + m, ya + .06, z + a), (xl + ib + m, yb - .06, z + b),
                      (xr - ib - m, yb - .06, z + b), (xr - ia - m, ya + .06, z + a)], glass, VEHICLE, 0.7, z=z,
                     emit=(mul((255, 220, 160), .55) if kind == "bus" else emit_c))
            ym, am = (ya + yb) / 2, (a + b) / 2
            cv.poly3([(xl + ib + m, ym, z + am), (xl + ib + m, yb - .06, z + b), (xr - ib - m * 3, yb - .06, z + b)],
                     mul(glass, 1.7), VEHICLE, 0.9, z=z, emit=(mul((255, 220, 160), .6) if kind == "bus" else emit_c))
    # the long side we can see
    mid_x = x + cv.curve * z * z
    sx = xl if mid_x > 0 else xr
    inner = 1 if mid_x > 0 else -1
    lit = 0.9 if sunside == -inner else 0.3
    side = [(sx + (inner * .12 if (yy > 1.2 and kind != "bus") else 0), yy, z + zz) for zz, yy in P]
    cv.poly3(side, mul(paint, 0.94), VEHICLE, lit, z=z + 1)
    wp = [(sx + (inner * .10 if (yy > 1.2 and kind != "bus") else 0), yy, z + zz) for zz, yy in win]
    cv.poly3(wp, mul(glass, 1.1), VEHICLE, lit, z=z + 1,
             emit=(mul((255, 220, 160), .5) if kind == "bus" else emit_c))
    if kind == "bus":
        for zz in np.arange(1.7, 9, 1.5):
            cv.poly3([(sx, 1.5, z + zz), (sx, 2.5, z + zz), (sx, 2.5, z + zz + .16), (sx, 1.5, z + zz + .16)],
                     paint, VEHICLE, lit, z=z + 1)
    rwh = 0.45 if kind == "bus" else 0.33
    for zz in (length * .17, length * .8):
        for r, c in ((rwh, (26, 26, 28)), (rwh * .55, (150, 150, 154))):
            t = np.linspace(0, 2 * math.pi, 15)[:-1]
            cv.poly3([(sx - inner * .02, rwh + r * math.sin(a), z + zz + r * math.cos(a)) for a in t], c, VEHICLE,
                     0.7, z=z + 1)
    # the end that faces us: bumper, tyres, lamps, plate
    y0 = P[0][1]
    for xa, xb in ((xl + .08, xl + .34), (xr - .34, xr - .08)):
        cv.poly3([(xa, 0, z + .1), (xa, y0 + .1, z + .1), (xb, y0 + .1, z + .1), (xb, 0, z + .1)], (24, 24, 26),
                 VEHICLE, 0.4, z=z)
    cv.poly3([(xl, y0 - .14, z), (xl, y0 + .14, z), (xr, y0 + .14, z), (xr, y0 - .14, z)], mul(paint, 0.5), VEHICLE,
             0.5, z=z)
    top = P[1][1]
    ly = y0 + (top - y0) * (0.72 if away else 0.6)
    lw, lh = (.30, .20) if away else (.34, .17)
    on = (255, 34, 22) if away else (255, 246, 214)
    base = (168, 28, 24) if away else (236, 232, 214)
    br = rng.uniform(0.75, 1.0)
    for xa in (xl + .06, xr - .06 - lw):
        cv.poly3([(xa, ly - lh / 2, z), (xa, ly + lh / 2, z), (xa + lw, ly + lh / 2, z), (xa + lw, ly - lh / 2, z)],
                 base, VEHICLE, 0.9, z=z, emit=mul(on, br))
    cv.poly3([(x - .26, y0 + .2, z), (x - .26, y0 + .34, z), (x + .26, y0 + .34, z), (x + .26, y0 + .2, z)],
             (226, 222, 206), VEHICLE, 0.8, z=z, emit=(40, 38, 30) if away else (0, 0, 0))
    if away:
        cv.lights.append((x, .7, z - .5, (255, 40, 30), 0.30, 1.3))
    else:
        cv.lights.append((x, .6, z - 3, (255, 244, 210), 0.5, 2.6))


def person(cv, rng, x, z, sunside):
    h = rng.uniform(1.55, 1.9) * (0.7 if rng.random() < 0.1 else 1.0)
    coat, legs = COATS[rng.integers(len(COATS))], mul(COATS[rng.integers(len(COATS))], 0.5)
    skin = SKINS[rng.integers(len(SKINS))]
    step = rng.uniform(-.22, .22)
    k = -sunside * 1.5
    cv.shadow([(x - .15, 0, z), (x + .15, 0, z), (x + k + .15, 0, z + .8), (x + k - .15, 0, z + .8)], 0.3)
    fat = rng.uniform(0.95, 1.2)

    def q(pts, c, lit):
        cv.poly3([(x + px * h / 1.75 * fat, py * h / 1.75, z) for px, py in pts], c, PERSON, lit)

    q([(-.16, .85), (.02, .85), (-.02 + step, 0), (-.17 + step, 0)], legs, 0.5)
    q([(-.02, .85), (.16, .85), (.17 - step, 0), (.02 - step, 0)], mul(legs, 1.15), 0.7)
    long = rng.random() < 0.4
    b = .55 if long else .8
    q([(-.24, b), (.24, b), (.25, 1.2), (.20, 1.45), (-.20, 1.45), (-.25, 1.2)], coat, 0.6)
    s = sunside
    q([(s * .05, b), (s * .24, b), (s * .25, 1.2), (s * .20, 1.45), (s * .05, 1.45)], mul(coat, 1.06), 0.95)
    q([(-.21, 1.42), (-.33 - step * .4, .85), (-.24 - step * .4, .82), (-.13, 1.3)], mul(coat, 0.88), 0.6)
    q([(.21, 1.42), (.33 + step * .4, .85), (.24 + step * .4, .82), (.13, 1.3)], mul(coat, 0.88), 0.6)
    if rng.random() < 0.3:
        q([(.24, .95), (.46, .95), (.44, .6), (.26, .6)], AWNINGS[rng.integers(len(AWNINGS))], 0.7)
    cx, cy = cv.at(x, 1.6 * h / 1.75, z)
    r = .135 * h / 1.75 * cv.f / z
    hair = mul([(60, 44, 34), (30, 26, 26), (150, 110, 60), (120, 116, 112)][rng.integers(4)], 1)
    cv.oval(cx, cy - r * .15, r * 1.05, r * 1.2, hair, PERSON, z, 0.7)
    cv.oval(cx + s * r * .1, cy + r * .12, r * .78, r * .95, skin, PERSON, z, 0.85)


def lamp_post(cv, x, z, side):
    hgt = 6.2
    c = (84, 88, 92)
    t = 0.075
    cv.poly3([(x - t, 0, z), (x + t, 0, z), (x + t * .7, hgt, z), (x - t * .7, hgt, z)], c, IGNORE, 0.6)
    tip = x - side * 1.7
    cv.poly3([(x, hgt - .08, z), (x, hgt + .06, z), (tip, hgt + .3, z), (tip, hgt + .18, z)], c, IGNORE, 0.7)
    cv.poly3([(tip - .35, hgt + .1, z), (tip - .35, hgt + .32, z), (tip + .35, hgt + .32, z), (tip + .35, hgt + .1, z)],
             (220, 214, 196), IGNORE, 0.9, emit=(255, 226, 168))
    cv.lights.append((tip, hgt - .3, z, (255, 198, 128), 1.0, 4.6))


# ---------------------------------------------------------------------- scene

def build(seed):
    rng = np.random.default_rng([seed, 17])
    cv = Canvas(rng)
    style = ["city", "suburb", "mixed"][rng.choice(3, p=[.4, .3, .3])]
    sunside = int(rng.choice([-1, 1]))
    rw = rng.uniform(3.4, 5.4)
    sw = rng.uniform(1.8, 3.2)
    verge = {s: ("grass" if rng.random() < {"city": .1, "suburb": .85, "mixed": .5}[style] else "pave")
             for s in (-1, 1)}
    distance(cv, rng, style)
    ground(cv, rng, rw, sw, verge)
    items = []
    for s in (-1, 1):
        tall = {"city": (9, 22), "suburb": (4.2, 6.5), "mixed": (5, 14)}[style]
        green = rng.random() < {"city": .08, "suburb": .35, "mixed": .3}[style]
        setback = rng.uniform(0, .8) if style == "city" else rng.uniform(1.5, 6)
        z = rng.uniform(1.5, 7) if rng.random() < .6 else -4.0
        while z < 84:
            ln = rng.uniform(8, 17) if style != "suburb" else rng.uniform(7, 11)
            x = rw + sw + setback + rng.uniform(0, .5)
            if not green:
                hb = rng.uniform(*tall)
                house = hb < 7.5 and rng.random() < .85
                if z + ln > 2.5:
                    items.append((z + ln, building, (s, x, z, z + ln, hb, sunside, house)))
                    if s == sunside:  # the block shades the street
                        reach = min(hb * 0.62, 2.2 * rw)
                        cv.shadow([(s * x, 0, max(z, 1.2)), (s * x, 0, z + ln), (s * (x - reach), 0, z + ln),
                                   (s * (x - reach), 0, max(z, 1.2))], 0.2)
                z += ln
                gap = 0 if style == "city" and rng.random() < .8 else rng.uniform(2, 9)
            else:
                gap = ln
            if gap > 1.5:
                for _ in range(rng.integers(1, 4) + (2 if green else 0)):
                    kind = "fir" if rng.random() < .2 else "tree"
                    zt = z + rng.uniform(0, gap)
                    if zt > 3:
                        items.append((zt + 1, tree, (s * (x + rng.uniform(.8, 9)), zt, rng.uniform(5, 9.5), sunside, kind)))
            z += gap
        if verge[s] == "grass" or rng.random() < .25:  # a hedge or loose bushes
            z = rng.uniform(3, 8)
            dense = rng.random() < .5
            xh = rw + sw + .7
            while z < 60 and setback > 1.2:
                if dense or rng.random() < .45:
                    items.append((z, tree, (s * (xh + rng.uniform(-.1, .4)), z, rng.uniform(.9, 1.6), sunside, "bush")))
                z += rng.uniform(.9, 1.6) if dense else rng.uniform(1.5, 5)
        if rng.random() < .65:  # street trees
            z = rng.uniform(5, 15)
            step = rng.uniform(7, 13)
            while z < 65:
                if rng.random() < .8:
                    sz = rng.uniform(4.5, 7.5)
                    xt = s * (rw + sw * rng.uniform(.25, .6))
                    items.append((z, tree, (xt, z, sz, sunside, "tree")))
                    a = np.linspace(0, 2 * math.pi, 13)[:-1]
                    cx = xt - sunside * sz * .5
                    cv.shadow([(cx + sz * .45 * math.cos(t), 0, max(1.3, z + sz * .3 * math.sin(t))) for t in a], .3)
                z += step * rng.uniform(.8, 1.25)
        z = rng.uniform(5, 12)  # lamps
        step = rng.uniform(15, 22)
        while z < 70:
            items.append((z, lamp_post, (s * (rw + .45), z, s)))
            z += step
        if rng.random() < .6:  # parked cars
            z = rng.uniform(4.5, 16)
            for _ in range(rng.integers(1, 6)):
                kind = ["sedan", "hatch", "van"][rng.choice(3, p=[.4, .42, .18])]
                items.append((z, car, (s * (rw - 1.0), z, kind, s > 0, sunside)))
                z += rng.uniform(5.6, 10)
    for lane in (-1, 1):  # moving traffic
        z = rng.uniform(5, 26)
        for _ in range(rng.integers(0, 3) + (lane > 0)):
            kind = ["sedan", "hatch", "van", "bus"][rng.choice(4, p=[.38, .34, .16, .12])]
            off = min(rw * .38, rw - 3.0) if rw > 4.4 else rw * .38
            items.append((z + .3, car, (lane * off + rng.normal(0, .15), z, kind, lane > 0, sunside)))
            z += rng.uniform(9, 24)
    for _ in range(rng.integers(2, 6)):  # people, alone or in small groups
        z = 5.2 + 16 * rng.random() ** 1.4
        if rng.random() < .27:
            x = rng.uniform(-rw, rw)
        else:
            x = (1 if rng.random() < .5 else -1) * (rw + sw * rng.uniform(.15, .9))
        for j in range(rng.integers(1, 4)):
            items.append((z - .2 + .05 * j, person, (x + j * rng.uniform(.5, .75), z + rng.uniform(-.4, .4), sunside)))
    for _, fn, args in sorted(items, key=lambda t: -t[0]):
        if fn is lamp_post:
            fn(cv, *args)
        else:
            fn(cv, rng, *args)
    if rng.random() < .75:  # the bonnet of the car that carries the camera
        lift, wide = cv.h * rng.uniform(.05, .09), cv.w * rng.uniform(.55, .75)
        cx = cv.w * rng.uniform(.44, .56)
        col = mul(PAINTS[rng.integers(len(PAINTS))], 0.55)
        cv.oval(cx, cv.h + lift * 1.1, wide, lift * 2.1, col, IGNORE, 1.3, 0.8)
        cv.oval(cx, cv.h + lift * 1.9, wide * .96, lift * 2.4, mul(col, 1.25), IGNORE, 1.3, 0.6)
    return cv, sunside


def sky(cv, rng, top, low, cloud, shade, cover, glow, gx):
    yy = np.linspace(0, 1, cv.h, dtype=np.float32)[:, None]
    t = np.clip(yy / (cv.hor / cv.h), 0, 1)[..., None] ** 1.3
    img = np.array(top, np.float32) * (1 - t) + np.array(low, np.float32) * t
    img = np.broadcast_to(img, (cv.h, cv.w, 3)).copy()
    n = noise(rng, cv.h, cv.w, cv.w * .22, 5)
    big = noise(rng, cv.h * 3, cv.w, cv.w * .3, 5)[:: 3]  # flattened banks
    d = np.clip((.55 * n + .75 * big + cover) * 1.3, 0, 1)[..., None]
    lit = np.clip(.6 + .5 * n, 0, 1)[..., None]
    img = img * (1 - d * .9) + (np.array(cloud) * lit + np.array(shade) * (1 - lit)) * d * .9
    xx = np.linspace(0, 1, cv.w, dtype=np.float32)[None]
    g = np.exp(-(((xx - gx) / .38) ** 2 + ((yy - cv.hor / cv.h) / .33) ** 2))[..., None]
    return img + g * np.array(glow)


def blur(a, r):
    """Two box blurs of a float picture: close to a Gaussian."""
    return np.stack([_box(_box(a[..., i], r), r) for i in range(3)], -1)


def _box(a, r):
    r = int(r)
    for ax in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[ax] = (r + 1, r)
        c = np.cumsum(np.pad(a, pad, mode="edge"), ax, dtype=np.float64)
        n = 2 * r + 1
        a = ((c[n:] - c[:-n]) if ax == 0 else (c[:, n:] - c[:, :-n])) / n
    return a.astype(np.float32)


def render(seed, look):
    """One picture (H, W, 3) and its labels (H, W), both uint8."""
    cv, sunside = build(seed)
    rng = np.random.default_rng([seed, LOOKS.index(look), 99])
    L = {k: np.asarray(v) for k, v in cv.layers.items()}
    label = L["label"]
    alb = L["rgb"].astype(np.float32) / 255
    sun = np.asarray(cv.layers["sun"].filter(ImageFilter.BoxBlur(1)), np.float32)[..., None] / 255
    depth = L["depth"]
    z = depth[..., None]
    emit = L["emit"].astype(np.float32) / 255
    is_sky = (label == SKY)[..., None] & (z > 5e3)
    # surface texture
    fine, coarse = noise(rng, cv.h, cv.w, 5, 2), noise(rng, cv.h, cv.w, 40, 3)
    amp = np.zeros(256, np.float32)
    amp[[BUILDING, VEGETATION, VEHICLE, PERSON]] = .045, .17, .02, .03
    alb = alb * (1 + (amp[label] * fine + .05 * coarse)[..., None])
    yy, xx = np.mgrid[0:cv.h, 0:cv.w].astype(np.float32)
    if look == "day":
        warm = rng.uniform(0, 1)
        sky_img = sky(cv, rng, mix((72, 138, 214), (104, 158, 214), warm), mix((190, 216, 236), (238, 222, 196), warm),
                      (255, 252, 246), (206, 212, 224), rng.uniform(-.35, .25), mul((60, 44, 20), warm + .3),
                      .5 + sunside * .4) / 255
        amb, key = np.array([.40, .45, .54]), np.array(mix((.80, .76, .66), (.90, .76, .56), warm))
        img = alb * (amb + key * sun) + emit * .10
        haze = 1 - np.exp(-z / rng.uniform(170, 320))
        img = img * (1 - haze) + np.array([.80, .85, .90]) * haze
        img = np.where(is_sky, sky_img, img)
        img = img + .10 * blur(np.clip(img - .85, 0, 1), 14)
        img = img * rng.uniform(.93, 1.06)
        img = img + rng.normal(0, .012, img.shape)
    else:
        gx = rng.uniform(.2, .8)
        sky_img = sky(cv, rng, (13, 17, 34), (48, 44, 62), (60, 54, 66), (26, 28, 46), rng.uniform(0, .4),
                      (46, 28, 16), gx) / 255
        px, py = (xx - cv.vx) * depth / cv.f - cv.curve * depth ** 2, cv.cam - (yy - cv.hor) * depth / cv.f
        light = np.empty(alb.shape, np.float32)
        light[:] = np.array([.050, .068, .125]) * rng.uniform(.8, 1.3)
        for lx, ly, lz, col, power, rad in cv.lights:
            if lz > 60:
                continue
            d2 = (px - lx) ** 2 + (py - ly) ** 2 + (depth - lz) ** 2
            light += (power * 1.10 / (1 + (d2 / (rad * rad * .55)) ** 1.5))[..., None] * (np.array(col, np.float32) / 255)
        beam = np.exp(-(px / (1.6 + depth * .22)) ** 2) * np.exp(-np.clip(py - .5, 0, 9) / (.5 + depth * .06))
        light += (beam * .30 / (1 + (depth / 11) ** 2) * np.clip((depth - 2.5) / 3, 0, 1))[..., None] * np.array([.9, .88, .78])
        img = alb * light
        wet = ((label == ROAD) & (z[..., 0] < 1e3))[..., None]
        img = np.where(wet, img * .72, img)
        glow = blur(emit ** 1.5, 2) * .5
        src = np.where(wet, 0, img * .55 + emit * 1.1)
        # mirror in the wet ground: light smears downwards, broken by ripples
        smear = np.zeros_like(src)
        run = np.zeros_like(src[0])
        keep = .965
        for r in range(int(cv.hor * .55), cv.h):
            run = np.where(wet[r], run * keep, np.maximum(run * .90, src[r]))
            smear[r] = run
        rip = noise(rng, cv.h, cv.w, 7, 3) * np.clip((yy - cv.hor) / cv.h, 0, 1) * 10
        cols = np.clip(xx + rip, 0, cv.w - 1).astype(np.int64)
        smear = blur(np.take_along_axis(smear, cols[..., None].repeat(3, -1), 1), 2)
        puddle = np.clip(.55 + .45 * noise(rng, cv.h, cv.w, 46, 3), .15, 1)[..., None]
        img = img + np.where(wet, smear * 1.25 * puddle, 0)
        far = rng.uniform(50, 90)
        fog = 1 - np.exp(-z / far)
        img = img * (1 - fog) + np.array([.072, .076, .125]) * fog
        img = np.where(is_sky, sky_img, img)
        img = img + emit * np.exp(-z / 120) * 1.0 + glow
        img = img + blur(emit, 8) * .42 + blur(emit, 24) * .24
        rain = Image.new("L", (cv.w, cv.h))
        dr = ImageDraw.Draw(rain)
        slant = rng.uniform(-.35, .35)
        for _ in range(rng.integers(120, 230)):
            x0, y0, ln = rng.uniform(-20, cv.w + 20), rng.uniform(-20, cv.h), rng.uniform(8, 26)
            dr.line((x0, y0, x0 + slant * ln, y0 + ln), fill=int(rng.uniform(60, 190)), width=int(rng.integers(1, 3)))
        rain = np.asarray(rain, np.float32)[..., None] / 255
        img = img + rain * (.05 + .16 * blur(img, 8))
        img = img * rng.uniform(.95, 1.2)
        img = 1 - np.exp(-1.5 * img)
        img = img ** .90
        img = img + rng.normal(0, .022, img.shape)
    vig = 1 - .16 * (((xx / cv.w - .5) * 2) ** 2 + ((yy / cv.h - .5) * 2) ** 2)[..., None] / 2
    img = np.clip(img * vig, 0, 1)
    img = img.reshape(HEIGHT, SS, WIDTH, SS, 3).mean((1, 3))
    # labels by vote; a pixel shared by two classes is ignored, which draws the thin border
    blocks = label.reshape(HEIGHT, SS, WIDTH, SS).transpose(0, 2, 1, 3).reshape(HEIGHT, WIDTH, SS * SS)
    votes = np.stack([(blocks == c).sum(-1) for c in range(6)], -1)
    best = votes.argmax(-1).astype(np.uint8)
    mask = np.where(votes.max(-1) >= 8, best, IGNORE).astype(np.uint8)
    return (img * 255 + .5).astype(np.uint8), mask


def palette():
    p = [v for i in range(256) for v in COLOURS.get(i, (i, i, i))]
    return p


def save_mask(mask, path):
    im = Image.frombytes("P", (mask.shape[1], mask.shape[0]), mask.tobytes())
    im.putpalette(palette())
    im.save(path, bits=8)


def write_set(root, images, masks, seeds, look):
    (root / images).mkdir(parents=True, exist_ok=True)
    (root / masks).mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds):
        img, mask = render(seed, look)
        Image.fromarray(img).save(root / images / f"street-{i + 1:02d}.png", optimize=True)
        save_mask(mask, root / masks / f"street-{i + 1:02d}.png")


def sheet(path, seeds, scale=2):
    pal = np.array(palette(), np.uint8).reshape(256, 3)
    rows = []
    for s in seeds:
        day, mask = render(s, LOOKS[0])
        night, _ = render(s, LOOKS[1])
        rows.append(np.concatenate([day, night, pal[mask]], 1))
    cols = [np.concatenate(rows[i::2], 0) for i in range(2)]
    im = Image.fromarray(np.concatenate(cols, 1))
    im.resize((im.width * scale, im.height * scale), Image.LANCZOS).save(path)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", type=Path, default=Path(__file__).parent)
    ap.add_argument("--train", type=int, default=48)
    ap.add_argument("--val", type=int, default=16)
    ap.add_argument("--sheet", type=Path, help="write a contact sheet here instead")
    a = ap.parse_args()
    if a.sheet:
        sheet(a.sheet, range(900000, 900008))
    else:
        write_set(a.out, "images", "masks", range(700000, 700000 + a.train), "night-rain")
        write_set(a.out, "val_images", "val_masks", range(800000, 800000 + a.val), "night-rain")
