/** Evaluation, several heads of one model, and the kinds of stand-alone graphs. */

import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { confusion } from "../../src/loss/confusion.ts";
import { combineHeads } from "../../src/loss/heads.ts";
import { ohemLovasz } from "../../src/loss/loss.ts";
import { resolveLossOptions } from "../../src/loss/options.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { evaluate, labelTensor, openModel } from "./harness.ts";

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
