/** Matrix products. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { einsumIndices } from "../../ops/catalog/einsum.ts";
import { OhemgenError } from "../../support/errors.ts";
import { defineGradients, type RuleContext } from "../registry.ts";
import { unbroadcast } from "../unbroadcast.ts";

/** Swaps the last two axes. */
function transposed(op: OpBuilder, x: Value): Value {
  const rank = dimsOf(x).length;
  const perm = Array.from({ length: rank }, (_, i) => i);
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  return op.transpose(x, perm);
}

/** Aᵀ·dY for a weight that every row of the batch shares: one product over all rows instead of a sum of products. */
function sharedWeightGradient(op: OpBuilder, a: Value, dy: Value): Value {
  const inner = dimsOf(a).at(-1) as number;
  const columns = dimsOf(dy).at(-1) as number;
  return op.matmul(op.transpose(op.reshape(a, [-1, inner]), [1, 0]), op.reshape(dy, [-1, columns]));
}

/** The gradient of one operand is the product of dy with the others, its own indices kept. */
function einsumGradient({ op, node, attrs, dy }: RuleContext<"Einsum">, at: number): Value {
  const operands = node.inputs as readonly Value[];
  const indices = einsumIndices(attrs.equation, operands);
  const diagonal = indices === undefined || [...indices.terms, indices.result].some((term) => new Set(term).size < term.length);
  if (diagonal) {
    throw new OhemgenError(`Einsum "${attrs.equation}" takes a diagonal, or operands of unknown rank`, {
      code: "E202",
      hint: "Freeze the weights before this Einsum.",
    });
  }
  const { terms, result } = indices;
  const own = terms[at] as string;
  const others = terms.filter((_, i) => i !== at);
  const available = result + others.join("");
  const kept = [...own].filter((letter) => available.includes(letter)).join("");
  const values = [dy, ...operands.filter((_, i) => i !== at)];
  const product = op.emit("Einsum", values, { equation: `${[result, ...others].join(",")}->${kept}` });
  // An index of this operand alone was summed over: its gradient is the same everywhere along it.
  const alone = [...own].flatMap((letter, axis) => (available.includes(letter) ? [] : [axis]));
  return alone.length === 0 ? product : op.expandLike(op.unsqueeze(product, alone), operands[at] as Value);
}

export const linear = defineGradients({
  Einsum: (context) => context.node.inputs.map((_, i) => (context.needs(i) ? einsumGradient(context, i) : undefined)),
  MatMul({ op, x: [a, b], dy }) {
    const [rankA, rankB] = [dimsOf(a).length, dimsOf(b).length];
    // Vectors become matrices of one row or column.
    const left = rankA === 1 ? op.unsqueeze(a, [0]) : a;
    const right = rankB === 1 ? op.unsqueeze(b, [1]) : b;
    let seed = dy;
    if (rankB === 1) seed = op.unsqueeze(seed, [-1]);
    if (rankA === 1) seed = op.unsqueeze(seed, [-2]);
    const da = unbroadcast(op, op.matmul(seed, transposed(op, right)), left);
    const staticRows = typeof dimsOf(left).at(-1) === "number" && typeof dimsOf(seed).at(-1) === "number";
    const shared = rankB === 2 && dimsOf(left).length > 2 && staticRows;
    const db = shared ? sharedWeightGradient(op, left, seed) : unbroadcast(op, op.matmul(transposed(op, left), seed), right);
    return [rankA === 1 ? op.squeeze(da, [0]) : da, rankB === 1 ? op.squeeze(db, [1]) : db];
  },
  // Y = α·A'·B' + β·C with A' and B' possibly transposed.
  Gemm({ op, x: [a, b], optional, dy, attrs }) {
    const seed = attrs.alpha === 1 ? dy : op.mul(dy, attrs.alpha);
    const gemm = (left: Value, right: Value, transA: number, transB: number) => op.emit("Gemm", [left, right], { transA, transB });
    const { transA, transB } = attrs;
    const da = transA ? gemm(b, seed, transB, 1) : gemm(seed, b, 0, transB ? 0 : 1);
    const db = transB ? gemm(seed, a, 1, transA) : gemm(a, seed, transA ? 0 : 1, 0);
    const dc = optional(2) === undefined ? undefined : attrs.beta === 1 ? dy : op.mul(dy, attrs.beta);
    return [da, db, dc];
  },
});
