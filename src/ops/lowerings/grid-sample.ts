/** GridSample in any number of dimensions: the forward pass as gathers, and both its gradients. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { sizeAlong } from "./interpolation.ts";
import { combinedTaps, flattened, forChannels, productOf, sampled, spatialRank, type TapOptions, tapsAlong } from "./taps.ts";

const modes: Readonly<Record<string, TapOptions["mode"]>> = { bilinear: "linear", linear: "linear", nearest: "nearest", bicubic: "cubic", cubic: "cubic" };

/** The attributes under their names of any opset. */
export function gridOptions(attrs: { mode: string; padding_mode: string; align_corners: number }): TapOptions {
  return { mode: modes[attrs.mode] ?? "linear", padding: attrs.padding_mode as TapOptions["padding"], alignCorners: attrs.align_corners !== 0 };
}

/** `[N, …, D]` as one `[N, P]` per spatial axis of x: the grid names the last axis first. */
function coordinates(op: OpBuilder, grid: Value, rank: number): Value[] {
  const last = dimsOf(grid).length - 1;
  return Array.from({ length: rank }, (_, axis) => {
    const at = rank - 1 - axis;
    const part = op.slice(grid, [{ axis: last, start: at, end: at + 1 }]);
    return op.reshape(part, op.concat([op.dim(grid, 0), op.ints([-1])], 0));
  });
}

/** d position / d coordinate: (n - 1)/2 or n/2. */
const scaleOf = (op: OpBuilder, size: Value, { alignCorners }: TapOptions) => op.mul(alignCorners ? op.sub(size, 1) : size, 0.5);

/** Coordinates from -1 to 1 as positions in elements. */
function positionOf(op: OpBuilder, coordinate: Value, size: Value, options: TapOptions): Value {
  const position = op.mul(op.add(coordinate, 1), scaleOf(op, size, options));
  return options.alignCorners ? position : op.sub(position, 0.5);
}

function positions(op: OpBuilder, x: Value, grid: Value, options: TapOptions): Value[] {
  return coordinates(op, grid, spatialRank(x)).map((coordinate, i) => positionOf(op, coordinate, sizeAlong(op, x, i + 2), options));
}

/** @returns `[N, C, …]` with the spatial sizes of the grid `[N, …, D]` */
export function gridSample(op: OpBuilder, x: Value, grid: Value, options: TapOptions): Value {
  const values = sampled(op, x, positions(op, x, grid, options), options);
  return op.reshape(values, op.concat([op.shape(x, 0, 2), op.shape(grid, 1, dimsOf(grid).length - 1)], 0));
}

export interface GridGradients {
  readonly x: Value | undefined;
  readonly grid: Value | undefined;
}

/** Each output gives dy·weight to the elements it read; its position moves what it read by the slopes of the weights. */
export function gridSampleGradients(op: OpBuilder, x: Value, grid: Value, dy: Value, options: TapOptions, needs: { x: boolean; grid: boolean }): GridGradients {
  const sizes = Array.from({ length: spatialRank(x) }, (_, i) => sizeAlong(op, x, i + 2));
  const taps = positions(op, x, grid, options).map((position, i) => tapsAlong(op, position, sizes[i] as Value, options));
  const combined = combinedTaps(op, x, taps);
  const [flatX, flatDy] = [flattened(op, x), flattened(op, dy)];
  let dx = needs.x ? op.filledLike(flatX, 0) : undefined;
  const moves: Value[][] = sizes.map(() => []);
  for (const { index, weights, slopes } of combined) {
    const at = forChannels(op, index, x);
    if (dx !== undefined) {
      const updates = op.mul(flatDy, op.unsqueeze(productOf(op, weights), [1]));
      dx = op.emit("ScatterElements", [dx, at, updates], { axis: 2, reduction: "add" });
    }
    if (!needs.grid || options.mode === "nearest") continue;
    const read = op.reduceSum(op.mul(flatDy, op.emit("GatherElements", [flatX, at], { axis: 2 })), [1]);
    slopes.forEach((slope, axis) => {
      const factors = weights.map((weight, i) => (i === axis ? (slope as Value) : weight));
      moves[axis]?.push(op.mul(read, productOf(op, factors)));
    });
  }
  return { x: dx && op.reshapeLike(dx, x), grid: needs.grid ? gridGradient(op, grid, sizes, moves, options) : undefined };
}

function gridGradient(op: OpBuilder, grid: Value, sizes: readonly Value[], moves: readonly (readonly Value[])[], options: TapOptions): Value {
  // The nearest element does not change with a small move.
  if (options.mode === "nearest") return op.filledLike(grid, 0);
  const perAxis = moves.map((parts, axis) => op.unsqueeze(op.mul(op.sum(parts), scaleOf(op, sizes[axis] as Value, options)), [2]));
  return op.reshapeLike(op.concat(perAxis.toReversed(), 2), grid);
}
