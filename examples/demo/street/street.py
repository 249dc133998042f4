"""A street from a seed, the same in every look: what stands where."""

import math

import numpy as np

from .canvas import IGNORE, Canvas, mul
from .paints import PAINTS
from .surroundings import building, distance, ground, tree
from .traffic import car, lamp_post, person


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
