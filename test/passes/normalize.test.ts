/** The whole pass: functions, known conditions, plumbing, storage habits of exporters; numbers stay the same. */

import { describe, expect, test } from "vitest";
import type { FunctionBody, Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { inlineFunctions } from "../../src/passes/inline-functions.ts";
import { normalize } from "../../src/passes/normalize.ts";
import { OhemgenError } from "../../src/support/errors.ts";
import { constant, expectSame, graphOf, modelOf, node, normalizedModel, operators, value } from "./compare.ts";

const vector = (...values: number[]) => tensorOf("float32", [values.length], values);

function body(name: string, inputs: readonly Value[], nodes: FunctionBody["nodes"], outputs: readonly Value[], rest: Partial<FunctionBody> = {}): FunctionBody {
  return {
    domain: "local",
    name,
    attributeDefaults: {},
    opsets: new Map([
      ["", 18],
      ["local", 1],
    ]),
    inputs,
    outputs,
    nodes,
    ...rest,
  };
}

const withLocal = {
  opsets: new Map([
    ["", 18],
    ["local", 1],
  ]),
};

/** f(x; slope) = LeakyRelu(x, slope) + x, the slope 0.5 unless given. */
function leakyResidual(): FunctionBody {
  const [x, h, y] = [value("x"), value("h"), value("y")];
  const nodes = [node("LeakyRelu", [x], [h], { references: { alpha: "slope" } }), node("Add", [h, x], [y])];
  return body("LeakyResidual", [x], nodes, [y], { attributeDefaults: { slope: { type: "float", value: 0.5 } } });
}

describe("functions of the model", () => {
  test("are inlined with attributes given and by default, twice in one graph", async () => {
    const [x, a, y] = [value("x", "float32", [3]), value("a"), value("y", "float32", [3])];
    const nodes = [node("LeakyResidual", [x], [a], { domain: "local", attrs: { slope: 0.25 } }), node("LeakyResidual", [a], [y], { domain: "local" })];
    const file = modelOf(graphOf([x], nodes, [y]), { ...withLocal, functions: [leakyResidual()] });
    const { normalized } = await expectSame(file, { x: vector(-1, 0, 2) });
    expect(operators(normalized.nodes)).toEqual(["LeakyRelu", "Add", "LeakyRelu", "Add"]);
  });

  test("may call each other, and keep the names of the call", async () => {
    const [x, h, y] = [value("x"), value("h"), value("y")];
    const outer = body(
      "Twice",
      [x],
      [node("LeakyResidual", [x], [h], { domain: "local" }), node("LeakyResidual", [h], [y], { domain: "local", references: { slope: "slope" } })],
      [y],
    );
    const [input, output] = [value("in", "float32", [2]), value("out", "float32", [2])];
    const call = node("Twice", [input], [output], { domain: "local", attrs: { slope: 0.125 } });
    const file = modelOf(graphOf([input], [call], [output]), { ...withLocal, functions: [outer, leakyResidual()] });
    const { normalized } = await expectSame(file, { in: vector(-1, 2) });
    expect(normalized.nodes.map(({ name }) => name)).toEqual([
      "Twice_out/LeakyResidual_h/LeakyRelu_h",
      "Twice_out/LeakyResidual_h/Add_y",
      "Twice_out/LeakyResidual_y/LeakyRelu_h",
      "Twice_out/LeakyResidual_y/Add_y",
    ]);
  });

  test("may leave optional inputs out, pass inputs through and give one value twice", () => {
    const [x, low, y] = [value("x"), value("low"), value("y")];
    const clip = body("Bounded", [x, low], [node("Clip", [x, low], [y])], [y, x, y]);
    const input = value("in", "float32", [2]);
    const outputs = ["p", "q", "r"].map((name) => value(name, "float32", [2]));
    const file = modelOf(graphOf([input], [node("Bounded", [input], outputs, { domain: "local" })], outputs), { ...withLocal, functions: [clip] });
    const { model } = inlineFunctions(file);
    expect(model.graph.nodes.map(({ op, inputs }) => [op, ...inputs.map((each) => each?.name)])).toEqual([
      ["Clip", "in", undefined],
      ["Identity", "in"],
      ["Identity", "p"],
    ]);
    expect(normalizedModel(file).model.graph.outputs.map(({ name }) => name)).toEqual(["p", "q", "r"]);
  });

  test("may be written for another opset than the model", async () => {
    const [x, y] = [value("x"), value("y")];
    const soft = body("Soft", [x], [node("Softmax", [x], [y])], [y], { opsets: new Map([["", 11]]) });
    const [input, output] = [value("in", "float32", [2, 2, 2]), value("out", "float32", [2, 2, 2])];
    const file = modelOf(graphOf([input], [node("Soft", [input], [output], { domain: "local" })], [output]), { ...withLocal, functions: [soft] });
    // Version 11: one softmax over everything behind axis 1.
    expect(operators(normalize(file).nodes)).toEqual(["Reshape", "Softmax", "Reshape"].map((op, i) => (i === 0 ? "Flatten" : op)));
  });

  test("are inlined inside branches, with values of the graph around", async () => {
    const [x, c, y] = [value("x", "float32", [2]), value("c", "bool", []), value("y", "float32", [2])];
    const [t, e] = [value("t"), value("e")];
    const branches = {
      then_branch: graphOf([], [node("LeakyResidual", [x], [t], { domain: "local" })], [t]),
      else_branch: graphOf([], [node("Neg", [x], [e])], [e]),
    };
    const file = modelOf(graphOf([x, c], [node("If", [c], [y], { graphs: branches })], [y]), { ...withLocal, functions: [leakyResidual()] });
    for (const condition of [0, 1]) await expectSame(file, { x: vector(-1, 3), c: tensorOf("bool", [], [condition]) });
  });

  test("that call themselves are refused", () => {
    const [x, y] = [value("x"), value("y")];
    const endless = body("Endless", [x], [node("Endless", [x], [y], { domain: "local" })], [y]);
    const [input, output] = [value("in", "float32", [2]), value("out", "float32", [2])];
    const file = modelOf(graphOf([input], [node("Endless", [input], [output], { domain: "local" })], [output]), { ...withLocal, functions: [endless] });
    expect(() => normalize(file)).toThrow(OhemgenError);
  });
});

describe("If", () => {
  const branchesOf = (x: Value) => {
    const [t, e, inner] = [value("t"), value("e"), value("inner")];
    return {
      then_branch: graphOf([], [node("Exp", [x], [inner]), node("Mul", [inner, x], [t])], [t]),
      else_branch: graphOf([], [node("Neg", [x], [e])], [e]),
    };
  };

  test.each([
    [1, ["Exp", "Mul"]],
    [0, ["Neg"]],
  ] as const)("with the constant condition %d is the branch", async (condition, expected) => {
    const [x, y] = [value("x", "float32", [2]), value("y", "float32", [2])];
    const file = modelOf(graphOf([x], [node("If", [constant("c", "bool", [], [condition])], [y], { graphs: branchesOf(x) })], [y]));
    const { normalized } = await expectSame(file, { x: vector(-1, 3) });
    expect(operators(normalized.nodes)).toEqual(expected);
  });

  test("on the rank of a tensor is decided, also nested and in a branch that is a value from outside", async () => {
    const [x, y, shape, rank, isMatrix] = [value("x", "float32", ["N", 3]), value("y", "float32", ["N", 3]), value("shape"), value("rank"), value("is_matrix")];
    const [t, deep, no] = [value("t"), value("deep"), value("no")];
    const inner = { then_branch: graphOf([], [node("Neg", [x], [no])], [no]), else_branch: { ...graphOf([], [], []), outputs: [{ name: "x", value: x }] } };
    const nested = node("If", [constant("never", "bool", [], [0])], [deep], { graphs: inner });
    const outer = { then_branch: graphOf([], [nested, node("Relu", [deep], [t])], [t]), else_branch: graphOf([], [node("Neg", [x], [no])], [no]) };
    const nodes = [
      node("Shape", [x], [shape]),
      node("Size", [shape], [rank]),
      node("Equal", [rank, constant("two", "int64", [], [2])], [isMatrix]),
      node("If", [isMatrix], [y], { graphs: outer }),
    ];
    const file = modelOf(graphOf([x], nodes, [y]));
    const { model } = normalizedModel(file);
    expect(operators(model.graph.nodes)).toEqual(["Relu"]);
  });

  test("that only the run decides keeps both branches and what they read", async () => {
    const [x, c, h, y] = [value("x", "float32", [2]), value("c", "bool", []), value("h"), value("y", "float32", [2])];
    const nodes = [node("Softplus", [x], [h]), node("If", [c], [y], { graphs: branchesOf(h) })];
    const file = modelOf(graphOf([x, c], nodes, [y]));
    for (const condition of [0, 1]) await expectSame(file, { x: vector(-1, 3), c: tensorOf("bool", [], [condition]) });
  });

  test("that only the run decides is refused in another opset", () => {
    const [x, c, y] = [value("x", "float32", [2]), value("c", "bool", []), value("y", "float32", [2])];
    const file = modelOf(graphOf([x, c], [node("If", [c], [y], { graphs: branchesOf(x) })], [y]), { opsets: new Map([["", 13]]) });
    expect(() => normalize(file)).toThrow(/If whose subgraph/);
  });
});

describe("plumbing", () => {
  test("chains of Identity, Cast to the same type and Dropout disappear, also on the way to an output", async () => {
    const [x, a, b, c, y, z] = [value("x", "float32", [2]), value("a"), value("b"), value("c"), value("y", "float32", [2]), value("z", "float32", [2])];
    const nodes = [
      node("Identity", [x], [a]),
      node("Cast", [a], [b], { attrs: { to: 1 } }),
      node("Dropout", [b], [c]),
      node("Exp", [c], [y]),
      node("Identity", [c], [z]),
    ];
    const { normalized } = await expectSame(modelOf(graphOf([x], nodes, [y, z])), { x: vector(1, 2) });
    expect(operators(normalized.nodes)).toEqual(["Exp"]);
  });

  test.each([[[2, 3, 4, 5]], [["N", 3, "H", "W"]]] as const)("Shape, Gather, Concat and Reshape of %j fold where the size is known", async (shape) => {
    const x = value("x", "float32", shape);
    const [s, n, rows, target, y] = [
      value("s"),
      value("n"),
      value("rows"),
      value("target"),
      value("y", "float32", [shape[0], 3, typeof shape[2] === "number" ? 20 : "P"]),
    ];
    const zero = constant("zero", "int64", [], [0]);
    const nodes = [
      node("Shape", [x], [s]),
      node("Gather", [s, zero], [n], { attrs: { axis: 0 } }),
      node("Unsqueeze", [n, constant("axes", "int64", [1], [0])], [rows]),
      node("Concat", [rows, constant("rest", "int64", [2], [3, -1])], [target], { attrs: { axis: 0 } }),
      node("Reshape", [x, target], [y]),
    ];
    const image = tensorOf(
      "float32",
      [2, 3, 4, 5],
      Float32Array.from({ length: 120 }, (_, i) => i),
    );
    const { normalized } = await expectSame(modelOf(graphOf([x], nodes, [y])), { x: image });
    if (typeof shape[0] === "number") expect(operators(normalized.nodes)).toEqual(["Reshape"]);
    expect(normalized.targets.values().next().value?.shape).toEqual([shape[0], 3, typeof shape[2] === "number" ? 20 : "H*W"]);
  });

  test("nothing is folded through a kept tensor", async () => {
    const w = constant("w", "float32", [3, 2], [1, 2, 3, 4, 5, 6]);
    const [x, t, y] = [value("x", "float32", [1, 3]), value("t"), value("y", "float32", [1, 3])];
    const nodes = [node("Transpose", [w], [t], { attrs: { perm: [1, 0] } }), node("MatMul", [value("x2", "float32", [1, 2]), t], [y])];
    const graph = graphOf([(nodes[1]?.inputs[0] as Value) ?? x], nodes, [y]);
    const feeds = { x2: tensorOf("float32", [1, 2], [1, -1]) };
    const folded = await expectSame(modelOf(graph), feeds);
    expect(operators(folded.normalized.nodes)).toEqual(["MatMul"]);
    const kept = await expectSame(modelOf(graph), feeds, { keep: [w] });
    expect(operators(kept.normalized.nodes)).toEqual(["Transpose", "MatMul"]);
  });

  test("only what the targets need is brought along", () => {
    const [x, a, y, unused] = [value("x", "float32", [2]), value("a"), value("y", "float32", [2]), value("unused")];
    const nodes = [node("Exp", [x], [a]), node("Foreign", [a], [unused], { domain: "custom" }), node("Neg", [a], [y])];
    expect(operators(normalize(modelOf(graphOf([x], nodes, [y]))).nodes)).toEqual(["Exp", "Neg"]);
  });

  test("a half-precision model is computed in float32", async () => {
    const w = constant("w", "float16", [2], [0.5, 2]);
    const [x, h, y] = [value("x", "float16", [2]), value("h"), value("y", "float32", [2])];
    const nodes = [node("Mul", [x, w], [h]), node("Cast", [h], [y], { attrs: { to: 1 } })];
    const { normalized } = await expectSame(modelOf(graphOf([x], nodes, [y])), { x: tensorOf("float16", [2], [3, 0.25]) });
    expect(normalized.nodes.flatMap(({ outputs }) => outputs.map((output) => output?.dtype))).toEqual(["float32", "float32"]);
  });

  test("Constant gives its value in every spelling", async () => {
    const parts: Record<string, Record<string, unknown>> = {
      value: { value: tensorOf("float32", [], [1.5]) },
      floats: { value_floats: [1, 2.5] },
      whole: { value_ints: [3] },
    };
    const x = value("x", "float32", [2]);
    const constants = Object.keys(parts).map((name) => value(name));
    const [whole, a, b, y] = [value("whole_float"), value("a"), value("b"), value("y", "float32", [2])];
    const nodes = [
      ...Object.values(parts).map((attrs, i) => node("Constant", [], [constants[i] as Value], { attrs })),
      node("Cast", [constants[2] as Value], [whole], { attrs: { to: 1 } }),
      node("Add", [x, constants[0] as Value], [a]),
      node("Mul", [a, constants[1] as Value], [b]),
      node("Add", [b, whole], [y]),
    ];
    const { normalized } = await expectSame(modelOf(graphOf([x], nodes, [y])), { x: vector(1, 2) });
    expect(operators(normalized.nodes)).toEqual(["Add", "Mul", "Add"]);
  });
});
