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

/** An index of its own for each repetition of one, as `ii` becomes `ij` and the identity `ij`: a diagonal is a product with it. */
function withoutDiagonal(term: string, free: readonly string[]): { readonly spelled: string; readonly pairs: readonly (readonly [string, number])[] } {
  const pairs: (readonly [string, number])[] = [];
  let spelled = "";
  [...term].forEach((letter, axis) => {
    if (!spelled.includes(letter)) spelled += letter;
    else {
      const own = free[pairs.length] as string;
      spelled += own;
      pairs.push([`${letter}${own}`, axis]);
    }
  });
  return { spelled, pairs };
}

/** The runtime takes no operand without indices: a scalar gets one of length 1. */
function indexed(op: OpBuilder, term: string, value: Value, spare: string): readonly [string, Value] {
  return term === "" ? [spare, op.reshape(value, [1])] : [term, value];
}

/** The gradient of one operand is the product of dy with the others, its own indices kept. */
function einsumGradient({ op, node, attrs, dy }: RuleContext<"Einsum">, at: number): Value {
  const operands = node.inputs as readonly Value[];
  const indices = einsumIndices(attrs.equation, operands);
  if (indices === undefined || new Set(indices.result).size < indices.result.length) {
    throw new OhemgenError(`Einsum "${attrs.equation}" of operands of unknown rank, or with a diagonal as its result`, {
      code: "E202",
      hint: "Freeze the weights before this Einsum.",
    });
  }
  const { terms, result } = indices;
  const free = [..."zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA"].filter((letter) => !(result + terms.join("")).includes(letter));
  const operand = operands[at] as Value;
  const { spelled, pairs } = withoutDiagonal(terms[at] as string, free);
  const spare = free[pairs.length] as string;
  const diagonals = pairs.map(([term, axis]): readonly [string, Value] => {
    const square = op.concat([op.dim(operand, axis), op.dim(operand, axis)], 0);
    return [term, op.emit("EyeLike", [op.expand(op.scalar(dy.dtype, 0), square)])];
  });
  const others = terms.flatMap((term, i) => (i === at ? [] : [[term, operands[i] as Value] as const]));
  const factors = [[result, dy] as const, ...others].map(([term, value]) => indexed(op, term, value, spare)).concat(diagonals);
  const available = factors.map(([term]) => term).join("");
  const kept = [...spelled].filter((letter) => available.includes(letter)).join("");
  const values = factors.map(([, value]) => value);
  const product = op.emit("Einsum", values, { equation: `${factors.map(([term]) => term).join(",")}->${kept}` });
  // An index of this operand alone was summed over: its gradient is the same everywhere along it.
  const alone = [...spelled].flatMap((letter, axis) => (available.includes(letter) ? [] : [axis]));
  return alone.length === 0 ? product : op.expandLike(op.unsqueeze(product, alone), operand);
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
