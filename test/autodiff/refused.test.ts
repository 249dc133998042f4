/** What has no gradient rule is refused with a code and a way out, never answered wrongly. */

import { expect, test } from "vitest";
import { OhemgenError } from "../../src/support/errors.ts";
import { buildCase, type Case } from "./case.ts";
import { differentiateModel } from "./check.ts";
import { constant, drawn, floats, ints, x } from "./operands.ts";

const refused: readonly (readonly [string, string, Case])[] = [
  ["antialiased Resize", "E202", { op: "Resize", inputs: [x([1, 1, 4, 4]), undefined, undefined, ints(1, 1, 2, 2)], attrs: { mode: "linear", antialias: 1 } }],
  [
    "cropping Resize",
    "E202",
    {
      op: "Resize",
      inputs: [x([1, 1, 4, 4]), floats(0, 0, 0, 0, 1, 1, 1, 1), undefined, ints(1, 1, 2, 2)],
      attrs: { mode: "linear", coordinate_transformation_mode: "tf_crop_and_resize" },
    },
  ],
  ["Det of 4×4", "E202", { op: "Det", inputs: [x([4, 4])] }],
  ["Einsum that makes a diagonal", "E202", { op: "Einsum", inputs: [x([3])], attrs: { equation: "i->ii" } }],
  [
    "RoiAlign of maxima",
    "E202",
    { op: "RoiAlign", inputs: [x([1, 1, 4, 4]), constant("float32", [1, 4], [0, 0, 3, 3]), ints(0)], attrs: { mode: "max", sampling_ratio: 1 } },
  ],
  ["RoiAlign with as many samples as fit", "E202", { op: "RoiAlign", inputs: [x([1, 1, 4, 4]), constant("float32", [1, 4], [0, 0, 3, 3]), ints(0)] }],
  [
    "LSTM with other activations",
    "E131",
    { op: "LSTM", inputs: [x([2, 1, 3]), x([1, 8, 3]), x([1, 8, 2])], attrs: { hidden_size: 2, activations: ["Relu", "Tanh", "Tanh"] } },
  ],
  ["operators without a rule", "E201", { op: "DFT", inputs: [x([1, 4, 1])], attrs: { axis: 1 } }],
  ["operators that came later", "E133", { op: "BitCast", inputs: [x([4])], attrs: { to: 6 }, opset: 26 }],
  ["element types that came later", "E133", { op: "Cast", inputs: [x([4])], attrs: { to: 17 }, opset: 19 }],
];

test.each(refused)("%s", (_about, code, given) => {
  const tensors = given.inputs.map((operand) => (operand === undefined ? undefined : drawn(operand, Math.random)));
  const wanted = new Set(given.inputs.flatMap((operand, i) => (operand?.role === "variable" ? [`input${i}`] : [])));
  const { model } = buildCase(given, tensors, "static", ["float32"]);
  const attempt = () => differentiateModel(model, wanted, "any");
  expect(attempt).toThrow(OhemgenError);
  try {
    attempt();
  } catch (error) {
    expect(error).toMatchObject({ code });
    expect((error as OhemgenError).hint).toBeDefined();
  }
});
