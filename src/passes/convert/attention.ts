/** Scaled dot-product attention (opset 23) as products and a softmax. */

import { largestFloat32 } from "../../ir/dtype.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

/** Low enough that its exponential is 0 beside any other, finite so that a row without anything else stays a number. */
const excluded = -largestFloat32;

/** `[B, S, H·D]` as `[B, H, S, D]`. */
export function byHead(op: OpBuilder, x: Value, heads: number): Value {
  if (dimsOf(x).length === 4) return x;
  const width = dimsOf(x)[2];
  const size = typeof width === "number" ? op.ints([heads, width / heads]) : op.concat([op.ints([heads]), op.div(op.dim(x, 2), heads)], 0);
  return op.transpose(op.reshape(x, op.concat([op.shape(x, 0, 2), size], 0)), [0, 2, 1, 3]);
}

/** Every key head serves several query heads. */
export function repeated(op: OpBuilder, x: Value, times: number): Value {
  if (times === 1) return x;
  const shape = op.concat([op.shape(x, 0, 2), op.ints([times]), op.shape(x, 2)], 0);
  const merged = op.concat([op.dim(x, 0), op.mul(op.dim(x, 1), times), op.shape(x, 2)], 0);
  return op.reshape(op.expand(op.unsqueeze(x, [2]), shape), merged);
}

/** 0, 1, 2 … along an axis. */
function positions(op: OpBuilder, x: Value, axis: number): Value {
  return op.emit("Range", [op.scalar("int64", 0), op.squeeze(op.dim(x, axis), [0]), op.scalar("int64", 1)]);
}

/** What a query may see: combined where several rules hold; `undefined`: everything. */
type Allowed = Value | undefined;

const both = (op: OpBuilder, a: Allowed, b: Allowed): Allowed => (a === undefined ? b : b === undefined ? a : op.and(a, b));

/**
 * Query i stands at p = offset + i, where the offset is the number of keys before this block; with causality it sees
 * the keys j ≤ p, with a window those from p - left to p + right.
 */
function byPosition({ op, x, int }: ConvertContext, query: Value, key: Value): Allowed {
  const [left, right] = [int("left_window_size", -1), int("right_window_size", -1)];
  const causal = int("is_causal", 0) !== 0;
  if (!causal && left < 0 && right < 0) return undefined;
  const [past, lengths] = [x[4], x[6]];
  let rows = op.unsqueeze(positions(op, query, 2), [1]);
  if (past !== undefined) rows = op.add(rows, op.dim(past, 2));
  else if (lengths !== undefined) rows = op.add(rows, op.unsqueeze(op.sub(lengths, op.squeeze(op.dim(query, 2), [0])), [1, 2, 3]));
  const distance = op.sub(rows, op.unsqueeze(positions(op, key, 2), [0]));
  const bounds = [
    causal ? op.greaterOrEqual(distance, 0) : undefined,
    left < 0 ? undefined : op.lessOrEqual(distance, left),
    right < 0 ? undefined : op.greaterOrEqual(distance, -right),
  ];
  return bounds.reduce<Allowed>((result, bound) => both(op, result, bound), undefined);
}

/** A mask shorter than the keys says nothing of the rest, which is left out. */
function widened(op: OpBuilder, mask: Value, key: Value, fill: number): Value {
  const [own, keys] = [dimsOf(mask).at(-1), dimsOf(key)[2]];
  if (own === keys) return mask;
  const missing = op.max(op.sub(op.dim(key, 2), op.dim(mask, -1)), 0);
  const none = op.ints(new Array<number>(dimsOf(mask).length * 2 - 1).fill(0));
  return op.emit("Pad", [mask, op.concat([none, missing], 0), op.scalar(mask.dtype, fill)]);
}

interface Masked {
  /** Added to the scores. */
  readonly bias: Value | undefined;
  readonly allowed: Allowed;
}

/** All that keeps a query from a key: the mask, the padding behind the valid keys, position. */
function masks(context: ConvertContext, query: Value, key: Value): Masked {
  const { op, x } = context;
  const [mask, lengths] = [x[3], x[6]];
  const valid = lengths === undefined ? undefined : op.less(positions(op, key, 2), op.unsqueeze(lengths, [1, 2, 3]));
  const allowed = both(op, valid, byPosition(context, query, key));
  if (mask === undefined) return { bias: undefined, allowed };
  if (mask.dtype === "bool") {
    const given = dimsOf(mask).at(-1) === dimsOf(key)[2] ? mask : op.greater(widened(op, op.cast(mask, "float32"), key, 0), 0.5);
    return { bias: undefined, allowed: both(op, given, allowed) };
  }
  const bias = widened(op, mask, key, Number.NEGATIVE_INFINITY);
  // Minus infinity forbids; as a number it would make a row of nothing else undefined.
  const forbidden = op.lessOrEqual(bias, excluded);
  return { bias: op.where(forbidden, 0, bias), allowed: both(op, op.not(forbidden), allowed) };
}

/** Softmax over the allowed keys; a query that may see none gets zeros. */
function attended(op: OpBuilder, scores: Value, { bias, allowed }: Masked): Value {
  const biased = bias === undefined ? scores : op.add(scores, bias);
  if (allowed === undefined) return op.emit("Softmax", [biased], { axis: -1 });
  const weights = op.emit("Softmax", [op.where(allowed, biased, excluded)], { axis: -1 });
  const any = op.reduceMax(op.cast(allowed, "float32"), [-1], true);
  return op.where(op.greater(any, 0), weights, 0);
}

/** The scores as an output: of the product, behind the soft cap, with the bias, or behind the softmax. */
function scoresOutput({ op, int }: ConvertContext, stages: { raw: Value; capped: Value; weights: Value }, { bias, allowed }: Masked): Value {
  switch (int("qk_matmul_output_mode", 0)) {
    case 1:
      return stages.capped;
    case 2: {
      const biased = bias === undefined ? stages.capped : op.add(stages.capped, bias);
      return allowed === undefined ? biased : op.where(allowed, biased, Number.NEGATIVE_INFINITY);
    }
    case 3:
      return stages.weights;
    default:
      return stages.raw;
  }
}

/** Y = softmax(cap(Q·Kᵀ·scale) + mask)·V, heads side by side again where they came that way. */
const scaledDotProduct: Converter = (context) => {
  const { op, node, x, input, int, float } = context;
  const flat = dimsOf(input(0)).length === 3;
  const query = byHead(op, input(0), int("q_num_heads", 1));
  const withPast = (past: Value | undefined, own: Value) => (past === undefined ? own : op.concat([past, own], 2));
  const key = withPast(x[4], byHead(op, input(1), int("kv_num_heads", 1)));
  const value = withPast(x[5], byHead(op, input(2), int("kv_num_heads", 1)));
  const [heads, keyHeads, depth] = [dimsOf(query)[1], dimsOf(key)[1], dimsOf(query)[3]];
  if (typeof heads !== "number" || typeof keyHeads !== "number" || typeof depth !== "number") {
    throw new OhemgenError("Attention with a dynamic number of heads or features", { code: "E131", where: node.name, hint: "Fix it with --input-shape." });
  }
  const times = heads / keyHeads;
  const scale = float("scale", 1 / Math.sqrt(depth));
  const raw = op.matmul(op.mul(query, scale), op.transpose(repeated(op, key, times), [0, 1, 3, 2]));
  const cap = float("softcap", 0);
  const capped = cap > 0 ? op.mul(op.tanh(op.div(raw, cap)), cap) : raw;
  const given = masks(context, query, key);
  const weights = attended(op, capped, given);
  const mixed = op.matmul(weights, repeated(op, value, times));
  const scores = node.outputs[3] === undefined ? undefined : scoresOutput(context, { raw, capped, weights }, given);
  if (!flat) return [mixed, key, value, scores];
  const rows = op.transpose(mixed, [0, 2, 1, 3]);
  return [op.reshape(rows, op.concat([op.shape(rows, 0, 2), op.ints([-1])], 0)), key, value, scores];
};

export const attention = defineConverters({ Attention: scaledDotProduct });
