"""PNG files of one channel in every depth, filter and order of rows, and the numbers that Pillow reads from them.

Prints [{name, png, width, height, filters, labels}], bytes in base64. Files named "Pillow …" are written by Pillow too;
the others here, one filter for every row, because no encoder lets its caller choose.
"""

import base64
import io
import json
import random
import struct
import zlib

from PIL import Image

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def packed(values, depth):
    row = bytearray((len(values) * depth + 7) // 8)
    for x, value in enumerate(values):
        row[x * depth // 8] |= value << (8 - depth - x * depth % 8)
    return bytes(row)


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


def filtered(row, above, kind):
    left, corner = bytes(1) + row[:-1], bytes(1) + above[:-1]
    guess = {
        0: lambda a, b, c: 0,
        1: lambda a, b, c: a,
        2: lambda a, b, c: b,
        3: lambda a, b, c: (a + b) // 2,
        4: paeth,
    }[kind]
    return bytes([kind]) + bytes((x - guess(a, b, c)) % 256 for x, a, b, c in zip(row, left, above, corner))


def rows_of(pixels, depth, kinds):
    """Rows of one pass; the row above the first is zero."""
    above, out = None, b""
    for values in pixels:
        row = packed(values, depth)
        out += filtered(row, above or bytes(len(row)), next(kinds))
        above = row
    return out


def written(pixels, depth, palette, interlaced, kinds):
    height, width = len(pixels), len(pixels[0])
    if interlaced:
        passes = [[row[x::dx] for row in pixels[y::dy]] for x, y, dx, dy in ADAM7]
        data = b"".join(rows_of(rows, depth, kinds) for rows in passes if rows and rows[0])
    else:
        data = rows_of(pixels, depth, kinds)
    header = struct.pack(">IIBBBBB", width, height, depth, 3 if palette else 0, 0, 0, int(interlaced))
    colours = chunk(b"PLTE", bytes(range(3)) * 2**depth) if palette else b""
    compressed = zlib.compress(data)
    parts = [compressed[:7], compressed[7:]]  # Pixels may be spread over chunks.
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + b"".join(chunk(b"IDAT", p) for p in parts) + chunk(b"IEND", b"")


def read(png):
    """Numbers as they are stored: Pillow spreads grey of 1, 2 and 4 bits over 0 to 255."""
    depth, colour_type = png[24], png[25]
    image = Image.open(io.BytesIO(png))
    values = image.convert("L").tobytes() if image.mode == "1" else image.tobytes()
    spread = 255 // (2**depth - 1) if colour_type == 0 else 1
    return bytes(value // spread for value in values)


def filters_of(png):
    """Kinds of filters in a file that is not interlaced."""
    width, height, depth, _, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    if interlaced:
        return []
    at, data = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    return sorted(set(zlib.decompress(data)[:: (width * depth + 7) // 8 + 1]))


def case(name, png, pixels):
    numbers = bytes(value for row in pixels for value in row)
    assert read(png) == numbers, f"{name}: Pillow reads something else than was written"
    return {
        "name": name,
        "png": base64.b64encode(png).decode(),
        "width": len(pixels[0]),
        "height": len(pixels),
        "filters": filters_of(png),
        "labels": base64.b64encode(numbers).decode(),
    }


def same(kind):
    while True:
        yield kind


def mixed(stream):
    while True:
        yield stream.randrange(5)


def forced(stream):
    for depth in (1, 2, 4, 8):
        for palette in (False, True):
            for interlaced in (False, True):
                for kind in (0, 1, 2, 3, 4, "mixed"):
                    # Rows that end inside a byte, and pictures without a pixel in some passes.
                    width, height = stream.choice([(1, 1), (3, 2), (13, 9), (29, 17), (64, 5)])
                    pixels = [[stream.randrange(2**depth) for _ in range(width)] for _ in range(height)]
                    kinds = mixed(stream) if kind == "mixed" else same(kind)
                    png = written(pixels, depth, palette, interlaced, kinds)
                    order = "interlaced" if interlaced else "row by row"
                    yield case(f"{'palette' if palette else 'grey'} of {depth} bits, filter {kind}, {order}, {width} × {height}", png, pixels)


def saved(stream):
    """A slope, steps and noise: Pillow takes another filter for each row."""
    width, height = 61, 40
    rows = [[(3 * x + 5 * y) % 256 for x in range(width)] for y in range(height // 2)]
    rows += [[(x * x + y * stream.randrange(3)) // 9 % 256 for x in range(width)] for y in range(height // 4)]
    rows += [[stream.randrange(256) for _ in range(width)] for _ in range(height // 4)]
    for mode, depth in (("L", 8), ("P", 8), ("P", 4), ("P", 2), ("P", 1), ("1", 1)):
        pixels = [[value >> (8 - depth) for value in row] for row in rows]
        values = bytes(value * (255 if mode == "1" else 1) for row in pixels for value in row)
        image = Image.frombytes("L" if mode == "1" else mode, (width, height), values)
        if mode == "P":
            image.putpalette([i % 256 for i in range(3 * 2**depth)])
        out = io.BytesIO()
        (image.convert("1", dither=Image.Dither.NONE) if mode == "1" else image).save(out, "PNG", optimize=True, **({"bits": depth} if mode == "P" else {}))
        yield case(f"Pillow, mode {mode} of {depth} bits", out.getvalue(), pixels)


stream = random.Random(20)
print(json.dumps([*forced(stream), *saved(stream)]))
