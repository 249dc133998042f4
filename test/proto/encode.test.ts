import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Attribute, Graph, Model, Node, Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { beginningOf, encodeModel, encodeModelChunks } from "../../src/proto/encode.ts";
import { hasField, type ModelProto } from "../../src/proto/messages.ts";
import { BugError } from "../../src/support/errors.ts";
import { availableModels } from "../models.ts";
import { smallNet } from "../small-net.ts";

const value = (name: string, shape: (number | string)[] = [2]): Value => ({ name, dtype: "float32", shape });
const constant = (name: string): Value => ({ ...value(name), constant: tensorOf("float32", [2], [1, 2]) });

function node(op: string, inputs: (Value | undefined)[], outputs: (Value | undefined)[], name = "", attributes: Record<string, Attribute> = {}): Node {
  return { op, domain: "", name, inputs, outputs, attributes };
}

function model(inputs: Value[], nodes: Node[], outputs: Record<string, Value>): Model {
  const graph: Graph = {
    name: "g",
    inputs,
    nodes,
    initializers: [],
    outputs: Object.entries(outputs).map(([name, v]) => ({ name, value: v })),
  };
  return {
    irVersion: 10,
    opsets: new Map([["", 18]]),
    producer: { name: "ohemgen", version: "1.2.3" },
    graph,
    functions: [],
  };
}

const written = (m: Model): ModelProto => decodeProto(encodeModel(m));

/** A graph without its names: what each node reads and makes, as positions. */
function structure(graph: Graph): unknown {
  const ids = new Map<Value, number>();
  const id = (v: Value | undefined): number | undefined => {
    if (v === undefined) return undefined;
    if (!ids.has(v)) ids.set(v, ids.size);
    return ids.get(v);
  };
  const trimmed = (list: readonly (Value | undefined)[]): unknown => list.slice(0, list.findLastIndex((v) => v !== undefined) + 1).map(id);
  const inputs = graph.inputs.map((v) => [id(v), v.name, v.dtype, v.shape?.length]);
  const nodes = graph.nodes.map((n) => [n.op, n.domain, trimmed(n.inputs), trimmed(n.outputs), n.attributes]);
  return { inputs, nodes, outputs: graph.outputs.map(({ name, value: v }) => [name, id(v)]) };
}

test.each(availableModels())("$name: the graph survives, and equal models give equal bytes", ({ dir }) => {
  const original = modelFromProto(decodeProto(new Uint8Array(readFileSync(`${dir}/model.onnx`))));
  const bytes = encodeModel(original);
  const again = modelFromProto(decodeProto(bytes));
  expect(structure(again.graph)).toEqual(structure(original.graph));
  const data = new Map(original.graph.initializers.map((v) => [v.name, v.constant]));
  for (const v of again.graph.initializers) expect(Buffer.compare(v.constant?.bytes ?? bytes, data.get(v.name)?.bytes ?? bytes)).toBe(0);
  expect(Buffer.compare(encodeModel(again), bytes)).toBe(0);
  expect(Buffer.compare(Buffer.concat(encodeModelChunks(original)), bytes)).toBe(0);
});

describe("names", () => {
  test("inputs and outputs keep theirs, inner values give way, repeats are numbered in node order", () => {
    const x = value("x");
    const [a, b, c, d, unnamed] = [value("t"), value("t"), value("loss"), value("x"), value("")];
    const w = constant("t");
    const proto = written(
      model(
        [x],
        [
          node("Neg", [x], [a], "n"),
          node("Add", [a, w], [b], "n"),
          node("Abs", [b], [c]),
          node("Abs", [c], [d]),
          node("Relu", [d], [unnamed], "head/Relu"),
          node("Sum", [unnamed, a], [value("inner")]),
        ],
        { loss: b },
      ),
    );
    const { graph } = proto;
    expect(graph.node.map(({ output }) => output[0])).toEqual(["t", "loss", "loss_1", "x_1", "head/Relu", "inner"]);
    expect(graph.node[1]?.input).toEqual(["t", "t_1"]);
    expect(graph.initializer.map(({ name }) => name)).toEqual(["t_1"]);
    expect(graph.node.map(({ name }) => name)).toEqual(["n", "n_1", "Abs", "Abs_1", "head/Relu", "Sum"]);
  });

  test("initializers stand in the order of first use, each once, unused ones not at all", () => {
    const x = value("x");
    const [u, v] = [constant("u"), constant("v")];
    const y = value("y");
    const { graph } = written(model([x], [node("Add", [v, u], [value("a")]), node("Add", [x, v], [y])], { y }));
    expect(graph.initializer.map(({ name }) => name)).toEqual(["v", "u"]);
    expect(graph.initializer[0]?.rawData).toHaveLength(8);
  });
});

test("header, types and what is left out", () => {
  const x: Value = { name: "x", dtype: "float16", shape: ["N", 3, "?1", "2*H + 1"] };
  const y: Value = { name: "y", dtype: "float32", shape: undefined };
  const clip = node("Clip", [x, undefined, x, undefined], [y, undefined]);
  const proto = written(model([x], [clip], { y }));
  expect(proto).toMatchObject({ irVersion: 10, producerName: "ohemgen", producerVersion: "1.2.3" });
  expect(proto.opsetImport).toMatchObject([{ domain: "", version: 18 }]);
  expect(proto.graph.node[0]?.input).toEqual(["x", "", "x"]);
  expect(proto.graph.node[0]?.output).toEqual(["y"]);
  expect(proto.graph.valueInfo).toHaveLength(0);
  const type = proto.graph.input[0]?.type?.tensorType;
  expect(type?.elemType).toBe(10);
  expect(type?.shape?.dim.map((dim) => (hasField(dim, "dimValue") ? dim.dimValue : hasField(dim, "dimParam") ? dim.dimParam : "-"))).toEqual([
    "N",
    3,
    "-",
    "2*H + 1",
  ]);
  expect(proto.graph.output[0]?.type?.tensorType?.shape).toBeFalsy();
});

test("attributes of every kind come back, with their type", () => {
  const attributes: Record<string, Attribute> = {
    i: { type: "int", value: -1 },
    f: { type: "float", value: 0.5 },
    s: { type: "string", value: "é" },
    is: { type: "ints", value: [2 ** 63, -(2 ** 63), 0] },
    none: { type: "ints", value: [] },
    fs: { type: "floats", value: [1, 0.25] },
    ss: { type: "strings", value: ["a", ""] },
    t: { type: "tensor", value: tensorOf("int64", [2], [1, -1]) },
  };
  const y = value("y");
  const bytes = encodeModel(model([], [node("X", [], [y], "", attributes)], { y }));
  expect(decodeProto(bytes).graph.node[0]?.attribute.every(({ type }) => type > 0)).toBe(true);
  expect(modelFromProto(decodeProto(bytes)).graph.nodes[0]?.attributes).toEqual(attributes);
});

describe("subgraphs", () => {
  const x = value("x");
  const c: Value = { name: "c", dtype: "bool", shape: [] };
  const w = constant("w");
  const inner = value("t");
  const y = value("y");
  const branch = (nodes: Node[], out: Value): Attribute => ({
    type: "graph",
    value: { name: "", inputs: [], initializers: [], nodes, outputs: [{ name: "r", value: out }] },
  });

  test("read outer values, have unique names, and make their outputs themselves", () => {
    const t = value("t");
    const attributes = { then_branch: branch([node("Add", [t, w], [inner])], inner), else_branch: branch([], t) };
    const bytes = encodeModel(model([x, c], [node("Neg", [x], [t]), node("If", [c], [y], "", attributes)], { y }));
    const { graph } = decodeProto(bytes);
    const [thenGraph, elseGraph] = graph.node[1]?.attribute.map(({ g }) => g) ?? [];
    expect(thenGraph?.node[0]).toMatchObject({ input: ["t", "w"], output: ["t_1"] });
    expect(thenGraph?.output[0]?.name).toBe("t_1");
    expect(elseGraph?.node[0]).toMatchObject({ opType: "Identity", input: ["t"], output: ["r"] });
    expect(graph.initializer.map(({ name }) => name)).toEqual(["w"]);
    expect(modelFromProto(decodeProto(bytes)).graph.nodes).toHaveLength(2);
  });

  test("do not see what comes later", () => {
    const later = value("later");
    const attributes = { then_branch: branch([node("Neg", [later], [inner])], inner) };
    const broken = model([x, c], [node("If", [c], [y], "", attributes), node("Neg", [x], [later])], { y });
    expect(() => encodeModel(broken)).toThrow(/reads "later" before it is made/);
  });
});

test("functions keep their interface and say which attributes they take", () => {
  const [a, t, b, y] = [value("a"), value("t"), value("b"), value("y")];
  const body = {
    domain: "local",
    name: "F",
    attributeDefaults: { beta: { type: "float", value: 2 } as const },
    opsets: new Map([["", 18]]),
    inputs: [a],
    outputs: [b],
    nodes: [
      node("Elu", [a], [t], "", { alpha: { type: "reference", value: "alpha" } }),
      node("Elu", [t], [b], "", { alpha: { type: "reference", value: "beta" } }),
    ],
  };
  const m = { ...model([value("x")], [{ ...node("F", [], [y]), domain: "local" }], { y }), functions: [body] };
  const proto = written(m);
  expect(proto.functions[0]).toMatchObject({
    name: "F",
    domain: "local",
    input: ["a"],
    output: ["b"],
    attribute: ["alpha"],
  });
  expect(modelFromProto(proto).functions[0]?.attributeDefaults).toEqual(body.attributeDefaults);
});

describe("what two graphs begin with", () => {
  const together = (a: Model, b: Model) => {
    const beginning = beginningOf(a, b);
    return { nodes: beginning.nodes, bytes: [a, b].map((m) => Buffer.concat(encodeModelChunks(m, {}, beginning))) };
  };

  test("is encoded once, to the same bytes", () => {
    const { train_step: a, gradient: b } = attach(smallNet()).graphs;
    const { nodes, bytes } = together(a, b);
    expect(nodes).toBeGreaterThan(b.graph.nodes.length / 2);
    expect(bytes).toEqual([a, b].map((m) => Buffer.from(encodeModel(m))));
  });

  test("ends before what only one of them has", () => {
    const [x, s, t, y, z] = [value("x"), value("s"), value("t"), value("y"), value("t")];
    const first = node("Neg", [x], [t]);
    const second = node("Abs", [t], [y]);
    const third = node("Add", [y, s], [z]);
    expect(together(model([x], [first, second], { y }), model([x], [first, second], { y })).nodes).toBe(2);
    expect(together(model([x], [first, second], { y }), model([x], [first, second], { other: y })).nodes).toBe(1);
    expect(together(model([x], [first, second], { y }), model([x], [first, second], { t, y })).nodes).toBe(0);
    const { nodes, bytes } = together(model([x, s], [first, second, third], { y, z }), model([x], [first, second], { y }));
    expect(nodes).toBe(2);
    expect(bytes[1]).toEqual(Buffer.from(encodeModel(model([x], [first, second], { y }))));
    expect(decodeProto(bytes[0] as Buffer).graph.node.map(({ input }) => input)).toEqual([["x"], ["t"], ["y", "s"]]);
  });
});

describe("broken invariants are bugs", () => {
  const x = value("x");
  const y = value("y");
  test.each<[string, Model]>([
    ["an input as output", model([x], [], { y: x })],
    ["a constant as output", model([x], [], { y: constant("w") })],
    ["a value under two names", model([x], [node("Neg", [x], [y])], { y, z: y })],
    ["two inputs of a name", model([x, value("x")], [node("Neg", [x], [y])], { y })],
    ["an output named as an input", model([x], [node("Neg", [x], [y])], { x: y })],
    ["an output nobody makes", model([x], [], { y })],
    ["a value made twice", model([x], [node("Neg", [x], [y]), node("Neg", [x], [y])], { y })],
    ["a reader before its producer", model([x], [node("Neg", [value("t")], [y])], { y })],
    ["an output of unknown type", model([x], [node("Neg", [x], [y])], { y: { ...y, dtype: "undefined" } })],
  ])("%s", (_name, m) => expect(() => encodeModel(m)).toThrow(BugError));
});
