/** What decoders of language models are made of (opsets 23 to 27): rotary positions, caches, convolutions and attention with a state. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { resolveAxis } from "../../ops/define.ts";
import { OhemgenError } from "../../support/errors.ts";
import { byHead, repeated } from "./attention.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

function refusal({ node }: ConvertContext, what: string): OhemgenError {
  return new OhemgenError(`${node.op} ${what}`, { code: "E131", where: `node ${node.name}`, hint: "Fix the size with --input-shape." });
}

function count(op: OpBuilder, x: Value, axis: number): Value {
  return op.emit("Range", [op.scalar("int64", 0), op.squeeze(op.dim(x, axis), [0]), op.scalar("int64", 1)]);
}

/** Pairs (a, b) of features turned by the angle of their position: (a·cos - b·sin, a·sin + b·cos). */
const rotaryEmbedding: Converter = (context) => {
  const { op, x, input, int } = context;
  const flat = dimsOf(input(0)).length === 3;
  const heads = byHead(op, input(0), int("num_heads", 1));
  const depth = dimsOf(heads)[3];
  if (typeof depth !== "number") throw refusal(context, "of a dynamic number of features");
  const turned = int("rotary_embedding_dim", 0) || depth;
  const half = turned / 2;
  // [B, S, half], or [S, half] picked by position; the heads share it.
  const angles = (cache: Value) => op.unsqueeze(x[3] === undefined ? cache : op.gather(cache, x[3], 0), [1]);
  const [cos, sin] = [angles(input(1)), angles(input(2))];
  const cut = (start: number, end: number) => op.slice(heads, [{ axis: 3, start, end }]);
  const interleaved = int("interleaved", 0) !== 0;
  const every = (start: number) => op.slice(cut(0, turned), [{ axis: 3, start, step: 2 }]);
  const [a, b] = interleaved ? [every(0), every(1)] : [cut(0, half), cut(half, turned)];
  const real = op.sub(op.mul(a, cos), op.mul(b, sin));
  const imaginary = op.add(op.mul(a, sin), op.mul(b, cos));
  const pairs = interleaved
    ? op.reshape(op.concat([op.unsqueeze(real, [4]), op.unsqueeze(imaginary, [4])], 4), op.concat([op.shape(real, 0, 3), op.ints([turned])], 0))
    : op.concat([real, imaginary], 3);
  const result = turned === depth ? pairs : op.concat([pairs, cut(turned, depth)], 3);
  return [flat ? op.reshapeLike(op.transpose(result, [0, 2, 1, 3]), input(0)) : result];
};

/** Rows written into a cache from an index on, one index per sample; circular ones go on at the start. */
const tensorScatter: Converter = ({ op, x, input, int, string }) => {
  const [cache, update] = [input(0), input(1)];
  const rank = dimsOf(cache).length;
  const axis = resolveAxis("TensorScatter", int("axis", -2), rank);
  const order = [0, axis, ...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== 0 && i !== axis)];
  const back = order.map((_, i) => order.indexOf(i));
  const rows = op.unsqueeze(count(op, update, axis), [0]);
  const from = x[2] === undefined ? op.add(op.mul(op.unsqueeze(count(op, cache, 0), [1]), 0), rows) : op.add(op.unsqueeze(x[2], [1]), rows);
  const at = string("mode", "linear") === "circular" ? op.emit("Mod", [from, op.dim(cache, axis)]) : from;
  const sample = op.expand(op.unsqueeze(count(op, cache, 0), [1]), op.shape(at));
  const indices = op.concat([op.unsqueeze(sample, [2]), op.unsqueeze(at, [2])], 2);
  const written = op.emit("ScatterND", [op.transpose(cache, order), indices, op.transpose(update, order)]);
  return [op.transpose(written, back)];
};

/** A depthwise convolution over the steps before each step; the state holds the last k - 1 of them. */
const causalConvolution: Converter = (context) => {
  const { op, x, input, string } = context;
  const [channels, , size] = dimsOf(input(1));
  if (typeof channels !== "number" || typeof size !== "number") throw refusal(context, "with a kernel of dynamic size");
  const whole = x[3] === undefined ? op.pad(input(0), [0, 0, size - 1, 0, 0, 0]) : op.concat([x[3], input(0)], 2);
  const made = op.emit("Conv", [whole, input(1), x[2]], { group: channels, kernel_shape: [size] });
  const y = string("activation", "none") === "none" ? made : op.mul(made, op.sigmoid(made));
  return [y, op.slice(whole, [{ axis: 2, start: -(size - 1), ...(size === 1 ? { end: 0, start: 0 } : {}) }])];
};

/** Longer sequences would make graphs that take minutes to load. */
const longest = 1024;

/**
 * A state S per head, `[B, H, dk, dv]`, unrolled over the steps: S decays by e^g, takes k ⊗ v (or, with the delta rule,
 * k ⊗ β·(v - Sᵀk)) and gives o = scale·qᵀS.
 */
const linearAttention: Converter = (context) => {
  const { op, x, input, int, float, string } = context;
  const [heads, keyHeads] = [int("q_num_heads", 1), int("kv_num_heads", 1)];
  const [query, key, value] = [byHead(op, input(0), heads), byHead(op, input(1), keyHeads), byHead(op, input(2), keyHeads)];
  const [length, depth, width] = [dimsOf(query)[2], dimsOf(key)[3], dimsOf(value)[3]];
  if (typeof length !== "number" || length > longest || typeof depth !== "number" || typeof width !== "number") {
    throw refusal(context, "over a dynamic or very long sequence");
  }
  const scale = float("scale", 0) || 1 / Math.sqrt(depth);
  const rule = string("update_rule", "gated_delta");
  // One number per head, or one per feature of the key.
  const decay = x[4] === undefined ? undefined : op.exp(byHead(op, x[4], keyHeads));
  const beta = x[5] === undefined ? undefined : op.unsqueeze(op.transpose(x[5], [0, 2, 1]), [3]);
  const at = (tensor: Value, t: number) => op.slice(tensor, [{ axis: 2, start: t, end: t + 1 }]);
  const column = (tensor: Value, t: number) => op.transpose(at(tensor, t), [0, 1, 3, 2]);
  const empty = op.concat([op.dim(key, 0), op.ints([keyHeads, depth, width])], 0);
  let state = x[3] ?? op.expand(op.scalar("float32", 0), empty);
  const rows = Array.from({ length }, (_, t) => {
    if (decay !== undefined) state = op.mul(state, column(decay, t));
    let added = at(value, t);
    if (rule.includes("delta") && beta !== undefined) added = op.mul(op.sub(added, op.matmul(at(key, t), state)), at(beta, t));
    state = op.add(state, op.matmul(column(key, t), added));
    return op.matmul(op.mul(at(query, t), scale), repeated(op, state, heads / keyHeads));
  });
  const y = op.transpose(op.concat(rows, 2), [0, 2, 1, 3]);
  return [op.reshape(y, op.concat([op.shape(y, 0, 2), op.ints([heads * width])], 0)), state];
};

export const decoders = defineConverters({
  RotaryEmbedding: rotaryEmbedding,
  TensorScatter: tensorScatter,
  CausalConvWithState: causalConvolution,
  LinearAttention: linearAttention,
});
