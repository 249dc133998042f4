/** `inspect`: complete on real models, and a report, not an error, where `attach` fails. */

import { describe, expect, test } from "vitest";
import { inspect } from "../../src/attach/inspect.ts";
import { memoryOf } from "../../src/attach/memory.ts";
import { describe as describeReport } from "../../src/cli/commands/inspect.ts";
import type { Model, Value } from "../../src/ir/graph.ts";
import { availableModels } from "../models.ts";
import { constant, graphOf, modelOf, node, value } from "../passes/compare.ts";
import { readModel, readReference } from "./reference.ts";

describe.each(availableModels())("$name", ({ dir }) => {
  const model = readModel(dir);
  const reference = readReference(dir);
  const report = inspect(model, model.graph.outputs.length > 1 ? { logits: reference.logits } : {});

  test("nothing stands in the way", () => {
    expect(report.problems).toEqual([]);
    expect(report.missing).toEqual([]);
    expect(report.logits).toMatchObject([
      { name: reference.logits, classes: reference.loss.confusion.length === 2 ? expect.any(Number) : reference.loss.confusion.length },
    ]);
  });

  test("the estimate holds at least weights and state", () => {
    const { weights, state, peak } = report.step ?? { weights: 0, state: 0, peak: 0 };
    expect(weights).toBe(4 * report.trained.reduce((sum, { numbers }) => sum + numbers, 0));
    expect(state).toBe(2 * weights + 8);
    expect(peak).toBeGreaterThan(state);
    expect(describeReport(report, 1)).toMatch(/memory +state [\d.]+ MB/);
  });
});

const image = value("image", "float32", [1, 3, 8, 8]);
const weight = (name: string): Value => constant(name, "float32", [3, 3, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]);

/** image → Conv → steps → out. */
function chain(...steps: readonly (readonly [op: string, domain?: string])[]): Model {
  const w = weight("w");
  let last = value("c", "float32", [1, 3, 8, 8]);
  const nodes = [node("Conv", [image, w], [last])];
  for (const [i, [op, domain = ""]] of steps.entries()) {
    const output = value(`v${i}`, "float32", [1, 3, 8, 8]);
    nodes.push(node(op, [last], [output], { domain }));
    last = output;
  }
  return modelOf({ ...graphOf([image], nodes, [last]), initializers: [w] });
}

describe("reports", () => {
  test("all missing operators, with what else can be told", () => {
    const report = inspect(chain(["One", "a"], ["Two", "a"], ["Three", "b"], ["One", "a"], ["Four", "b"]));
    expect(report.missing.map(({ op }) => op)).toEqual(["a::One", "a::Two", "b::Three", "a::One", "b::Four"]);
    expect(report.problems).toMatchObject([{ code: "E201" }]);
    expect(report.step).toBeNull();
    expect(report.trained).toMatchObject([{ name: "w", role: "Conv weight", numbers: 9 }]);
    expect(report.operators).toContainEqual({ op: "a::One", nodes: 2, state: "unknown" });
    expect(describeReport(report, 100)).toContain("b::Four");
  });

  test("why the logits were found", () => {
    const report = inspect(chain(["Softmax"], ["Identity"]));
    expect(report.logits).toEqual([{ name: "c", output: "v1", behind: ["Identity Identity_v1", "Softmax Softmax_v0"], shape: [1, 3, 8, 8], classes: 3 }]);
  });

  test("a tensor that two nodes read", () => {
    const w = weight("w");
    const [a, b] = [value("a"), value("b", "float32", [1, 3, 8, 8])];
    const file = modelOf({ ...graphOf([image], [node("Conv", [image, w], [a]), node("Conv", [a, w], [b])], [b]), initializers: [w] });
    expect(inspect(file).shared).toEqual([{ name: "w", readers: ["Conv_a", "Conv_b"] }]);
  });

  test.each<[string, Model, string]>([
    [
      "two candidates",
      modelOf({ ...graphOf([image], [node("Conv", [image, weight("w")], [value("a")]), node("Conv", [image, weight("w")], [value("b")])], [value("x")]) }),
      "E210",
    ],
    ["no output of a node", modelOf(graphOf([image], [], [image])), "E210"],
    ["an old opset", { ...chain(["Relu"]), opsets: new Map([["", 6]]) }, "E132"],
    ["nothing to train", modelOf(graphOf([image], [node("Relu", [image], [value("y", "float32", [1, 3, 8, 8])])], [value("y")])), "E210"],
  ])("%s", (_, model, code) => {
    const report = inspect(model);
    expect(report.problems.map((problem) => problem.code)).toContain(code);
    expect(report.problems.map((problem) => problem.code)).not.toContain("E700");
    expect(describeReport(report, 0)).toContain(`[${code}]`);
  });

  test("dynamic sizes are assumed, and given ones taken", () => {
    const open = value("image", "float32", ["N", 3, "H", "W"]);
    const [w, y] = [weight("w"), value("y", "float32", ["N", 3, "H", "W"])];
    const file = modelOf({ ...graphOf([open], [node("Conv", [open, w], [y])], [y]), initializers: [w] });
    expect(inspect(file).step).toMatchObject({ assumed: true, inputShapes: { image: [1, 3, 512, 512] } });
    const small = inspect(file, { inputShapes: { image: [2, 3, 16, 16] } }).step;
    expect(small).toMatchObject({ assumed: false, inputShapes: { image: [2, 3, 16, 16] }, batch: 2 * 16 * 16 * (3 * 4 + 1) + 4 });
  });
});

test("memory: freed after the last reader, views share, outputs stay", () => {
  const x = value("x", "float32", [256]);
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => value(name, "float32", [256])) as [Value, Value, Value, Value];
  const k = constant("k", "float32", [2], [1, 2]);
  const file = modelOf(graphOf([x], [node("Relu", [x], [a]), node("Reshape", [a, k], [b]), node("Exp", [b], [c]), node("Add", [c, x], [d])], [d]));
  // a and c, then c and d: two tensors of 1 KiB at a time.
  expect(memoryOf(file)).toEqual({ constants: 8, inputs: 1024, peak: 2048, unknown: 0 });
});
