/** Tiles: every pixel belongs to one, tiles stay inside the picture, and every label is counted once. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { mostPixels, tilesOf } from "../../src/train/tiles.ts";

const size = fc.integer({ min: 1, max: 40 });

test("cover every pixel once, inside the picture where it is large enough", () => {
  fc.assert(
    fc.property(size, size, fc.option(size), fc.option(size), (width, height, tileHeight, tileWidth) => {
      const seen = new Uint8Array(width * height);
      for (const { window, top, left, bottom, right } of tilesOf({ width, height }, { height: tileHeight, width: tileWidth })) {
        expect([window.height, window.width]).toEqual([tileHeight ?? height, tileWidth ?? width]);
        if (window.height <= height) expect(window.top >= 0 && window.top + window.height <= height).toBe(true);
        if (window.width <= width) expect(window.left >= 0 && window.left + window.width <= width).toBe(true);
        expect(top >= window.top && bottom <= window.top + window.height && left >= window.left && right <= window.left + window.width).toBe(true);
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) seen[y * width + x] = (seen[y * width + x] as number) + 1;
      }
      expect(seen.every((count) => count === 1)).toBe(true);
    }),
  );
});

test("a graph of any size takes the picture whole", () => {
  expect(tilesOf({ width: 7, height: 5 }, { height: null, width: null })).toMatchObject([{ window: { top: 0, left: 0, height: 5, width: 7 } }]);
});

test("sizes that a network does not take are filled up at the right and below", () => {
  const [tile, ...more] = tilesOf({ width: 250, height: 187 }, { height: null, width: null, multiple: 32 });
  expect(more).toEqual([]);
  expect(tile).toMatchObject({ window: { top: 0, left: 0, height: 192, width: 256 }, bottom: 187, right: 250 });
});

test.each([
  [6000, 4000],
  [4000, 6000],
  [100_000, 50],
  [2049, 2048],
])("a picture of %i × %i is taken in tiles where the graph takes any size", (width, height) => {
  const tiles = tilesOf({ width, height }, { height: null, width: null });
  let area = 0;
  for (const { window, top, left, bottom, right } of tiles) {
    expect(window.height * window.width).toBeLessThanOrEqual(mostPixels);
    area += (bottom - top) * (right - left);
  }
  expect(tiles.length > 1).toBe(width * height > mostPixels);
  expect(area).toBe(width * height);
});
