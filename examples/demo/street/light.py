"""A look lights the layers of a street: sky, sun or lamps, rain, and the picture with its labels."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import BUILDING, HEIGHT, IGNORE, LOOKS, PERSON, ROAD, SKY, SS, VEGETATION, VEHICLE, WIDTH, mix, mul, noise
from .street import build


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
