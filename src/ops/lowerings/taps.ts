/**
 * Reading a tensor between its elements: the elements ("taps") that a position along an axis reads, their weights and
 * how the weights change with the position. Indices always lie inside; what padding hides has weight 0.
 */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { sizeAlong } from "./interpolation.ts";

export interface TapOptions {
  readonly mode: "linear" | "nearest" | "cubic";
  readonly padding: "zeros" | "border" | "reflection";
  /** Reflection about the centers of the outer elements instead of their edges. */
  readonly alignCorners: boolean;
}

/** Tensors in the shape of the positions. */
export interface Tap {
  readonly index: Value;
  readonly weight: Value;
  /** d weight / d position; none where the weight is constant. */
  readonly slope: Value | undefined;
}

/** Several axes together. */
export interface CombinedTap {
  /** Into the axes flattened, int64. */
  readonly index: Value;
  readonly weights: readonly Value[];
  readonly slopes: readonly (Value | undefined)[];
}

/** Coefficient of the cubic kernel, as PyTorch and ONNX Runtime have it for grids. */
const a = -0.75;

/** Weights of Keys' kernel and their slopes for fraction t, at offsets -1, 0, 1, 2; d is the distance. */
function cubicTaps(op: OpBuilder, t: Value): { offset: number; weight: Value; slope: Value }[] {
  const near = (d: Value) => op.add(op.mul(op.mul(d, d), op.sub(op.mul(d, a + 2), a + 3)), 1);
  const nearSlope = (d: Value) => op.mul(d, op.sub(op.mul(d, 3 * (a + 2)), 2 * (a + 3)));
  const far = (d: Value) => op.sub(op.mul(op.add(op.mul(op.sub(d, 5), d), 8), op.mul(d, a)), 4 * a);
  const farSlope = (d: Value) => op.mul(op.add(op.mul(d, op.sub(op.mul(d, 3), 10)), 8), a);
  const before = op.add(t, 1);
  const rest = op.sub(1, t);
  const behind = op.sub(2, t);
  return [
    { offset: -1, weight: far(before), slope: farSlope(before) },
    { offset: 0, weight: near(t), slope: nearSlope(t) },
    { offset: 1, weight: near(rest), slope: op.neg(nearSlope(rest)) },
    { offset: 2, weight: far(behind), slope: op.neg(farSlope(behind)) },
  ];
}

/** i - n·⌊i/n⌋ */
const modulo = (op: OpBuilder, i: Value, n: Value) => op.sub(i, op.mul(n, op.floor(op.div(i, n))));

/** Where an index beyond the ends is read instead. */
function bounded(op: OpBuilder, index: Value, size: Value, { padding, alignCorners }: TapOptions): Value {
  const last = op.sub(size, 1);
  const clamped = (value: Value) => op.max(op.min(value, last), 0);
  if (padding !== "reflection") return clamped(index);
  // Back and forth with the period 2(n - 1), or 2n where the outer elements repeat.
  const period = alignCorners ? op.max(op.mul(last, 2), 1) : op.mul(size, 2);
  const within = modulo(op, index, period);
  return clamped(op.min(within, op.sub(alignCorners ? period : op.sub(period, 1), within)));
}

/**
 * @param position in elements: 0 is the center of the first
 * @param size of the axis, a float32 scalar
 */
export function tapsAlong(op: OpBuilder, position: Value, size: Value, options: TapOptions): readonly Tap[] {
  const ones = () => op.filledLike(position, 1);
  if (options.mode === "nearest") return [tap(op, op.emit("Round", [position]), ones(), undefined, size, options)];
  const base = op.floor(position);
  const fraction = op.sub(position, base);
  if (options.mode === "linear") {
    return [tap(op, base, op.sub(1, fraction), op.neg(ones()), size, options), tap(op, op.add(base, 1), fraction, ones(), size, options)];
  }
  return cubicTaps(op, fraction).map(({ offset, weight, slope }) => tap(op, op.add(base, offset), weight, slope, size, options));
}

function tap(op: OpBuilder, index: Value, weight: Value, slope: Value | undefined, size: Value, options: TapOptions): Tap {
  const at = bounded(op, index, size, options);
  if (options.padding !== "zeros") return { index: at, weight, slope };
  const inside = op.cast(op.equal(at, index), weight.dtype);
  return { index: at, weight: op.mul(weight, inside), slope: slope && op.mul(slope, inside) };
}

/** All combinations of the taps of several axes of `x`, `[N, C, …]`, flattened behind the channels. */
export function combinedTaps(op: OpBuilder, x: Value, axes: readonly (readonly Tap[])[]): readonly CombinedTap[] {
  const whole = (value: Value) => op.cast(value, "int64");
  return axes.reduce<readonly CombinedTap[]>((combined, taps, i) => {
    if (i === 0) return taps.map((each) => ({ index: whole(each.index), weights: [each.weight], slopes: [each.slope] }));
    const size = op.squeeze(op.dim(x, i + 2), [0]);
    return combined.flatMap((before) =>
      taps.map((each) => ({
        index: op.add(op.mul(before.index, size), whole(each.index)),
        weights: [...before.weights, each.weight],
        slopes: [...before.slopes, each.slope],
      })),
    );
  }, []);
}

export function productOf(op: OpBuilder, values: readonly Value[]): Value {
  return values.reduce((p, q) => op.mul(p, q));
}

/** `[N, P]` repeated for every channel of `[N, C, …]`. */
export function forChannels(op: OpBuilder, index: Value, x: Value): Value {
  return op.expand(op.unsqueeze(index, [1]), op.concat([op.shape(x, 0, 2), op.dim(index, 1)], 0));
}

/** `[N, C, …]` with everything behind the channels as one axis. */
export function flattened(op: OpBuilder, x: Value): Value {
  const length = op.emit("ReduceProd", [op.shape(x, 2), op.ints([0])], { keepdims: 1 });
  return op.reshape(x, op.concat([op.shape(x, 0, 2), length], 0));
}

/**
 * Values of x `[N, C, …]` at the positions, one tensor `[N, P]` per axis.
 * @returns `[N, C, P]`
 */
export function sampled(op: OpBuilder, x: Value, positions: readonly Value[], options: TapOptions): Value {
  const flat = flattened(op, x);
  const taps = positions.map((position, i) => tapsAlong(op, position, sizeAlong(op, x, i + 2), options));
  const parts = combinedTaps(op, x, taps).map(({ index, weights }) => {
    const values = op.emit("GatherElements", [flat, forChannels(op, index, x)], { axis: 2 });
    return op.mul(values, op.unsqueeze(productOf(op, weights), [1]));
  });
  return op.sum(parts);
}

/** Number of spatial axes of `[N, C, …]`. */
export const spatialRank = (x: Value) => dimsOf(x).length - 2;
