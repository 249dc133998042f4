/** Cases of matrix products. */

import type { Case } from "../case.ts";
import { between, data, w, x } from "../operands.ts";

const products: readonly [string, number[], number[]][] = [
  ["vectors", [3], [3]],
  ["vector and matrix", [3], [3, 2]],
  ["matrix and vector", [2, 3], [3]],
  ["vector and stack", [3], [2, 3, 4]],
  ["stack and vector", [2, 4, 3], [3]],
  ["matrices", [2, 3], [3, 4]],
  ["stack and matrix", [5, 2, 3], [3, 4]],
  ["matrix and stack", [2, 3], [5, 3, 4]],
  ["stacks", [5, 2, 3], [5, 3, 4]],
  ["stacks that broadcast", [5, 1, 2, 3], [4, 3, 2]],
  ["a stack of one", [1, 2, 3], [4, 3, 2]],
];

const gemm = (about: string, a: number[], b: number[], c: number[] | undefined, attrs: Record<string, unknown> = {}): Case => ({
  op: "Gemm",
  about,
  inputs: c === undefined ? [x(a), w(b)] : [x(a), w(b), w(c)],
  attrs,
});

const matrix = between(-1, 1);

export const linear: readonly Case[] = [
  ...products.map(([about, a, b]): Case => ({ op: "MatMul", about, inputs: [x(a), x(b)] })),
  { op: "MatMul", about: "a weight", inputs: [x([2, 4, 3]), w([3, 5])] },
  { op: "MatMul", about: "a weight before", inputs: [w([5, 4]), x([2, 4, 3])] },
  gemm("plain", [2, 3], [3, 4], undefined),
  gemm("bias", [2, 3], [3, 4], [4]),
  gemm("bias column", [2, 3], [3, 4], [2, 1]),
  gemm("scalar bias", [2, 3], [3, 4], []),
  gemm("alpha and beta", [2, 3], [3, 4], [1, 4], { alpha: 0.5, beta: 0.25 }),
  gemm("transA", [3, 2], [3, 4], [4], { transA: 1 }),
  gemm("transB", [2, 3], [4, 3], [4], { transB: 1 }),
  gemm("transA and transB", [3, 2], [4, 3], [2, 4], { transA: 1, transB: 1, alpha: 1.5 }),
  { op: "Gemm", about: "everything dynamic", inputs: [x([2, 3]), x([3, 4]), x([4])] },
  {
    op: "Attention",
    about: "heads apart",
    inputs: [x([2, 3, 4, 2], undefined, [1, 3]), x([2, 3, 5, 2], undefined, [1, 3]), x([2, 3, 5, 2], undefined, [1, 3])],
    opset: 23,
  },
  {
    op: "Attention",
    about: "heads side by side, causal",
    inputs: [x([2, 4, 6], undefined, [2]), x([2, 4, 6], undefined, [2]), x([2, 4, 6], undefined, [2])],
    attrs: { q_num_heads: 3, kv_num_heads: 3, is_causal: 1 },
    opset: 23,
  },
  {
    op: "Attention",
    about: "shared key heads, a mask, a scale",
    inputs: [x([1, 4, 2, 3], undefined, [1, 3]), x([1, 2, 4, 3], undefined, [1, 3]), x([1, 2, 4, 3], undefined, [1, 3]), x([2, 4])],
    attrs: { scale: 0.3 },
    opset: 23,
  },
  {
    op: "Attention",
    about: "a mask of keys",
    inputs: [
      x([1, 2, 2, 3], undefined, [1, 3]),
      x([1, 2, 3, 3], undefined, [1, 3]),
      x([1, 2, 3, 3], undefined, [1, 3]),
      data("bool", [2, 3], [1, 0, 1, 1, 1, 0]),
    ],
    opset: 23,
  },
  { op: "Det", about: "1×1", inputs: [x([3, 1, 1], matrix, [1, 2])] },
  { op: "Det", about: "2×2", inputs: [x([2, 2], matrix, [0, 1])] },
  { op: "Det", about: "3×3, stacked", inputs: [x([2, 2, 3, 3], matrix, [2, 3])] },
  { op: "Einsum", about: "a diagonal", inputs: [x([2, 3, 3], undefined, [1, 2])], attrs: { equation: "bii->bi" } },
  { op: "Einsum", about: "a trace with a factor", inputs: [x([3, 3, 3], undefined, [0, 1, 2]), x([3])], attrs: { equation: "iii,i->" } },
];
