import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Graph, Node } from "../../src/ir/graph.ts";
import { tensorNumbers } from "../../src/ir/tensor.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { availableModels } from "../models.ts";
import { bytesOf, errorOf, floats, info, modelOf, node, type Plain } from "./build.ts";

/** Each value is defined once, before it is read. */
function expectOrdered(graph: Graph): void {
  const defined = new Set([...graph.inputs, ...graph.initializers]);
  for (const { inputs, outputs, name } of graph.nodes) {
    for (const value of inputs) if (value !== undefined) expect(defined, `${name} reads ${value.name}`).toContain(value);
    for (const value of outputs) if (value !== undefined) defined.add(value);
  }
  for (const { value } of graph.outputs) expect(defined).toContain(value);
}

test.each(availableModels())("$name: values are connected and keep their names", ({ dir }) => {
  const bytes = new Uint8Array(readFileSync(`${dir}/model.onnx`));
  const proto = decodeProto(bytes);
  const { graph } = modelFromProto(proto);
  expectOrdered(graph);
  expect(graph.nodes.map(({ op }) => op)).toEqual(proto.graph.node.map(({ opType }) => opType));
  expect(graph.nodes.map(({ inputs }) => inputs.map((value) => value?.name ?? ""))).toEqual(proto.graph.node.map(({ input }) => input));
  for (const { constant } of graph.initializers) {
    if ((constant?.bytes.length ?? 0) > 4096) expect(constant?.bytes.buffer).toBe(bytes.buffer);
  }
});

describe("order of nodes", () => {
  const ops = (nodes: Plain[], output = "y"): string[] => modelOf({ node: nodes, input: [info("x")], output: [info(output)] }).graph.nodes.map(({ op }) => op);

  test("file order stays where it is topological", () => {
    expect(ops([node("B", ["x"], ["b"]), node("A", ["x"], ["a"]), node("C", ["a", "b"], ["y"])])).toEqual(["B", "A", "C"]);
  });

  test("a producer moves before its first reader, nothing else moves", () => {
    const nodes = [node("A", ["x"], ["a"]), node("D", ["c", "a"], ["d"]), node("E", ["x"], ["e"]), node("C", ["x"], ["c"])];
    expect(ops([...nodes, node("F", ["d", "e"], ["y"])])).toEqual(["A", "C", "D", "E", "F"]);
  });

  test("a subgraph's need counts as its node's", () => {
    const branch = { name: "g", node: [node("Neg", ["late"], ["r"])], output: [info("r")] };
    const iff = node("If", ["x"], ["y"], [{ name: "then_branch", type: 5, g: branch }]);
    expect(ops([iff, node("Late", ["x"], ["late"])])).toEqual(["Late", "If"]);
  });

  test("a long reversed chain sorts in time and without deep recursion", () => {
    const count = 50_000;
    const nodes = Array.from({ length: count }, (_, i) => node("Neg", [i === 0 ? "x" : `v${i - 1}`], [i === count - 1 ? "y" : `v${i}`]));
    const model = modelOf({ node: nodes.reverse(), input: [info("x")], output: [info("y")] });
    expectOrdered({ ...model.graph, nodes: model.graph.nodes.slice(0, 100), outputs: [] });
    expect(model.graph.nodes[0]?.inputs[0]?.name).toBe("x");
  });

  test("a cycle is an error that shows it", () => {
    const nodes = [node("A", ["x", "c"], ["a"], [], "first"), node("B", ["a"], ["b"]), node("C", ["b"], ["c"])];
    const error = errorOf(() => ops(nodes, "c"), "E102");
    expect(error.message).toBe('the graph has a cycle: node "first" (A) ← the C that makes "c" ← the B that makes "b"');
    expect(errorOf(() => ops([node("A", ["a"], ["a"])], "a"), "E102").message).toMatch(/cycle/);
  });
});

describe("names", () => {
  const graph =
    (extra: Plain): (() => unknown) =>
    () =>
      modelOf({ input: [info("x")], output: [info("y")], ...extra });

  test.each<[string, Plain, RegExp]>([
    ["made twice", { node: [node("A", ["x"], ["y"]), node("B", ["x"], ["y"])] }, /"y" is defined twice/],
    ["made twice by one node", { node: [node("A", ["x"], ["y", "y"])] }, /"y" is defined twice/],
    ["made over an input", { node: [node("A", ["x"], ["x"]), node("B", ["x"], ["y"])] }, /"x" is defined twice|cycle/],
    ["two initializers", { initializer: [floats("w", [1], [1]), floats("w", [1], [1])] }, /"w" is defined twice/],
    ["two inputs", { input: [info("x"), info("x")] }, /"x" is defined twice/],
    ["an initializer without a name", { initializer: [floats("", [1], [1])] }, /no name/],
    ["read but not defined", { node: [node("Add", ["x", "ghost"], ["y"], [], "sum")] }, /node "sum" \(Add\) reads "ghost"/],
    ["an output that nothing makes", {}, /graph output "y" is not defined/],
  ])("%s", (_name, extra, message) => {
    const error = errorOf(graph(extra), "E102");
    expect(error.message).toMatch(message);
    expect(error.where).toBeTruthy();
    expect(error.hint).toBeTruthy();
  });

  test("initializers that are listed as inputs are constants", () => {
    const { graph: read } = modelOf({
      node: [node("Add", ["x", "w"], ["y"])],
      initializer: [floats("w", [2], [1, 2])],
      input: [info("x", [2]), info("w", [2])],
      output: [info("y")],
    });
    expect(read.inputs.map(({ name }) => name)).toEqual(["x"]);
    expect(read.nodes[0]?.inputs[1]).toBe(read.initializers[0]);
  });

  test("a left-out optional input or output is undefined", () => {
    const { nodes } = modelOf({
      node: [node("Clip", ["x", "", "x"], ["", "y"])],
      input: [info("x")],
      output: [info("y")],
    }).graph;
    expect(nodes[0]?.inputs.map((value) => value?.name)).toEqual(["x", undefined, "x"]);
    expect(nodes[0]?.outputs[0]).toBeUndefined();
  });

  test("subgraphs see outer values, their own names come first, and nothing leaks out", () => {
    const branch = (name: string): Plain => ({
      name,
      node: [node("Neg", ["shared"], ["inner"]), node("Add", ["inner", "x"], ["result"])],
      output: [info("result")],
    });
    const model = modelOf({
      node: [
        node("Relu", ["x"], ["shared"]),
        node("Abs", ["x"], ["result"]),
        node(
          "If",
          ["c"],
          ["y"],
          [
            { name: "then_branch", type: 5, g: branch("t") },
            { name: "else_branch", type: 5, g: branch("e") },
          ],
        ),
      ],
      input: [info("x"), info("c", [], 9)],
      output: [info("y"), info("result")],
    }).graph;
    const iff = model.nodes[2] as Node;
    const thenBranch = iff.attributes.then_branch;
    if (thenBranch?.type !== "graph") throw new Error("no graph");
    const [neg, add] = thenBranch.value.nodes;
    expect(neg?.inputs[0]).toBe(model.nodes[0]?.outputs[0]);
    expect(add?.inputs[1]).toBe(model.inputs[0]);
    expect(thenBranch.value.outputs[0]?.value).toBe(add?.outputs[0]);
    expect(model.outputs[1]?.value).toBe(model.nodes[1]?.outputs[0]);
    const leak = () =>
      modelOf({
        node: [node("If", ["x"], ["z"], [{ name: "then_branch", type: 5, g: branch("t") }]), node("Neg", ["inner"], ["y"]), node("Relu", ["x"], ["shared"])],
        input: [info("x")],
        output: [info("y")],
      });
    expect(errorOf(leak, "E102").message).toMatch(/reads "inner"/);
  });
});

describe("types", () => {
  test("dimensions: numbers, names, and a fresh symbol for each unknown one", () => {
    const { graph } = modelOf({
      node: [node("Neg", ["x"], ["m"]), node("Neg", ["m"], ["y"])],
      input: [info("x", ["N", 3, "", "?"])],
      valueInfo: [info("m", ["N", "", -1])],
      output: [info("y")],
    });
    const [x, m, y] = [graph.inputs[0], graph.nodes[0]?.outputs[0], graph.nodes[1]?.outputs[0]];
    expect(x?.shape?.slice(0, 2)).toEqual(["N", 3]);
    const unknown = [...(x?.shape?.slice(2) ?? []), ...(m?.shape?.slice(1) ?? [])];
    expect(new Set(unknown).size).toBe(4);
    for (const dim of unknown) expect(dim).toMatch(/^\?\d+$/);
    expect(y).toMatchObject({ dtype: "float32", shape: undefined });
  });

  test("nothing known is `undefined`, other kinds of values are opaque", () => {
    const sequence = { name: "s", type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } } };
    const { graph } = modelOf({
      node: [node("SequenceAt", ["s", "i"], ["y"])],
      input: [sequence, info("i", [], 7)],
      output: [{ name: "y" }],
    });
    expect(graph.inputs[0]).toMatchObject({ dtype: "undefined", opaque: true });
    expect(graph.nodes[0]?.outputs[0]).toEqual({ name: "y", dtype: "undefined", shape: undefined });
  });

  test("operator sets: ai.onnx is the standard domain, none at all is version 1", () => {
    expect([
      ...modelOf(
        {},
        {
          opsetImport: [
            { domain: "ai.onnx", version: 17 },
            { domain: "x", version: 2 },
          ],
        },
      ).opsets,
    ]).toEqual([
      ["", 17],
      ["x", 2],
    ]);
    expect([...modelOf({}, { irVersion: 2, opsetImport: [] }).opsets]).toEqual([["", 1]]);
  });
});

describe("attributes", () => {
  const read = (attribute: Plain[]): Node["attributes"] =>
    (modelOf({ node: [node("X", [], ["y"], attribute)], output: [info("y")] }).graph.nodes[0] as Node).attributes;
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);

  test("each kind, with and without its type stated", () => {
    const plain: Plain[] = [
      { name: "i", i: -3, type: 2 },
      { name: "f", f: 0.5, type: 1 },
      { name: "s", s: text("é"), type: 3 },
      { name: "is", ints: [1, { low: -1, high: 0x7fffffff, unsigned: false }], type: 7 },
      { name: "fs", floats: [1, 2.5], type: 6 },
      { name: "ss", strings: [text("a"), text("b")], type: 8 },
    ];
    const expected = {
      i: { type: "int", value: -3 },
      f: { type: "float", value: 0.5 },
      s: { type: "string", value: "é" },
      is: { type: "ints", value: [1, 2 ** 63] },
      fs: { type: "floats", value: [1, 2.5] },
      ss: { type: "strings", value: ["a", "b"] },
    };
    expect(read(plain)).toEqual(expected);
    expect(read(plain.map(({ type, ...rest }) => rest))).toEqual(expected);
    expect(read([{ name: "none", type: 7 }])).toEqual({ none: { type: "ints", value: [] } });
  });

  test("tensors, sparse tensors, references and the rest", () => {
    const sparse = {
      values: floats("", [2], [5, 6]),
      indices: { dims: [2, 2], dataType: 7, int64Data: [Uint8Array.of(0, 1, 1, 0)] },
      dims: [2, 3],
    };
    const attributes = read([
      { name: "t", t: floats("", [2], [1, 2]), type: 4 },
      { name: "sparse_value", sparseTensor: sparse, type: 11 },
      { name: "r", refAttrName: "alpha", type: 1 },
      { name: "types", type: 14 },
    ]);
    expect(attributes.t).toMatchObject({ type: "tensor", value: { dtype: "float32", dims: [2] } });
    const dense = attributes.sparse_value;
    expect(dense?.type === "tensor" && [...new Float32Array(dense.value.bytes.buffer)]).toEqual([0, 5, 0, 6, 0, 0]);
    expect(attributes.r).toEqual({ type: "reference", value: "alpha" });
    expect(attributes.types?.type).toBe("other");
  });

  test("a name like a property of objects is a name", () => {
    const attributes = read([{ name: "__proto__", i: 1, type: 2 }]);
    expect(Object.keys(attributes)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>).value).toBeUndefined();
  });

  test("twice the same, or without the value it needs: E102", () => {
    expect(
      errorOf(
        () =>
          read([
            { name: "a", i: 1 },
            { name: "a", i: 2 },
          ]),
        "E102",
      ).message,
    ).toMatch(/twice/);
    expect(errorOf(() => read([{ name: "a", type: 4 }]), "E102").message).toMatch(/no tensor/);
    expect(errorOf(() => read([{ name: "a", type: 5 }]), "E102").message).toMatch(/no graph/);
  });
});

test("functions have a scope of their own", () => {
  const body = {
    name: "Twice",
    domain: "local",
    input: ["a"],
    output: ["b"],
    attribute: ["alpha"],
    attributeProto: [{ name: "beta", f: 2, type: 1 }],
    node: [node("Elu", ["a"], ["t"], [{ name: "alpha", refAttrName: "alpha", type: 1 }]), node("Add", ["t", "t"], ["b"])],
    opsetImport: [{ domain: "", version: 18 }],
  };
  const model = modelOf(
    { node: [{ ...node("Twice", ["x"], ["y"]), domain: "local" }], input: [info("x")], output: [info("y")] },
    { functions: [body, { ...body, overload: "v2" }] },
  );
  expect(model.functions.map(({ name }) => name)).toEqual(["Twice", "Twice:v2"]);
  const [twice] = model.functions;
  expect(twice?.nodes[0]?.inputs[0]).toBe(twice?.inputs[0]);
  expect(twice?.outputs[0]).toBe(twice?.nodes[1]?.outputs[0]);
  expect(twice?.attributeDefaults).toEqual({ beta: { type: "float", value: 2 } });
  const broken = () => modelOf({}, { functions: [{ ...body, output: ["x"] }] });
  expect(errorOf(broken, "E102").message).toMatch(/output "x" of function "Twice" is not defined/);
});

test("constants stay nodes", () => {
  const { graph } = modelOf({
    node: [node("Constant", [], ["c"], [{ name: "value", t: floats("", [], [3]), type: 4 }])],
    output: [info("c")],
  });
  expect(graph.nodes[0]?.op).toBe("Constant");
  expect(graph.nodes[0]?.outputs[0]?.constant).toBeUndefined();
  const value = graph.nodes[0]?.attributes.value;
  expect(value?.type === "tensor" && [...Array.from(tensorNumbers(value.value))]).toEqual([3]);
  expect(bytesOf(Float32Array.of(3))).toHaveLength(4);
});
