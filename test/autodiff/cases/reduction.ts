/** Cases of reductions, cumulative sums and ranking. */

import type { Case } from "../case.ts";
import { apart, awayFrom, between, constant, data, ints, type Sampler, scalar, x } from "../operands.ts";

const reduce = (op: string, sample: Sampler = between(-1.5, 1.5)): Case[] => [
  { op, about: "all axes", inputs: [x([2, 3, 2], sample)] },
  { op, about: "one axis", inputs: [x([2, 3, 2], sample), ints(1)], attrs: { keepdims: 0 } },
  { op, about: "negative axes", inputs: [x([2, 3, 2], sample), ints(-1, 0)] },
  { op, about: "negative axes, dropped", inputs: [x([2, 3, 2], sample), ints(-1, 0)], attrs: { keepdims: 0 } },
  { op, about: "empty axes", inputs: [x([2, 3], sample), constant("int64", [0], [])], attrs: { keepdims: 0 } },
  { op, about: "axes made at run time", inputs: [x([2, 3, 2], sample), data("int64", [2], [-1, 0], [0])] },
  { op, about: "axes made at run time, dropped", inputs: [x([2, 3, 2], sample), data("int64", [2], [-1, 0], [0])], attrs: { keepdims: 0 } },
  { op, about: "axes as an attribute", inputs: [x([2, 3, 2], sample)], attrs: { axes: [0, 2], keepdims: 0 }, opset: op === "ReduceSum" ? 11 : 13 },
];

const noop = (op: string, sample: Sampler = between(-1.5, 1.5)): Case => ({
  op,
  about: "nothing with empty axes",
  inputs: [x([2, 3], sample), constant("int64", [0], [])],
  attrs: { noop_with_empty_axes: 1, keepdims: 0 },
});

export const reduction: readonly Case[] = [
  ...reduce("ReduceSum"),
  noop("ReduceSum"),
  ...reduce("ReduceMean"),
  noop("ReduceMean"),
  ...reduce("ReduceSumSquare"),
  ...reduce("ReduceL1", awayFrom([0])),
  ...reduce("ReduceL2"),
  ...reduce("ReduceLogSum", between(0.3, 2)),
  ...reduce("ReduceLogSumExp"),
  ...reduce("ReduceMax", apart),
  ...reduce("ReduceMin", apart),
  ...reduce("ReduceProd"),
  {
    op: "ReduceProd",
    about: "a zero",
    inputs: [x([2, 3], (count, random) => Float64Array.from({ length: count }, (_, i) => (i === 1 ? 0 : 0.5 + random()))), ints(1)],
  },
  {
    op: "ReduceProd",
    about: "two zeros in a row",
    inputs: [x([2, 3], (count, random) => Float64Array.from({ length: count }, (_, i) => (i < 2 ? 0 : 0.5 + random()))), ints(1)],
  },
  { op: "CumSum", inputs: [x([2, 3]), scalar(1, "int64")] },
  { op: "CumSum", about: "exclusive", inputs: [x([2, 3]), scalar(-1, "int64")], attrs: { exclusive: 1 } },
  { op: "CumSum", about: "reverse", inputs: [x([2, 3]), scalar(0, "int64")], attrs: { reverse: 1 } },
  { op: "CumSum", about: "reverse and exclusive", inputs: [x([2, 3]), scalar(1, "int32")], attrs: { exclusive: 1, reverse: 1 } },
  { op: "TopK", inputs: [x([2, 5], apart), ints(3)], outputs: 2 },
  { op: "TopK", about: "smallest along the first axis", inputs: [x([5, 2], apart), ints(2)], attrs: { axis: 0, largest: 0 }, outputs: 2 },
  { op: "TopK", about: "unsorted, k as an attribute", inputs: [x([2, 5], apart)], attrs: { k: 2, axis: -1 }, outputs: 2, opset: 9 },
];
