/** src/OPERATORS.md holds what `ohemgen ops --markdown` prints (`vitest -u` writes it anew), and every operator that must have a gradient has one. */

import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { operatorTable } from "../src/attach/operators.ts";
import { operatorPage } from "../src/cli/commands/ops.ts";

const page = fileURLToPath(new URL("../src/OPERATORS.md", import.meta.url));

test("the page is what the code says", async () => {
  await expect(operatorPage(operatorTable())).toMatchFileSnapshot(page);
});

/** Where a gradient has to pass, by a rule or by what the operator becomes. */
const differentiable =
  "Abs Acos Acosh Add Asin Asinh Atan Atanh Celu Clip Cos Cosh Div Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log Max Mean Min Mish Mul Neg Pow PRelu " +
  "Reciprocal Relu Selu Shrink Sigmoid Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Cast CenterCropPad Concat DepthToSpace Expand " +
  "Flatten Gather GatherElements GatherND Identity Pad Reshape ReverseSequence ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze " +
  "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare CumSum TopK MatMul Gemm Einsum Conv ConvTranspose " +
  "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool BatchNormalization InstanceNormalization GroupNormalization LayerNormalization RMSNormalization " +
  "LpNormalization LRN MeanVarianceNormalization Softmax LogSoftmax Resize Upsample GridSample AffineGrid RoiAlign Dropout";

test.each(differentiable.split(" "))("%s has a gradient", (op) => {
  const entry = operatorTable().find((operator) => operator.op === op);
  expect(["rule", "decomposed"]).toContain(entry?.state);
});
