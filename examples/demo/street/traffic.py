"""What moves, and the lamps along the way."""

import math

import numpy as np

from .canvas import IGNORE, PERSON, VEHICLE, mul
from .paints import AWNINGS, COATS, PAINTS, SKINS


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
