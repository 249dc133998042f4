/** What the emitted graphs are made of, the parts that are no loss, and inputs at the edges. */

import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Model, Node, Value } from "../../src/ir/graph.ts";
import { confusion } from "../../src/loss/confusion.ts";
import { type LossModelRequest, lossModel } from "../../src/loss/graph.ts";
import { combineHeads } from "../../src/loss/heads.ts";
import { ohemLovasz } from "../../src/loss/loss.ts";
import { type LossOptions, resolveLossOptions } from "../../src/loss/options.ts";
import { rankErrors } from "../../src/loss/ranks.ts";
import { rowLayout } from "../../src/loss/scan.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { evaluate, type LabelType, labelTensor, openModel } from "./harness.ts";

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
        const ranked = rankErrors(op, { errors, foreground, counts, lowest, layout, lineLength: op.dim(errors, 1), countEmpty: true });
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

describe("confusion", () => {
  test.each([3, 1])("counts valid pixels of %i channels by label and prediction", async (classes) => {
    const [n, h, w] = [2, 9, 13];
    const size = Math.max(2, classes);
    const data = Float32Array.from({ length: n * classes * h * w }, (_, i) => Math.sin(i * 78.233) * 2);
    const labels = Array.from({ length: n * h * w }, (_, i) => (i % 11 === 0 ? 255 : i % 17 === 0 ? 99 : (i * 7) % size));
    const want = new Array<number>(size * size).fill(0);
    const predicted = labels.map((y, pixel) => {
      const start = Math.floor(pixel / (h * w)) * classes * h * w + (pixel % (h * w));
      const scores = Array.from({ length: classes }, (_, k) => data[start + k * h * w] as number);
      const best = classes === 1 ? ((scores[0] as number) > 0 ? 1 : 0) : scores.indexOf(Math.max(...scores));
      if (y < size) want[y * size + best] = (want[y * size + best] as number) + 1;
      return best;
    });
    for (const dynamic of [false, true]) {
      const op = new OpBuilder();
      const shape = dynamic ? ["N", classes, "H", "W"] : [n, classes, h, w];
      const z = op.input("logits", "float32", shape);
      const y = op.input("labels", "uint8", [shape[0] as number, shape[2] as number, shape[3] as number]);
      const counted = confusion(op, z, y, resolveLossOptions({}));
      const model = finishModel(
        op,
        "eval",
        [z, y],
        Object.entries(counted).map(([name, value]) => ({ name, value })),
      );
      const session = await openModel(model);
      const out = await session.run({
        logits: new ort.Tensor("float32", data, [n, classes, h, w]),
        labels: labelTensor("uint8", { shape: [n, h, w], data: labels }),
      });
      expect(Array.from(out["confusion"]?.data as BigInt64Array, Number)).toEqual(want);
      expect(out["confusion"]?.dims).toEqual([size, size]);
      expect(Array.from(out["prediction"]?.data as Int32Array)).toEqual(predicted);
      expect(out["prediction"]?.type).toBe("int32");
      await session.release();
    }
  });
});

describe("heads", () => {
  test("add up with their weights and keep outputs of their own", async () => {
    const op = new OpBuilder();
    const logits = [op.input("main", "float32", [1, 3, 8, 8]), op.input("side", "float32", [1, 3, 4, 4])];
    const labels = op.input("labels", "uint8", [1, 8, 8]);
    const weights = [1, 0.4];
    const heads = logits.map((value, i) => {
      const scale = weights[i] as number;
      return {
        name: value.name,
        weight: scale,
        outputs: ohemLovasz(op.scope(value.name), value, labels, resolveLossOptions({}), { gradient: true, ...(i === 0 ? {} : { scale }) }),
      };
    });
    const total = combineHeads(op, heads);
    const gradients = total.gradients.flatMap((value, i) => (value === undefined ? [] : [{ name: `grad${i}`, value }]));
    const model = finishModel(op, "heads", [...logits, labels], [...total.outputs, { name: "finite", value: total.finite }, ...gradients]);
    const data = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 3.7) * 2);
    const y = Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? 255 : i % 3));
    const session = await openModel(model);
    const out = await session.run({
      main: new ort.Tensor("float32", data(192), [1, 3, 8, 8]),
      side: new ort.Tensor("float32", data(48), [1, 3, 4, 4]),
      labels: labelTensor("uint8", { shape: [1, 8, 8], data: y }),
    });
    const value = (name: string) => Number(out[name]?.data[0]);
    expect(session.outputNames.slice(0, 10)).toEqual([
      "loss",
      "valid",
      "invalid_labels",
      "main/loss",
      "main/ce",
      "main/lovasz",
      "main/valid",
      "main/kept",
      "main/invalid_labels",
      "main/threshold",
    ]);
    expect(value("loss")).toBeCloseTo(value("main/loss") + 0.4 * value("side/loss"), 5);
    expect(value("valid")).toBe(2 * y.filter((label) => label !== 255).length);
    const side = await evaluate({ labelType: "uint8" }, { shape: [1, 3, 4, 4], data: data(48) }, { shape: [1, 8, 8], data: y });
    const got = out["grad1"]?.data as Float32Array;
    expect(Array.from(got).every((g, i) => Math.abs(g - 0.4 * (side.gradient[i] as number)) < 1e-7)).toBe(true);
    await session.release();
  });

  test("one head has plain names", () => {
    const op = new OpBuilder();
    const outputs = ohemLovasz(op, op.input("z", "float32", [1, 3, 4, 4]), op.input("y", "uint8", [1, 4, 4]), resolveLossOptions({}), { gradient: false });
    const total = combineHeads(op, [{ name: "", weight: 1, outputs }]);
    expect(total.outputs.map(({ name }) => name)).toEqual(["loss", "ce", "lovasz", "valid", "kept", "invalid_labels", "threshold"]);
    expect(total.gradients).toEqual([undefined]);
  });
});

describe("kinds of stand-alone graphs", () => {
  const input = [
    { shape: [1, 3, 6, 6], data: Array.from({ length: 108 }, (_, i) => Math.sin(i * 5.3) * 2) },
    { shape: [1, 6, 6], data: Array.from({ length: 36 }, (_, i) => i % 3) },
  ] as const;

  test("take one term each", async () => {
    const both = await evaluate({}, ...input);
    const ce = await evaluate({ kind: "ohem-ce" }, ...input);
    const lovasz = await evaluate({ kind: "lovasz-softmax" }, ...input);
    expect([ce.loss, ce.lovasz, lovasz.loss, lovasz.ce]).toEqual([both.ce, 0, both.lovasz, 0]);
    expect(Array.from(both.gradient).every((g, i) => Math.abs(g - (ce.gradient[i] as number) - (lovasz.gradient[i] as number)) < 1e-7)).toBe(true);
  });
});
