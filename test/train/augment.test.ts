/** Windows of pictures: exact copies at scale 1, mirrored and scaled ones where they belong, padding that is ignored. */

import { describe, expect, test } from "vitest";
import { randomStream } from "../../src/support/random.ts";
import { copyLabels, copyPixels, type Normalization, plainWindow, randomWindow } from "../../src/train/augment.ts";
import { mapColours, randomColours } from "../../src/train/colour-jitter.ts";
import type { Mask, Picture } from "../../src/train/masks.ts";

const picture: Picture = { width: 4, height: 3, rgb: Uint8Array.from({ length: 36 }, (_, i) => i * 7) };
const mask: Mask = { width: 4, height: 3, labels: Uint8Array.from({ length: 12 }, (_, i) => i) };
const plain: Normalization = { channels: 3, mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255], channelOrder: "rgb" };

function pixels(window: Parameters<typeof copyPixels>[1], normalization = plain): number[] {
  const target = new Float32Array(normalization.channels * window.height * window.width);
  copyPixels(picture, window, target, 0, normalization);
  return [...target].map((value) => Math.round(value * 1000) / 1000);
}

function labels(window: Parameters<typeof copyLabels>[1], size: readonly [number, number] = [window.height, window.width]): number[] {
  const target = new Uint8Array(size[0] * size[1]);
  copyLabels(mask, window, size, target, 0, 255);
  return [...target];
}

const red = Array.from({ length: 12 }, (_, i) => i * 21);

describe("windows", () => {
  test("the whole picture comes out as planes", () => {
    expect(pixels(plainWindow(3, 4)).slice(0, 12)).toEqual(red);
    expect(pixels(plainWindow(3, 4)).slice(24)).toEqual(red.map((value) => value + 14));
    expect(labels(plainWindow(3, 4))).toEqual([...mask.labels]);
  });

  test("BGR swaps the planes, each with its own mean", () => {
    const bgr = pixels(plainWindow(3, 4), { ...plain, channelOrder: "bgr", mean: [1 / 255, 0, 0] });
    expect(bgr.slice(0, 12)).toEqual(red.map((value) => value + 13));
  });

  test("one channel is the luma", () => {
    const grey = pixels(plainWindow(1, 1), { ...plain, channels: 1 });
    expect(grey[0]).toBeCloseTo(0.587 * 7 + 0.114 * 14, 3);
  });

  test("outside the picture: the mean, and the ignored label", () => {
    const window = plainWindow(2, 3, 2, 2);
    expect(labels(window)).toEqual([10, 11, 255, 255, 255, 255]);
    expect(pixels(window).slice(0, 6)).toEqual([210, 231, 0, 0, 0, 0]);
  });

  test("mirrored", () => {
    const window = { ...plainWindow(3, 4), flip: true };
    expect(labels(window)).toEqual([3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8]);
    expect(pixels(window).slice(0, 4)).toEqual([63, 42, 21, 0]);
  });

  test("twice as large: every pixel in a block, colours between", () => {
    const window = { ...plainWindow(2, 4), scale: 2 };
    expect(labels(window)).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
    expect(pixels(window).slice(0, 4)).toEqual([0, 5.25, 15.75, 26.25]);
  });

  test("half as large: labels of every other pixel", () => {
    expect(labels({ ...plainWindow(1, 2), scale: 0.5 })).toEqual([5, 7]);
  });

  test("smaller labels sample the same window", () => {
    expect(labels(plainWindow(2, 4), [1, 2])).toEqual([5, 7]);
  });

  test("random windows keep to their limits, and a picture smaller than the window stays inside it", () => {
    for (let i = 0; i < 200; i++) {
      const window = randomWindow(picture, [2, 2], { scale: [0.5, 2], flip: true }, randomStream(i));
      expect(window.scale).toBeGreaterThanOrEqual(0.5);
      expect(window.scale).toBeLessThanOrEqual(2);
      const seen = labels(window);
      if (window.scale === 1) expect(seen).not.toContain(255);
      const large = randomWindow(picture, [6, 8], { scale: [1, 1], flip: false }, randomStream(i));
      expect(labels(large).filter((label) => label !== 255)).toHaveLength(12);
    }
  });
});

describe("colours", () => {
  const greyed = (map: Float64Array | undefined): number[] => {
    const line = Float64Array.of(10, 10, 10, 200, 100, 50);
    if (map !== undefined) mapColours(line, map);
    return [...line];
  };

  test("no strength, no change", () => {
    expect(randomColours(0, randomStream(1))).toBeUndefined();
  });

  test("is brightness, contrast about middle grey and saturation about the pixel's grey, in this order", () => {
    for (let seed = 0; seed < 50; seed++) {
      const [brightness, contrast, saturation] = [0, 0, 0].map(
        (
          (random) => () =>
            random.between(0.7, 1.3)
        )(randomStream(seed)),
      ) as [number, number, number];
      const middle = 255 * 0.456;
      const expected = [10, 10, 10, 200, 100, 50].map((value) => middle + contrast * (brightness * value - middle));
      for (const at of [0, 3]) {
        const [r = 0, g = 0, b = 0] = expected.slice(at, at + 3);
        const grey = 0.299 * r + 0.587 * g + 0.114 * b;
        [r, g, b].forEach((value, i) => {
          expected[at + i] = Math.min(255, Math.max(0, grey + saturation * (value - grey)));
        });
      }
      greyed(randomColours(0.3, randomStream(seed))).forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i] as number, 9);
      });
    }
  });

  test("padding stays the mean", () => {
    const target = new Float32Array(3 * 6);
    copyPixels(picture, plainWindow(2, 3, 2, 2), target, 0, plain, randomColours(0.5, randomStream(3)));
    expect([...target].filter((_, i) => i % 6 === 2 || i % 6 > 2)).toEqual(new Array(12).fill(0));
  });
});
