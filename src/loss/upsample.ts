/**
 * Bilinear upsampling of logits to the label size and its transpose, as two products with interpolation matrices:
 * up(z) = A_h · z · A_wᵀ and up*(g) = A_hᵀ · g · A_w. Equal sizes are the exact identity, also where that shows only
 * at run time.
 */

import type { Graph, Value } from "../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { type Grid, knownSize, sizeOf } from "./pixels.ts";

export interface Upsampling {
  /** [N,C,h,w] → [N,C,H,W] */
  readonly forward: (op: OpBuilder, logits: Value) => Value;
  /** [N,C,H,W] → [N,C,h,w] */
  readonly transposed: (op: OpBuilder, gradient: Value) => Value;
  /** Known to do nothing. */
  readonly identity: boolean;
}

type Mode = "half_pixel" | "align_corners";

/** @param logits [N,C,h,w] */
export function upsamplingOf(op: OpBuilder, logits: Value, grid: Grid, mode: Mode): Upsampling {
  const [height, width] = [op.dim(logits, 2), op.dim(logits, 3)];
  const same = { height: sameSize(height, grid.height), width: sameSize(width, grid.width) };
  if (same.height === true && same.width === true) {
    return { forward: (_, z) => z, transposed: (_, g) => g, identity: true };
  }
  const shapes = { small: dimsOf(logits), large: [...dimsOf(logits).slice(0, 2), sizeOf(grid.height), sizeOf(grid.width)] };
  // A matrix for an axis of equal size is left out where that is known.
  const rows = (b: OpBuilder) => (same.height === true ? undefined : interpolation(b, height, grid.height, mode));
  const columns = (b: OpBuilder) => (same.width === true ? undefined : interpolation(b, width, grid.width, mode));
  const up = (b: OpBuilder, z: Value) => {
    const a = columns(b);
    const wide = a === undefined ? z : b.matmul(z, b.transpose(a, [1, 0]));
    const r = rows(b);
    return r === undefined ? wide : b.matmul(r, wide);
  };
  const down = (b: OpBuilder, g: Value) => {
    const r = rows(b);
    const low = r === undefined ? g : b.matmul(b.transpose(r, [1, 0]), g);
    const a = columns(b);
    return a === undefined ? low : b.matmul(low, a);
  };
  if (same.height === false || same.width === false) return { forward: up, transposed: down, identity: false };
  return {
    identity: false,
    forward: (b, z) => whereSizesDiffer(b, z, up, [height, width], grid, shapes.large),
    transposed: (b, g) => whereSizesDiffer(b, g, down, [height, width], grid, shapes.small),
  };
}

/** Whether two sizes are equal; `undefined` where only the run can tell. */
function sameSize(a: Value, b: Value): boolean | undefined {
  if (sizeOf(a) === sizeOf(b)) return true;
  return Number.isFinite(knownSize(a)) && Number.isFinite(knownSize(b)) ? false : undefined;
}

/**
 * A[i,j] = max(0, 1 − |x_i − j|) with x_i the place of output i among the inputs, clamped to them. In integers up to
 * the last division: x_i = num/den with half_pixel num = (2i+1)·from − to, den = 2·to; align_corners
 * num = i·(from−1), den = to−1. Exact where float32 coordinates are off by 1e-4 of a pixel.
 */
function interpolation(op: OpBuilder, from: Value, to: Value, mode: Mode): Value {
  const [m, n] = [from, to].map((size) => op.reshape(op.cast(size, "int32"), [])) as [Value, Value];
  const [column, row] = [m, n].map((count) => op.emit("Range", [op.scalar("int32", 0), count, op.scalar("int32", 1)])) as [Value, Value];
  const last = op.sub(m, 1);
  const half = mode === "half_pixel";
  const place = half ? op.sub(op.mul(op.add(op.mul(row, 2), 1), m), n) : op.mul(row, last);
  const divisor = half ? op.mul(n, 2) : op.max(op.sub(n, 1), 1);
  const clamped = half ? op.min(op.max(place, 0), op.mul(divisor, last)) : place;
  const distance = op.abs(op.sub(op.unsqueeze(clamped, [1]), op.mul(column, divisor)));
  return op.relu(op.sub(1, op.div(op.cast(distance, "float32"), op.cast(divisor, "float32"))));
}

/**
 * `If` the sizes differ, the matrices, else the value itself: products with an identity matrix would take a hundred
 * times as long, and would not be exact where the provider rounds the factors (TF32).
 */
function whereSizesDiffer(
  op: OpBuilder,
  x: Value,
  resize: (inner: OpBuilder, x: Value) => Value,
  [height, width]: readonly [Value, Value],
  grid: Grid,
  shape: Value["shape"],
): Value {
  const equal = op.and(op.equal(height, grid.height), op.equal(width, grid.width));
  const branch = (name: string, build: (inner: OpBuilder) => Value): Graph => {
    const inner = op.subgraph(name);
    const value = build(inner);
    return { name, inputs: [], outputs: [{ name: "value", value }], initializers: [], nodes: inner.draft.nodes };
  };
  const attributes = {
    then_branch: { type: "graph", value: branch("same_size", () => x) },
    else_branch: { type: "graph", value: branch("resize", (inner) => resize(inner, x)) },
  } as const;
  const node = op.append("If", "", [op.reshape(equal, [])], attributes, [{ dtype: x.dtype, shape }]);
  return node.outputs[0] as Value;
}
