/** Scaled dot-product attention (opset 23) as products and a softmax. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

/** Low enough that its exponential is 0 beside any other, finite so that a row without anything else stays a number. */
const excluded = -3.4028234663852886e38;

/** `[B, S, H·D]` as `[B, H, S, D]`. */
function byHead(op: OpBuilder, x: Value, heads: number): Value {
  if (dimsOf(x).length === 4) return x;
  const width = dimsOf(x)[2];
  const size = typeof width === "number" ? op.ints([heads, width / heads]) : op.concat([op.ints([heads]), op.div(op.dim(x, 2), heads)], 0);
  return op.transpose(op.reshape(x, op.concat([op.shape(x, 0, 2), size], 0)), [0, 2, 1, 3]);
}

/** Every key head serves several query heads. */
function repeated(op: OpBuilder, x: Value, times: number): Value {
  if (times === 1) return x;
  const shape = op.concat([op.shape(x, 0, 2), op.ints([times]), op.shape(x, 2)], 0);
  const merged = op.concat([op.dim(x, 0), op.mul(op.dim(x, 1), times), op.shape(x, 2)], 0);
  return op.reshape(op.expand(op.unsqueeze(x, [2]), shape), merged);
}

/** `[S, T]`: query i sees the keys up to i, counted from behind the `past` ones. */
function causal(op: OpBuilder, query: Value, key: Value, past: Value | undefined): Value {
  const range = (x: Value) => op.emit("Range", [op.scalar("int64", 0), op.squeeze(op.dim(x, 2), [0]), op.scalar("int64", 1)]);
  const rows = past === undefined ? range(query) : op.add(range(query), op.dim(past, 2));
  return op.greaterOrEqual(op.unsqueeze(rows, [1]), op.unsqueeze(range(key), [0]));
}

function masked(context: ConvertContext, scores: Value, query: Value, key: Value): Value {
  const { op, x, int } = context;
  const mask = x[3];
  let result = scores;
  if (mask !== undefined) result = mask.dtype === "bool" ? op.where(mask, result, excluded) : op.add(result, mask);
  return int("is_causal", 0) === 0 ? result : op.where(causal(op, query, key, x[4]), result, excluded);
}

/** Y = softmax(Q·Kᵀ·scale + mask)·V, heads side by side again where they came that way. */
const scaledDotProduct: Converter = (context) => {
  const { op, node, x, input, int, float } = context;
  const softcap = float("softcap", 0);
  if (softcap !== 0 || x[6] !== undefined || node.outputs[3] !== undefined) {
    throw new OhemgenError("Attention with softcap, padded keys or its scores as an output", {
      code: "E131",
      where: node.name,
      hint: "Export the model with opset 18.",
    });
  }
  const flat = dimsOf(input(0)).length === 3;
  const query = byHead(op, input(0), int("q_num_heads", 1));
  const withPast = (past: Value | undefined, own: Value) => (past === undefined ? own : op.concat([past, own], 2));
  const key = withPast(x[4], byHead(op, input(1), int("kv_num_heads", 1)));
  const value = withPast(x[5], byHead(op, input(2), int("kv_num_heads", 1)));
  const [heads, keyHeads, depth] = [dimsOf(query)[1], dimsOf(key)[1], dimsOf(query)[3]];
  const scale = node.attributes["scale"]?.value as number | undefined;
  if (typeof heads !== "number" || typeof keyHeads !== "number" || typeof depth !== "number") {
    throw new OhemgenError("Attention with a dynamic number of heads or features", { code: "E131", where: node.name, hint: "Fix it with --input-shape." });
  }
  const times = heads / keyHeads;
  const scores = op.matmul(op.mul(query, scale ?? 1 / Math.sqrt(depth)), op.transpose(repeated(op, key, times), [0, 1, 3, 2]));
  const weights = op.emit("Softmax", [masked(context, scores, query, key)], { axis: -1 });
  const mixed = op.matmul(weights, repeated(op, value, times));
  if (!flat) return [mixed, key, value];
  const rows = op.transpose(mixed, [0, 2, 1, 3]);
  return [op.reshape(rows, op.concat([op.shape(rows, 0, 2), op.ints([-1])], 0)), key, value];
};

export const attention = defineConverters({ Attention: scaledDotProduct });
