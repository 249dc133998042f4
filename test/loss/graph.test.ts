/** What the emitted graphs are made of, and inputs at the edges. */

import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Model, Node, Value } from "../../src/ir/graph.ts";
import { type LossModelRequest, lossModel } from "../../src/loss/graph.ts";
import { wholeForeground } from "../../src/loss/lovasz-sets.ts";
import { type LossOptions, resolveLossOptions } from "../../src/loss/options.ts";
import { rankErrors } from "../../src/loss/ranks.ts";
import { rowLayout } from "../../src/loss/scan.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { evaluate, type LabelType, openModel } from "./harness.ts";

function allNodes(nodes: readonly Node[]): Node[] {
  return nodes.flatMap((node) => [
    node,
    ...Object.values(node.attributes).flatMap((attribute) => (attribute.type === "graph" ? allNodes(attribute.value.nodes) : [])),
  ]);
}

const everything: LossOptions = {
  ce: { budget: "image", hardness: "loss", labelSmoothing: 0.1, minKept: { fraction: "1/3", of: "valid" } },
  lovasz: { perImage: true, classes: "all", ignore: "none" },
};
const setups: [string, LossOptions][] = [
  ["default", {}],
  ["histogram", { lovasz: { method: "histogram", binary: "sigmoid" } }],
  ["everything", everything],
];
const shapes: Omit<LossModelRequest, "options" | "labelType">[] = [
  { logitsShape: [2, 5, 16, 32] },
  { logitsShape: [2, 5, 16, 32], labelSize: [64, 130] },
  { logitsShape: [8, 19, 2048, 2048] },
  { logitsShape: ["N", 5, "h", "w"], labelSize: ["H", "W"] },
  { logitsShape: ["N", "C", "h", "w"], labelSize: ["H", "W"] },
  { logitsShape: ["N", 1, "h", "w"] },
];
const models = setups.flatMap(([name, options]) =>
  shapes.flatMap((shape) =>
    (["uint8", "int64"] as const).map((labelType): [string, Model] => [
      `${name} [${shape.logitsShape}]${shape.labelSize ? ` to [${shape.labelSize}]` : ""} ${labelType}`,
      lossModel("ohem-lovasz", { ...shape, labelType, options: resolveLossOptions(options) }),
    ]),
  ),
);

describe.each(models)("the graph %s", (_, model) => {
  const nodes = allNodes(model.graph.nodes);
  const uses = (op: string) => nodes.filter((node) => node.op === op);
  const type = (node: Node) => node.inputs[0]?.dtype;

  test("is standard opset 18 of operators every provider has", () => {
    expect([...model.opsets]).toEqual([["", 18]]);
    expect(nodes.filter(({ domain }) => domain !== "")).toEqual([]);
    const refused = [
      "OneHot",
      "NonZero",
      "Compress",
      "Loop",
      "Scan",
      "Mod",
      "Sign",
      "Dropout",
      "ConstantOfShape",
      "Sum",
      "LogSoftmax",
      "Softmax",
      "Unique",
      "ScatterND",
      "GatherND",
      "Einsum",
      "Clip",
      "ReduceMean",
      "Tile",
      "ArgMax",
    ];
    expect(nodes.map(({ op }) => op).filter((op) => refused.includes(op))).toEqual([]);
  });

  test("has kernels for its types on CUDA", () => {
    expect(uses("Where").filter((node) => node.inputs[1]?.dtype === "bool")).toEqual([]);
    for (const op of ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]) expect(uses(op).filter((node) => type(node) === "uint8")).toEqual([]);
    for (const op of ["ScatterElements", "Pad", "MatMul", "TopK"])
      expect(uses(op).filter((node) => type(node) !== "float32" && type(node) !== "int32")).toEqual([]);
    const adding = uses("ScatterElements").filter(({ attributes }) => attributes["reduction"] !== undefined);
    expect(adding.filter((node) => type(node) !== "float32")).toEqual([]);
  });

  test("uses every value it makes", () => {
    const read = new Set<Value | undefined>(model.graph.outputs.map(({ value }) => value));
    for (const node of nodes) for (const value of node.inputs) read.add(value);
    for (const node of nodes) {
      for (const attribute of Object.values(node.attributes)) if (attribute.type === "graph") for (const { value } of attribute.value.outputs) read.add(value);
    }
    expect(nodes.filter((node) => !node.outputs.some((value) => read.has(value)))).toEqual([]);
  });

  test("is the same every time and small", () => {
    const bytes = encodeModel(model);
    expect(bytes.length).toBeLessThan(400_000);
  });
});

test("CumSum runs along short axes only", () => {
  for (const [name, model] of models.filter(([name]) => !name.includes("N"))) {
    const long = model.graph.nodes.filter(({ op, inputs }) => op === "CumSum" && !((inputs[0]?.shape?.at(-1) as number) <= 1024));
    // Of the block sums only the bound is known: 2²⁵ pixels have 2¹¹ of the second level.
    expect(
      long.every(({ inputs }) => typeof inputs[0]?.shape?.at(-1) === "string"),
      name,
    ).toBe(true);
  }
});

describe("exact weights", () => {
  test.each([1, 5, 127, 128, 129, 1024, 1025, 16500, 150_000])("of %i pixels come from counts", async (length) => {
    for (const dtype of ["float32", "int32"] as const) {
      for (const fixed of [true, false]) {
        const op = new OpBuilder();
        const size = fixed ? length : "M";
        const errors = op.input("errors", "float32", [2, size]);
        const foreground = op.input("foreground", "float32", [2, size]);
        const counts = op.input("counts", dtype, [2, 1]);
        const lowest = op.input("lowest", "float32", [2, 1]);
        const layout = rowLayout(2, op.dim(errors, 1));
        const ranked = rankErrors(op, {
          errors,
          foreground: wholeForeground(foreground),
          counts,
          lowest,
          layout,
          lineLength: op.dim(errors, 1),
          countEmpty: true,
        });
        const outputs = [
          { name: "weights", value: ranked.weights },
          { name: "positions", value: ranked.positions },
        ];
        const session = await openModel(finishModel(op, "ranks", [errors, foreground, counts, lowest], outputs));
        await checkRanks(session, length, dtype);
        await session.release();
      }
    }
  });
});

/** Two rows: every third pixel foreground, and none. */
async function checkRanks(session: ort.InferenceSession, length: number, dtype: "float32" | "int32"): Promise<void> {
  const error = (i: number) => ((i * 7919) % length) / length;
  const errors = Float32Array.from({ length: 2 * length }, (_, i) => error(i % length));
  const foreground = Float32Array.from({ length: 2 * length }, (_, i) => (i < length && i % 3 === 0 ? 1 : 0));
  const total = foreground.reduce((a, b) => a + b, 0);
  const lowest = errors.reduce((a, e, i) => (foreground[i] === 1 ? Math.min(a, e) : a), 1);
  const counts = dtype === "int32" ? new ort.Tensor("int32", Int32Array.of(total, 0), [2, 1]) : new ort.Tensor("float32", Float32Array.of(total, 0), [2, 1]);
  const out = await session.run({
    errors: new ort.Tensor("float32", errors, [2, length]),
    foreground: new ort.Tensor("float32", foreground, [2, length]),
    counts,
    lowest: new ort.Tensor("float32", Float32Array.of(lowest, 1), [2, 1]),
  });
  const weights = out["weights"]?.data as Float32Array;
  const positions = out["positions"]?.data as BigInt64Array;
  const k = weights.length / 2;
  let [seen, background, sum, worst] = [0, 0, 0, 0];
  for (let r = 0; r < k; r++) {
    const isForeground = foreground[Number(positions[r])] === 1;
    if (isForeground) seen += 1;
    else background += 1;
    const union = total + background;
    const want = isForeground ? 1 / union : (total - seen) / (union * (union - 1));
    const got = weights[r] as number;
    worst = Math.max(worst, want === 0 ? got : Math.abs(got / want - 1));
    sum += got;
  }
  expect(seen).toBe(total);
  expect(worst).toBeLessThanOrEqual(3e-7);
  expect(Math.abs(sum - 1)).toBeLessThanOrEqual(1e-5);
  expect(
    Array.from(weights.subarray(k))
      .map((value, r) => value - (r === 0 ? 1 : 0))
      .every((value) => value === 0),
  ).toBe(true);
}

test.each(["exact", "histogram"] as const)("a logit that is no number neither stops the run nor passes, %s", async (method) => {
  for (const [channels, bad] of [1, 3].flatMap((c) => [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) => [c, value] as const))) {
    for (const at of [0, 7, 20 * channels - 1]) {
      const data = Array.from({ length: 20 * channels }, (_, i) => (i === at ? bad : Math.sin(i)));
      const labels = Array.from({ length: 20 }, (_, i) => (i === 7 ? 255 : i % 2));
      const options: LossOptions = { lovasz: { method, binary: "sigmoid" }, ce: { threshold: 0.1 } };
      for (const dynamic of [false, true]) {
        const got = await evaluate({ options, dynamic }, { shape: [1, channels, 4, 5], data }, { shape: [1, 4, 5], data: labels });
        expect(got.finite).toBe(false);
      }
    }
  }
});

test("more to keep than any count holds keeps everything but the easiest", async () => {
  const logits = { shape: [2, 2, 1, 4], data: Array.from({ length: 16 }, (_, i) => Math.sin(i)) };
  const labels = { shape: [2, 1, 4], data: [0, 1, 0, 1, 0, 1, 0, 1] };
  for (const minKept of [3e9, Number.MAX_SAFE_INTEGER, { perImage: 2 ** 31 - 1 }, { perImage: 3e9 }]) {
    expect((await evaluate({ options: { ce: { threshold: 0, minKept } } }, logits, labels)).kept).toBe(7);
  }
});

describe("labels", () => {
  const logits = { shape: [1, 2, 1, 4], data: [1, 2, 3, 4, 4, 3, 2, 1] };
  const count = async (data: number[], labelType: LabelType, ignoreIndex = 255) => {
    const got = await evaluate({ labelType, options: { ignoreIndex } }, logits, { shape: [1, 1, 4], data });
    return [got.valid, got.invalidLabels];
  };

  test("beyond int32 are invalid, not wrapped to a class", async () => {
    expect(await count([0, 1, 2 ** 32, -(2 ** 32)], "int64")).toEqual([2, 2]);
    expect(await count([0, 2 ** 31 - 1, 2 ** 40, 1], "int64", 2 ** 31 - 1)).toEqual([2, 1]);
    expect(await count([0, 2 ** 40, 2 ** 41, 1], "int64", 2 ** 40)).toEqual([2, 1]);
  });

  test("an ignore index the type cannot hold ignores nothing", async () => {
    expect(await count([0, 1, 255, 1], "uint8", -1)).toEqual([3, 1]);
    expect(await count([0, 1, 1, 1], "uint8", 256)).toEqual([4, 0]);
    expect(await count([0, 1, 1, 1], "int32", 2 ** 32)).toEqual([4, 0]);
    expect(await count([0, 1, 1, 1], "int32", 1)).toEqual([1, 0]);
  });
});

test("equal sizes found at run time leave the logits exactly as they are", async () => {
  const options = resolveLossOptions({});
  const next = (i: number) => Math.fround(Math.sin(i * 12.9898) * 3.7);
  const logits = { shape: [2, 3, 5, 7], data: Float32Array.from({ length: 210 }, (_, i) => next(i)) };
  const labels = { shape: [2, 5, 7], data: Array.from({ length: 70 }, (_, i) => i % 3) };
  const fixed = await evaluate({}, logits, labels);
  const dynamic = await evaluate({ dynamic: true }, logits, labels);
  expect(options.upsample).toBe("half_pixel");
  expect(Array.from(dynamic.gradient)).toEqual(Array.from(fixed.gradient));
});

test("the nodes do not grow with the classes where they need not", () => {
  const count = (channels: number, method: "exact" | "histogram") =>
    lossModel("ohem-lovasz", { logitsShape: ["N", channels, "h", "w"], labelType: "uint8", options: resolveLossOptions({ lovasz: { method } }) }).graph.nodes
      .length;
  for (const method of ["exact", "histogram"] as const) {
    expect(count(1000, method)).toBeLessThanOrEqual(1.1 * count(150, method));
    expect(count(2, method)).toBeLessThan(400);
  }
});
