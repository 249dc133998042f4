"""What stands still: road and verges, the distance, buildings and trees."""

import math

import numpy as np
from PIL import Image

from .canvas import BUILDING, ROAD, VEGETATION, mix, mul, noise
from .paints import AWNINGS, ROOFS, WALLS


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
