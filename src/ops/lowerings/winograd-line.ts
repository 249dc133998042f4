/**
 * Minimal filters along the lines of an image. A line falls apart into tiles of results that lie `dilation` apart; the tiles
 * of all lines go to their points and back by products with one matrix, which knows padding and dilation too.
 */

import type { Value } from "../../ir/graph.ts";
import { type Tensor, tensorOf } from "../../ir/tensor.ts";
import type { OpBuilder } from "../builder.ts";
import type { WindowAxis } from "./conv-geometry.ts";
import { leastTaps, type MinimalFilter, minimalFilter, mostTaps, productCount } from "./minimal-filter.ts";

export interface Line {
  readonly axis: WindowAxis;
  readonly filter: MinimalFilter;
  /** Elements of the image. */
  readonly size: number;
  /** Results. */
  readonly count: number;
  /** The first result of each tile. */
  readonly tiles: readonly number[];
}

/** `undefined` where there is no such filter: for strides, and for numbers of taps without one. */
export function lineOf(axis: WindowAxis, size: number, count: number): Line | undefined {
  if (axis.stride !== 1 || axis.size < leastTaps || axis.size > mostTaps) return undefined;
  const filter = minimalFilter(axis.size);
  const tiles: number[] = [];
  for (let phase = 0; phase < Math.min(axis.dilation, count); phase++) {
    for (let first = phase; first < count; first += filter.results * axis.dilation) tiles.push(first);
  }
  return { axis, filter, size, count, tiles };
}

/** `[points, from, tiles]`: per point and tile, what an element of the line counts. */
function toTiles(line: Line, from: number, matrix: readonly (readonly number[])[], begin: number): Float32Array {
  const { axis, tiles } = line;
  const numbers = new Float32Array(productCount * from * tiles.length);
  matrix.forEach((row, point) => {
    tiles.forEach((first, tile) => {
      row.forEach((factor, i) => {
        const at = first + i * axis.dilation + begin;
        if (at >= 0 && at < from) numbers[(point * from + at) * tiles.length + tile] = factor;
      });
    });
  });
  return numbers;
}

const imageToPoints = (line: Line) => toTiles(line, line.size, line.filter.ofImage, -line.axis.padBegin);
const resultsToPoints = (line: Line) => toTiles(line, line.count, line.filter.ofResults, 0);

const keyOf = ({ axis, size, count }: Line) => `${axis.size} taps, rate ${axis.dilation}, ${size} from ${-axis.padBegin} to ${count}`;

function shared(op: OpBuilder, line: Line, name: string, make: () => Tensor): Value {
  return op.sharedConstant(`${name}: ${keyOf(line)}`, make, name);
}

/** `[points, size, tiles]` */
export function imageMatrix(op: OpBuilder, line: Line): Value {
  return shared(op, line, "image_to_points", () => tensorOf("float32", [productCount, line.size, line.tiles.length], imageToPoints(line)));
}

/** `[points·tiles, count]` */
export function resultMatrix(op: OpBuilder, line: Line): Value {
  const tiles = line.tiles.length;
  return shared(op, line, "points_to_results", () => {
    const from = resultsToPoints(line);
    const numbers = new Float32Array(from.length);
    for (let point = 0; point < productCount; point++) {
      for (let at = 0; at < line.count; at++) {
        for (let tile = 0; tile < tiles; tile++) {
          numbers[(point * tiles + tile) * line.count + at] = from[(point * line.count + at) * tiles + tile] as number;
        }
      }
    }
    return tensorOf("float32", [productCount * tiles, line.count], numbers);
  });
}

/** `[size, tiles]` of one point. */
export function imageMatrixOf(op: OpBuilder, line: Line, point: number): Value {
  return pointMatrix(op, line, `image_to_point${point}`, line.size, point, imageToPoints);
}

/** `[count, tiles]` of one point. */
export function resultMatrixOf(op: OpBuilder, line: Line, point: number): Value {
  return pointMatrix(op, line, `results_to_point${point}`, line.count, point, resultsToPoints);
}

function pointMatrix(op: OpBuilder, line: Line, name: string, from: number, point: number, numbers: (line: Line) => Float32Array): Value {
  const tiles = line.tiles.length;
  const length = from * tiles;
  return shared(op, line, name, () => tensorOf("float32", [from, tiles], numbers(line).slice(point * length, (point + 1) * length)));
}

/** G: `[points, taps]` */
export function tapMatrix(op: OpBuilder, { axis, filter }: Line): Value {
  return op.constant(tensorOf("float32", [productCount, axis.size], filter.ofTaps.flat()), "taps_to_points");
}
