/** Nodes as every opset from 7 to 24 spells them, against the same nodes brought to opset 18. */

import { expect, test } from "vitest";
import { isKnownOp } from "../../src/ops/catalog.ts";
import { converters } from "../../src/passes/convert.ts";
import { normalize } from "../../src/passes/normalize.ts";
import { buildCase, type Case, caseName } from "../autodiff/case.ts";
import { families } from "../autodiff/cases.ts";
import { awayFrom, between, constant, data, drawn, floats, ints, randomFrom, scalar, x } from "../autodiff/operands.ts";
import { expectSame } from "./compare.ts";

const everyAxis = [
  "ReduceL1",
  "ReduceL2",
  "ReduceLogSum",
  "ReduceLogSumExp",
  "ReduceMax",
  "ReduceMean",
  "ReduceMin",
  "ReduceProd",
  "ReduceSum",
  "ReduceSumSquare",
];
const positive = between(0.5, 1.5);

const old: readonly Case[] = [
  ...["Softmax", "LogSoftmax", "Hardmax"].flatMap((op): Case[] => [
    { op, about: "default axis", inputs: [x([2, 3, 2])], opset: 9 },
    { op, about: "axis 2", inputs: [x([2, 3, 2])], attrs: { axis: 2 }, opset: 11 },
    { op, about: "negative axis", inputs: [x([2, 3, 2])], attrs: { axis: -2 }, opset: 11 },
    { op, about: "axis 0", inputs: [x([2, 3, 2])], attrs: { axis: 0 }, opset: 8 },
    { op, about: "default axis", inputs: [x([2, 3, 2])], opset: 13 },
  ]),
  { op: "Squeeze", inputs: [x([1, 3, 1])], attrs: { axes: [0, 2] }, opset: 9 },
  { op: "Squeeze", about: "all", inputs: [x([1, 3, 1])], opset: 11 },
  { op: "Unsqueeze", inputs: [x([2, 3])], attrs: { axes: [0, 2] }, opset: 11 },
  ...everyAxis.flatMap((op): Case[] => [
    { op, about: "axes", inputs: [x([2, 3, 2], positive)], attrs: { axes: [0, 2], keepdims: 0 }, opset: 11 },
    { op, about: "all", inputs: [x([2, 3, 2], positive)], opset: 9 },
    {
      op,
      about: "axes",
      inputs: op === "ReduceSum" ? [x([2, 3], positive), ints(-1)] : [x([2, 3], positive)],
      attrs: op === "ReduceSum" ? {} : { axes: [-1] },
      opset: 17,
    },
  ]),
  { op: "Clip", inputs: [x([2, 3])], attrs: { min: -0.5, max: 0.25 }, opset: 7 },
  { op: "Clip", about: "one bound", inputs: [x([2, 3])], attrs: { max: 0.25 }, opset: 10 },
  { op: "Clip", inputs: [x([2, 3]), undefined, scalar(0.5)], opset: 11 },
  { op: "Pad", inputs: [x([2, 3])], attrs: { pads: [1, 0, 0, 2], value: 1.5 }, opset: 9 },
  { op: "Pad", about: "reflect", inputs: [x([3, 4])], attrs: { pads: [1, 2, 0, 2], mode: "reflect" }, opset: 10 },
  { op: "Pad", about: "edge", inputs: [x([3, 4]), ints(1, 2, 0, 2)], attrs: { mode: "edge" }, opset: 11 },
  { op: "Slice", inputs: [x([4, 5])], attrs: { starts: [1, -3], ends: [9, -1] }, opset: 8 },
  { op: "Slice", about: "axes", inputs: [x([4, 5])], attrs: { starts: [1], ends: [4], axes: [1] }, opset: 9 },
  { op: "Slice", about: "steps", inputs: [x([4, 5]), ints(3), ints(0), ints(0), ints(-2)], opset: 10 },
  { op: "Split", about: "equal", inputs: [x([4, 2])], outputs: 2, opset: 9 },
  { op: "Split", about: "sizes", inputs: [x([2, 5])], attrs: { split: [1, 4], axis: -1 }, outputs: 2, opset: 11 },
  { op: "Split", about: "equal", inputs: [x([2, 6])], attrs: { axis: 1 }, outputs: 3, opset: 13 },
  { op: "Split", about: "sizes", inputs: [x([5, 2]), ints(2, 3)], outputs: 2, opset: 13 },
  { op: "Upsample", about: "attribute", inputs: [x([1, 1, 2, 3])], attrs: { scales: [1, 1, 2, 3], mode: "nearest" }, opset: 7 },
  { op: "Upsample", about: "linear", inputs: [x([1, 1, 2, 3]), floats(1, 1, 2, 2)], attrs: { mode: "linear" }, opset: 9 },
  { op: "Resize", about: "nearest", inputs: [x([1, 1, 2, 3]), floats(1, 1, 2, 2)], attrs: { mode: "nearest" }, opset: 10 },
  { op: "Resize", about: "linear, smaller", inputs: [x([1, 1, 4, 6]), floats(1, 1, 0.5, 0.5)], attrs: { mode: "linear" }, opset: 10 },
  { op: "Resize", about: "empty inputs", inputs: [x([1, 1, 4, 6]), floats(), floats(1, 1, 0.5, 2)], attrs: { mode: "linear" }, opset: 11 },
  {
    op: "Resize",
    about: "empty scales, sizes",
    inputs: [x([1, 1, 4, 6]), floats(), floats(), ints(1, 1, 5, 3)],
    attrs: { mode: "cubic", coordinate_transformation_mode: "align_corners" },
    opset: 13,
  },
  { op: "TopK", about: "k as an attribute", inputs: [x([2, 5])], attrs: { k: 3 }, outputs: 2, opset: 9 },
  { op: "TopK", inputs: [x([2, 5]), ints(3)], attrs: { axis: 1 }, outputs: 2, opset: 10 },
  { op: "Scatter", inputs: [x([3, 3]), data("int64", [1, 3], [1, 0, 2]), x([1, 3])], opset: 10 },
  { op: "Dropout", inputs: [x([2, 3])], attrs: { ratio: 0.5 }, opset: 7 },
  { op: "Dropout", inputs: [x([2, 3]), scalar(0.5), constant("bool", [], [0])], opset: 12, outputs: 2 },
  { op: "BatchNormalization", inputs: [x([2, 3, 2, 2]), x([3]), x([3]), x([3]), x([3], positive)], attrs: { epsilon: 0.01 }, opset: 7 },
  { op: "BatchNormalization", inputs: [x([2, 3, 2, 2]), x([3]), x([3]), x([3]), x([3], positive)], opset: 14 },
  { op: "Gemm", inputs: [x([2, 3]), x([3, 4]), x([4])], opset: 7 },
  { op: "Gemm", about: "without C", inputs: [x([2, 3]), x([3, 4])], opset: 11 },
  { op: "Sum", inputs: [x([2, 3]), x([3]), x([1])], opset: 8 },
  { op: "Mean", inputs: [x([2, 3]), x([3])], opset: 8 },
  { op: "Cast", inputs: [x([2, 3])], attrs: { to: 7 }, opset: 9 },
  { op: "AveragePool", inputs: [x([1, 2, 5, 5])], attrs: { kernel_shape: [3, 3], auto_pad: "SAME_LOWER", strides: [2, 2] }, opset: 7 },
  { op: "MaxPool", inputs: [x([1, 2, 5, 5])], attrs: { kernel_shape: [2, 2], pads: [0, 0, 1, 1] }, opset: 8 },
  { op: "MaxPool", about: "ceil_mode", inputs: [x([1, 2, 6, 6])], attrs: { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }, opset: 10 },
  { op: "Flatten", inputs: [x([2, 3, 4])], attrs: { axis: 2 }, opset: 7 },
  { op: "Reshape", inputs: [x([2, 3, 4]), ints(0, -1)], opset: 7 },
  { op: "PRelu", inputs: [x([2, 3], awayFrom([0])), x([3])], opset: 7 },
  { op: "Gather", inputs: [x([4, 3]), ints(0, -1)], attrs: { axis: 1 }, opset: 11 },
  { op: "OneHot", inputs: [data("int64", [3], [0, 2, -1]), ints(3), floats(0, 1)], opset: 9 },
  { op: "DepthToSpace", inputs: [x([1, 8, 2, 2])], attrs: { blocksize: 2 }, opset: 9 },
  { op: "HardSwish", inputs: [x([2, 3])], opset: 14 },
  { op: "GridSample", inputs: [x([1, 1, 3, 3]), x([1, 2, 2, 2], between(-1.2, 1.2))], attrs: { mode: "bilinear" }, opset: 16 },
  { op: "LpPool", inputs: [x([1, 2, 4, 4])], attrs: { kernel_shape: [2, 2] }, opset: 11 },
  { op: "MeanVarianceNormalization", inputs: [x([2, 2, 3, 3])], opset: 9 },
];

const newer: readonly Case[] = [
  { op: "Cast", inputs: [x([2, 3])], attrs: { to: 6, saturate: 1 }, opset: 19 },
  { op: "CastLike", inputs: [x([2, 3]), data("int32", [1], [0])], opset: 19 },
  { op: "Reshape", inputs: [x([2, 3]), ints(3, 2)], attrs: { allowzero: 1 }, opset: 21 },
  { op: "Pad", about: "wrap", inputs: [x([3, 4]), ints(1, 2, 0, 3)], attrs: { mode: "wrap" }, opset: 19 },
  { op: "Pad", about: "axes", inputs: [x([3, 4]), ints(1, 2), scalar(0.5), ints(-1)], opset: 21 },
  {
    op: "AveragePool",
    about: "dilation",
    inputs: [x([1, 2, 6, 6])],
    attrs: { kernel_shape: [2, 2], dilations: [2, 3], ceil_mode: 1, strides: [2, 2] },
    opset: 19,
  },
  {
    op: "Resize",
    about: "half_pixel_symmetric",
    inputs: [x([1, 1, 4, 5]), undefined, floats(1, 1, 1.3, 0.7)],
    attrs: { mode: "linear", coordinate_transformation_mode: "half_pixel_symmetric" },
    opset: 19,
  },
  { op: "Gelu", inputs: [x([2, 3])], attrs: { approximate: "tanh" }, opset: 20 },
  { op: "AffineGrid", inputs: [x([1, 2, 3]), ints(1, 1, 2, 3)], opset: 20 },
  {
    op: "GridSample",
    about: "volumes",
    inputs: [x([1, 2, 2, 3, 3]), x([1, 2, 2, 2, 3], between(-1.2, 1.2))],
    attrs: { mode: "linear", padding_mode: "border" },
    opset: 20,
  },
  { op: "GridSample", about: "cubic", inputs: [x([1, 1, 3, 3]), x([1, 2, 2, 2], between(-1.2, 1.2))], attrs: { mode: "cubic" }, opset: 20 },
  { op: "ReduceMax", inputs: [x([2, 3]), ints(1)], opset: 20 },
  { op: "ReduceMax", about: "booleans", inputs: [data("bool", [2, 3], [0, 1, 0, 0, 0, 0]), ints(1)], opset: 20 },
  { op: "ReduceMin", about: "booleans", inputs: [data("bool", [2, 3], [1, 1, 1, 1, 0, 1]), ints(-1)], attrs: { keepdims: 0 }, opset: 20 },
  { op: "GroupNormalization", inputs: [x([2, 4, 3, 3]), x([4]), x([4])], attrs: { num_groups: 2 }, opset: 21 },
  { op: "Flatten", inputs: [x([2, 3, 4])], opset: 21 },
  { op: "Conv", inputs: [x([1, 2, 5, 5]), x([3, 2, 3, 3])], attrs: { auto_pad: "SAME_UPPER", strides: [2, 2] }, opset: 22 },
  { op: "MaxPool", inputs: [x([1, 2, 5, 5])], attrs: { kernel_shape: [2, 2] }, opset: 22 },
  { op: "HardSwish", inputs: [x([2, 3])], opset: 22 },
  { op: "Dropout", inputs: [x([2, 3])], opset: 22 },
  { op: "RMSNormalization", inputs: [x([2, 3, 4]), x([4])], opset: 23 },
  { op: "Swish", inputs: [x([2, 3])], attrs: { alpha: 1.5 }, opset: 24 },
];

for (const given of [...old, ...newer]) {
  for (const form of ["static", "symbolic"] as const) {
    if (form === "symbolic" && given.attrs?.["auto_pad"] !== undefined) continue;
    if (form === "symbolic" && given.attrs?.["ceil_mode"] !== undefined && given.op === "AveragePool") continue;
    test(`${caseName(given)}, ${form}`, async () => {
      const random = randomFrom(7);
      const tensors = given.inputs.map((operand) => (operand === undefined ? undefined : drawn(operand, random)));
      const { model } = buildCase(given, tensors, form);
      const types = [...normalize(model).targets.values()].map(({ dtype }) => dtype);
      const { model: file } = buildCase(given, tensors, form, types);
      const feeds = Object.fromEntries(
        tensors.flatMap((tensor, i) => (tensor === undefined || given.inputs[i]?.role === "constant" ? [] : [[`input${i}`, tensor]])),
      );
      const { normalized } = await expectSame(file, feeds);
      for (const node of normalized.nodes) expect(isKnownOp(node.op), `${node.op} at opset 18`).toBe(true);
    });
  }
}

test("an attribute that opset 18 does not have is refused", () => {
  const given: Case = { op: "QuantizeLinear", inputs: [x([2, 4]), scalar(0.1)], attrs: { block_size: 2 }, opset: 21 };
  const { model } = buildCase(
    given,
    given.inputs.map((operand) => operand && drawn(operand, Math.random)),
    "static",
  );
  expect(() => normalize(model)).toThrow(/block_size/);
});

test.each([6, 29])("opset %d is refused", (opset) => {
  const given: Case = { op: "Relu", inputs: [x([2])], opset };
  const { model } = buildCase(
    given,
    given.inputs.map((operand) => operand && drawn(operand, Math.random)),
    "static",
  );
  expect(() => normalize(model)).toThrow(/opset/);
});

test("every converter has a case", () => {
  const covered = new Set([...old, ...newer, ...Object.values(families).flat()].map(({ op }) => op));
  // Those are tried in graphs: normalize.test.ts.
  const inGraphs = (op: string) => op === "Constant" || op.includes("Sequence") || op.startsWith("Optional");
  expect(Object.keys(converters).filter((op) => !covered.has(op) && !inGraphs(op))).toEqual([]);
});
