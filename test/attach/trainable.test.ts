/** What is a parameter: one small graph for every habit of exporters, and what is decided about each of its tensors. */

import { describe, expect, test } from "vitest";
import { chooseTrainable, storedTensors } from "../../src/attach/trainable.ts";
import type { Node, Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { constant, graphOf, node, value } from "../passes/compare.ts";
import { errorOf } from "../proto/build.ts";

/** Numbers nothing can be read from. */
const learned = (name: string, dims: readonly number[]): Value =>
  constant(
    name,
    "float32",
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(12.9898 * (i + 1)) / 3),
  );
const filled = (name: string, dims: readonly number[], number: number): Value =>
  constant(name, "float32", dims, Array(dims.reduce((a, b) => a * b, 1)).fill(number));
const image = value("image", "float32", ["N", 3, "H", "W"]);
const out = value("out");

/** Nodes in a row, each reading the one before (`_`) among constants. */
function chain(...steps: readonly (readonly [op: string, ...inputs: (Value | "_" | undefined)[]])[]): { nodes: Node[]; stored: Value[] } {
  let last: Value = image;
  const nodes = steps.map(([op, ...inputs], i) => {
    const output = i === steps.length - 1 ? out : value(`v${i}`);
    const made = node(
      op,
      inputs.map((input) => (input === "_" ? last : input)),
      [output],
    );
    last = output;
    return made;
  });
  const stored = [...new Set(steps.flatMap(([, ...inputs]) => inputs.filter((input) => input !== undefined && input !== "_")))] as Value[];
  return { nodes, stored };
}

function decide({ nodes, stored }: { nodes: readonly Node[]; stored: readonly Value[] }, options: { train?: string[]; freeze?: string[] } = {}) {
  const w = learned("always.weight", [4, 4, 1, 1]);
  const end = value("end");
  const graph = { ...graphOf([image], [...nodes, node("Conv", [out, w], [end])], [end]), initializers: [...stored.filter((v) => v.constant !== undefined), w] };
  const reachable = new Set(graph.nodes.flatMap((n) => [...n.inputs, ...n.outputs]).filter((v) => v !== undefined));
  const choice = chooseTrainable(graph, { ...options, reachable, statistics: new Set() });
  return new Map([
    ...choice.trained.map(({ value: { name }, role }) => [name, `+ ${role}`] as const),
    ...choice.frozen.map(
      ({
        stored: {
          value: { name },
        },
        reason,
      }) => [name, reason] as const,
    ),
  ]);
}

const conv = ["Conv", "_", learned("c", [4, 3, 3, 3])] as const;

describe("parameters", () => {
  test.each<[string, ReturnType<typeof chain>, Record<string, string>]>([
    ["weight and bias", chain(["Conv", "_", learned("w", [4, 3, 3, 3]), learned("b", [4])]), { w: "+ Conv weight", b: "+ Conv bias" }],
    ["a bias of one class", chain(["Conv", "_", learned("w", [1, 3, 3, 3]), learned("b", [1])]), { b: "+ Conv bias" }],
    ["operand 0 of MatMul", chain(["MatMul", learned("w", [4, 3]), "_"]), { w: "+ MatMul weight" }],
    ["a layer scale", chain(conv, ["Mul", learned("gamma", [4, 1, 1]), "_"]), { gamma: "+ scale" }],
    ["a layer scale as it was initialized", chain(conv, ["Mul", "_", filled("gamma", [4, 1, 1], 1e-6)]), { gamma: "+ scale" }],
    ["a scale of ones", chain(conv, ["Mul", "_", filled("gamma", [4, 1, 1], 1)]), { gamma: "+ scale" }],
    ["a bias of zeros", chain(conv, ["Add", "_", filled("beta", [4, 1, 1], 0)]), { beta: "+ shift" }],
    ["a position table", chain(conv, ["Add", "_", learned("pos", [1, 4, 8, 8])]), { pos: "+ shift" }],
    ["a class token", chain(conv, ["Concat", learned("token", [1, 4, 1, 1]), "_"]), { token: "+ table or token" }],
    ["a PRelu slope", chain(conv, ["PRelu", "_", filled("slope", [1], 0.25)]), { slope: "+ PRelu slope" }],
    [
      "ones and zeros of a module's norm",
      chain(conv, ["InstanceNormalization", "_", filled("n.weight", [4], 1), filled("n.bias", [4], 0)]),
      { "n.weight": "+ InstanceNormalization scale", "n.bias": "+ InstanceNormalization bias" },
    ],
    [
      "a first norm on the picture",
      chain(["BatchNormalization", "_", learned("s", [3]), learned("b", [3]), learned("m", [3]), learned("v", [3])]),
      { s: "+ BatchNormalization scale", m: "read by BatchNormalization only" },
    ],
    ["a relative position bias", chain(conv, ["Add", "_", learned("bias", [4, 16, 16])], ["Softmax", "_"]), { bias: "+ shift" }],
  ])("%s", (_, graph, expected) => {
    expect(Object.fromEntries(decide(graph))).toMatchObject(expected);
  });

  test.each(["Transpose", "Cast", "Identity", "Unsqueeze", "Reshape"])("a weight behind %s", (view) => {
    const w = learned("w", [4, 3, 1, 1]);
    const seen = value("seen");
    const nodes = [node(view, [w], [seen]), node("Conv", [image, seen], [out])];
    expect(decide({ nodes, stored: [w] }).get("w")).toBe("+ Conv weight");
  });

  test("a weight made of two stored tensors, and one read by Shape too", () => {
    const [g, v, size, product] = [learned("g", [4, 1, 1, 1]), learned("v", [4, 3, 1, 1]), value("size"), value("product")];
    const nodes = [node("Shape", [v], [size]), node("Mul", [v, g], [product]), node("Conv", [image, product], [out])];
    const decided = decide({ nodes, stored: [g, v] });
    expect([decided.get("g"), decided.get("v")]).toEqual(["+ Conv weight", "+ Conv weight"]);
  });

  test("in a Constant node, and through a Resize", () => {
    const [table, resized, start] = [value("/pos/Constant_output_0", "float32", [1, 4, 4, 4]), value("resized"), value("start")];
    const held = { ...node("Constant", [], [table]), attributes: { value: { type: "tensor" as const, value: learned("t", [1, 4, 4, 4]).constant as never } } };
    const c = learned("c", [4, 3, 3, 3]);
    const nodes = [held, node("Resize", [table], [resized]), node("Conv", [image, c], [start]), node("Add", [resized, start], [out])];
    expect(decide({ nodes, stored: [c] }).get("/pos/Constant_output_0")).toMatch(/^\+/);
  });

  test("one tensor read by several nodes is one parameter", () => {
    const w = learned("w", [3, 3, 1, 1]);
    expect(decide(chain(["Conv", "_", w], ["Conv", "_", w])).get("w")).toBe("+ Conv weight");
  });
});

describe("no parameters", () => {
  const ramp = Array.from({ length: 64 }, (_, i) => -1 + (2 * (i % 8)) / 7);
  const bilinear = Array.from({ length: 32 }, (_, k) => {
    const [row, column] = [Math.floor(k / 4), k % 4];
    const at = Math.min(3, Math.max(0, (row + 0.5) / 2 - 0.5));
    return Math.max(0, 1 - Math.abs(at - column));
  });
  test.each<[string, ReturnType<typeof chain>, string, string]>([
    [
      "mean of the picture",
      chain(["Sub", "_", learned("k", [1, 3, 1, 1])], ["Div", "_", learned("std", [1, 3, 1, 1])], conv),
      "k",
      "normalization of the picture",
    ],
    [
      "deviation of the picture, behind the mean",
      chain(["Sub", "_", learned("m", [1, 3, 1, 1])], ["Div", "_", learned("k", [1, 3, 1, 1])], conv),
      "k",
      "normalization of the picture",
    ],
    [
      "deviation of a picture in another layout",
      chain(["Cast", "_"], ["Transpose", "_"], ["Mul", "_", learned("k", [3, 1, 1])], conv),
      "k",
      "normalization of the picture",
    ],
    ["epsilon", chain(conv, ["Add", "_", filled("k", [], 1e-5)]), "k", "a scalar"],
    ["a constant of shape [1]", chain(conv, ["Mul", "_", filled("k", [1], 0.5)]), "k", "a scalar"],
    ["an attention mask of −100", chain(conv, ["Add", "_", constant("k", "float32", [2, 2], [0, -100, -100, 0])], ["Softmax", "_"]), "k", "a mask"],
    ["an attention mask of −∞", chain(conv, ["Add", "_", constant("k", "float32", [2, 2], [0, Number.NEGATIVE_INFINITY, 0, 0])]), "k", "a mask"],
    ["a mask of zeros and ones", chain(conv, ["Mul", "_", constant("k", "float32", [4], [0, 1, 1, 0])]), "k", "a mask"],
    ["the other branch of a Where", chain(conv, ["Where", undefined, "_", learned("k", [4])]), "k", "read by Where only"],
    [
      "ones of a decomposed group norm",
      chain(conv, ["Reshape", "_"], ["InstanceNormalization", "_", filled("k", [32], 1), filled("z", [32], 0)]),
      "k",
      "ones or zeros of a norm without parameters",
    ],
    [
      "ones an exporter named",
      chain(conv, ["InstanceNormalization", "_", filled("onnx::InstanceNormalization_7", [4], 1), filled("z", [4], 0)]),
      "onnx::InstanceNormalization_7",
      "ones or zeros of a norm without parameters",
    ],
    ["an affine matrix", chain(["AffineGrid", learned("k", [1, 2, 3])], ["GridSample", image, "_"]), "k", "read by AffineGrid only"],
    ["a grid that a flow is added to", chain(conv, ["Add", learned("k", [1, 8, 8, 2]), "_"], ["GridSample", image, "_"]), "k", "addresses a grid"],
    ["the scale of a flow", chain(conv, ["Div", "_", learned("k", [1, 1, 1, 2])], ["Transpose", "_"], ["GridSample", image, "_"]), "k", "addresses a grid"],
    ["coordinates as channels", chain(conv, ["Concat", "_", constant("k", "float32", [1, 1, 8, 8], ramp)]), "k", "a table of coordinates"],
    ["zeros that pad channels", chain(conv, ["Concat", "_", filled("k", [1, 4, 8, 8], 0)]), "k", "padding"],
    ["an interpolation matrix", chain(conv, ["MatMul", constant("k", "float32", [8, 4], bilinear), "_"]), "k", "an interpolation table"],
    ["scales of a Resize", chain(conv, ["Resize", "_", undefined, learned("k", [4])]), "k", "read by Resize only"],
    ["bounds of a Clip", chain(conv, ["Clip", "_", filled("k", [], 0)]), "k", "read by Clip only"],
  ])("%s", (_, graph, name, reason) => {
    expect(decide(graph).get(name)).toBe(reason);
  });

  test("a table that only addresses, read as numbers", () => {
    const [table, index] = [constant("k", "float32", [4], [0, 3, 1, 2]), value("index", "int64")];
    const w = learned("w", [4, 3, 3, 3]);
    const [a] = [value("a")];
    const nodes = [node("Cast", [table], [index]), node("Conv", [image, w], [a]), node("Gather", [a, index], [out])];
    expect(decide({ nodes, stored: [table, w] }).get("k")).toBe("read by Gather only");
  });

  test("two constants that are multiplied into a grid", () => {
    const [base, theta, grid] = [learned("base", [1, 64, 3]), learned("theta", [1, 3, 2]), value("grid")];
    const nodes = [node("MatMul", [base, theta], [grid]), node("GridSample", [image, grid], [out])];
    const decided = decide({ nodes, stored: [base, theta] });
    expect([decided.get("base"), decided.get("theta")]).toEqual(["read by GridSample only", "read by GridSample only"]);
  });
});

describe("options", () => {
  const graph = chain(["Conv", "_", learned("encoder.w", [4, 3, 3, 3])], ["Add", "_", filled("eps", [], 1)], ["Conv", "_", learned("decoder.w", [4, 4, 1, 1])]);

  test("a pattern chooses among parameters, a whole name any float tensor; --freeze wins", () => {
    expect(decide(graph, { train: ["*coder*", "eps"], freeze: ["encoder.*"] })).toEqual(
      new Map([
        ["eps", "+ named by --train"],
        ["decoder.w", "+ Conv weight"],
        ["encoder.w", "frozen by --freeze"],
        ["always.weight", "not chosen by --train"],
      ]),
    );
  });

  test("a pattern that matches nothing", () => {
    expect(errorOf(() => decide(graph, { freeze: ["enkoder.*"] }), "E212").message).toBe("--freeze enkoder.* matches no tensor that can be trained");
    expect(errorOf(() => decide(graph, { train: ["x*"] }), "E212").exitCode).toBe(2);
    expect(errorOf(() => decide(graph, { freeze: ["*"] }), "E213").hint).toMatch(/Loosen/);
  });
});

test("stored tensors: float, not empty, initializers before Constant nodes", () => {
  const made = value("made");
  const held = { ...node("Constant", [], [made]), attributes: { value_floats: { type: "floats" as const, value: [1, 2] } } };
  const initializers = [constant("i", "int64", [1], [1]), { ...learned("e", [0]), constant: tensorOf("float32", [0], []) }, learned("w", [2])];
  const graph = { ...graphOf([image], [held], []), initializers };
  expect(storedTensors(graph).map(({ value: { name } }) => name)).toEqual(["w", "made"]);
});
