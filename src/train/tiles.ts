/**
 * Large pictures in tiles: of a graph's fixed size, or where it takes any, of a size that fits in memory. Tiles at the
 * right and lower edge are moved inwards, so that they see the picture and not padding; every pixel belongs to exactly
 * one tile.
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

/** What a graph takes; `null`: any size, or any multiple of `multiple`. */
export interface TileSize {
  readonly height: number | null;
  readonly width: number | null;
  readonly multiple?: number;
}

/** Pixels of the largest picture that a graph of any size gets whole: 19 float32 scores for each are 320 MB. */
export const mostPixels = 2 ** 22;

/** Strides of segmentation networks divide this. */
export const sizeMultiple = 32;

/** One tile where the graph takes the picture's size. */
export function tilesOf(picture: Size, graph: TileSize): Tile[] {
  const [height, width] = tileSize(picture, graph);
  const tiles: Tile[] = [];
  for (let top = 0; top < picture.height; top += height) {
    for (let left = 0; left < picture.width; left += width) {
      const window = plainWindow(height, width, inwards(top, height, picture.height), inwards(left, width, picture.width));
      tiles.push({ window, top, left, bottom: Math.min(top + height, picture.height), right: Math.min(left + width, picture.width) });
    }
  }
  return tiles;
}

/** The picture's own size where the graph takes any; the longer side is divided until a tile is small enough. */
function tileSize(picture: Size, graph: TileSize): readonly [height: number, width: number] {
  const parts = { height: 1, width: 1 };
  const side = (name: "height" | "width"): number => {
    const multiple = parts[name] === 1 ? (graph.multiple ?? 1) : sizeMultiple;
    return graph[name] ?? Math.ceil(Math.ceil(picture[name] / parts[name]) / multiple) * multiple;
  };
  while (picture.height * picture.width > mostPixels && side("height") * side("width") > mostPixels) {
    const [longer, shorter] = side("height") > side("width") ? (["height", "width"] as const) : (["width", "height"] as const);
    const divided = graph[longer] === null ? longer : shorter;
    if (graph[divided] !== null || side(divided) <= sizeMultiple) break;
    parts[divided]++;
  }
  return [side("height"), side("width")];
}

function inwards(start: number, size: number, limit: number): number {
  return Math.max(0, Math.min(start, limit - size));
}
