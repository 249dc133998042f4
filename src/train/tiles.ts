/**
 * Large pictures in tiles of a graph's fixed size. Tiles at the right and lower edge are moved inwards, so that they
 * see the picture and not padding; every pixel belongs to exactly one tile.
 */

import { plainWindow, type Window } from "./augment.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** `window`: what the graph sees; `top` … `right`: the pixels of the picture whose result is taken from it. */
export interface Tile {
  readonly window: Window;
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/** One tile of the picture's own size where the graph takes any (`null`). */
export function tilesOf(picture: Size, graph: { readonly height: number | null; readonly width: number | null }): Tile[] {
  const [height, width] = [graph.height ?? picture.height, graph.width ?? picture.width];
  const tiles: Tile[] = [];
  for (let top = 0; top < picture.height; top += height) {
    for (let left = 0; left < picture.width; left += width) {
      const window = plainWindow(height, width, inwards(top, height, picture.height), inwards(left, width, picture.width));
      tiles.push({ window, top, left, bottom: Math.min(top + height, picture.height), right: Math.min(left + width, picture.width) });
    }
  }
  return tiles;
}

function inwards(start: number, size: number, limit: number): number {
  return Math.max(0, Math.min(start, limit - size));
}
