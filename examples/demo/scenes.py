"""Procedural street scenes with pixel labels, in two looks of the same world.

A small deferred renderer: every object is painted into colour, label, depth,
sun and emission layers; a "look" then lights those layers.  The geometry of a
seed does not depend on the look, so labels are comparable between looks.

    python scenes.py                 # rewrites images/, masks/, val_images/, val_masks/
    python scenes.py --sheet s.png   # a contact sheet of both looks, with masks

Needs numpy and Pillow only.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from street import COLOURS, LOOKS, render


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
