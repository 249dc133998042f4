/** PNG of every colour type and depth; masks keep their numbers; anything else is refused by name. */

import { encode } from "fast-png";
import { describe, expect, test } from "vitest";
import { OhemgenError } from "../../src/support/errors.ts";
import { decodeMask, decodePicture, encodePicture } from "../../src/train/images.ts";
import { encodeMask } from "../../src/train/masks.ts";

async function errorOf(work: () => Promise<unknown>): Promise<OhemgenError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof OhemgenError) return error;
    throw error;
  }
  throw new Error("no error");
}

const palette = [
  [10, 20, 30],
  [40, 50, 60],
  [70, 80, 90],
];

describe("pictures", () => {
  test("RGB and RGBA", async () => {
    const rgb = encode({ width: 2, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
    expect(await decodePicture(rgb, "a.png")).toEqual({ width: 2, height: 1, rgb: Uint8Array.of(1, 2, 3, 4, 5, 6) });
    const rgba = encode({ width: 1, height: 1, channels: 4, data: Uint8Array.of(9, 8, 7, 0) });
    expect((await decodePicture(rgba, "a.png")).rgb).toEqual(Uint8Array.of(9, 8, 7));
  });

  test("grey, with and without alpha", async () => {
    const grey = encode({ width: 2, height: 1, channels: 1, data: Uint8Array.of(0, 200) });
    expect((await decodePicture(grey, "a.png")).rgb).toEqual(Uint8Array.of(0, 0, 0, 200, 200, 200));
    const alpha = encode({ width: 1, height: 1, channels: 2, data: Uint8Array.of(77, 5) });
    expect((await decodePicture(alpha, "a.png")).rgb).toEqual(Uint8Array.of(77, 77, 77));
  });

  test("16 bits become 8, ends staying ends", async () => {
    const deep = encode({ width: 3, height: 1, channels: 1, depth: 16, data: Uint16Array.of(0, 257 * 100, 65535) });
    expect((await decodePicture(deep, "a.png")).rgb).toEqual(Uint8Array.of(0, 0, 0, 100, 100, 100, 255, 255, 255));
  });

  test("palette, also of 2 bits with rows that end inside a byte", async () => {
    const indexed = encode({ width: 3, height: 1, channels: 1, data: Uint8Array.of(2, 0, 1), palette });
    expect((await decodePicture(indexed, "a.png")).rgb).toEqual(Uint8Array.from([palette[2], palette[0], palette[1]].flat() as number[]));
    // 2 bits each: 2,0,1 and then 1,2,0 in a second row.
    const packed = encode({ width: 3, height: 2, channels: 1, depth: 2, data: Uint8Array.of(0b10000100, 0b01100000), palette });
    expect((await decodeMask(packed, "a.png")).labels).toEqual(Uint8Array.of(2, 0, 1, 1, 2, 0));
    expect((await decodePicture(packed, "a.png")).rgb.subarray(0, 3)).toEqual(Uint8Array.of(70, 80, 90));
  });

  test("what was encoded is decoded again", async () => {
    const picture = { width: 5, height: 4, rgb: Uint8Array.from({ length: 60 }, (_, i) => (i * 37) % 256) };
    expect(await decodePicture(await encodePicture(picture), "a.png")).toEqual(picture);
  });
});

describe("masks", () => {
  test("palette indices and grey values are the labels", async () => {
    const mask = { width: 2, height: 2, labels: Uint8Array.of(0, 1, 2, 255) };
    expect(await decodeMask(encodeMask(mask, [[1, 2, 3]]), "m.png")).toEqual(mask);
    const grey = encode({ width: 2, height: 1, channels: 1, data: Uint8Array.of(18, 255) });
    expect((await decodeMask(grey, "m.png")).labels).toEqual(Uint8Array.of(18, 255));
    const deep = encode({ width: 2, height: 1, channels: 1, depth: 16, data: Uint16Array.of(300, 65535) });
    expect((await decodeMask(deep, "m.png")).labels).toEqual(Uint16Array.of(300, 65535));
  });

  test("RGB with equal channels is a grey mask, RGB with colours is refused", async () => {
    const grey = encode({ width: 1, height: 1, channels: 3, data: Uint8Array.of(4, 4, 4) });
    expect((await decodeMask(grey, "m.png")).labels).toEqual(Uint8Array.of(4));
    const colours = encode({ width: 1, height: 1, channels: 3, data: Uint8Array.of(128, 64, 128) });
    expect(await errorOf(() => decodeMask(colours, "m.png"))).toMatchObject({ code: "E412", where: "m.png" });
  });
});

describe("damaged files", () => {
  const whole = encode({ width: 8, height: 8, channels: 1, data: Uint8Array.from({ length: 64 }, (_, i) => i * 4) });

  test.each([
    ["empty", new Uint8Array(0)],
    ["text", new TextEncoder().encode("this is not a picture, whatever its name says")],
    ["a JPEG", Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, ...new Uint8Array(60))],
    ["cut off", whole.slice(0, whole.length - 20)],
    ["one bit wrong", whole.map((byte, i) => (i === whole.length - 25 ? byte ^ 1 : byte))],
    ["no size", whole.map((byte, i) => (i >= 16 && i < 20 ? 0 : byte))],
    ["an enormous size", whole.map((byte, i) => (i >= 16 && i < 24 ? 0x7f : byte))],
  ])("%s", async (_, bytes) => {
    expect(await errorOf(() => decodePicture(bytes, "some/p.png"))).toMatchObject({ code: "E412", where: "some/p.png", exitCode: 1 });
  });
});
