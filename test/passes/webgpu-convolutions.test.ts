/** Convolutions made for WebGPU give what they gave, there too; those that are left as they are are right there. */

import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Model } from "../../src/ir/graph.ts";
import { correctConvolutions } from "../../src/passes/webgpu-convolutions.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { numbers } from "../loss/inputs.ts";
import { haveWebgpu } from "../webgpu.ts";
import { graphOf, modelOf, node, value } from "./compare.ts";

interface Sizes {
  readonly channels: number;
  readonly outputs: number;
  readonly group?: number;
  readonly kernel?: number;
  readonly stride?: number;
}

const batch = 2;
const side = 6;

function convolution(op: "Conv" | "ConvTranspose", { channels, outputs, group = 1, kernel = 3, stride = 1 }: Sizes): Model {
  const x = value("x", "float32", [batch, channels, side, side]);
  const w = value("w", "float32", [...(op === "Conv" ? [outputs, channels / group] : [channels, outputs / group]), kernel, kernel]);
  const [b, y] = [value("b", "float32", [outputs]), value("y", "float32", [batch, outputs, "h", "w"])];
  const pad = (kernel - 1) >> 1;
  const attrs = { group, kernel_shape: [kernel, kernel], pads: [pad, pad, pad, pad], strides: [stride, stride] };
  return modelOf(graphOf([x, w, b], [node(op, [x, w, b], [y], { attrs })], [y]));
}

async function run(model: Model, provider: string): Promise<ArrayLike<number>> {
  const next = numbers(5);
  const feeds = model.graph.inputs.map(({ name, shape }) => {
    const dims = shape as number[];
    const count = dims.reduce((a, b) => a * b, 1);
    return [
      name,
      new ort.Tensor(
        "float32",
        Float32Array.from({ length: count }, () => 2 * next() - 1),
        dims,
      ),
    ] as const;
  });
  const session = await ort.InferenceSession.create(encodeModel(model), { executionProviders: [provider], logSeverityLevel: 4 });
  const { y } = await session.run(Object.fromEntries(feeds));
  await session.release();
  return y?.data as Float32Array;
}

const needed: readonly (readonly ["Conv" | "ConvTranspose", Sizes])[] = [
  ["Conv", { channels: 6, outputs: 8 }],
  ["Conv", { channels: 9, outputs: 4 }],
  ["Conv", { channels: 15, outputs: 8 }],
  ["Conv", { channels: 6, outputs: 8, kernel: 1, stride: 2 }],
  ["Conv", { channels: 18, outputs: 12, stride: 2 }],
  ["ConvTranspose", { channels: 12, outputs: 6, group: 6 }],
  ["ConvTranspose", { channels: 8, outputs: 2, group: 2, kernel: 2, stride: 2 }],
];
const right: typeof needed = [
  ["Conv", { channels: 3, outputs: 8 }],
  ["Conv", { channels: 12, outputs: 8 }],
  ["Conv", { channels: 10, outputs: 8 }],
  ["Conv", { channels: 9, outputs: 6 }],
  ["Conv", { channels: 18, outputs: 12, group: 3 }],
  ["ConvTranspose", { channels: 6, outputs: 6, group: 6 }],
  ["ConvTranspose", { channels: 18, outputs: 6, group: 6 }],
  ["ConvTranspose", { channels: 12, outputs: 12, group: 6 }],
  ["ConvTranspose", { channels: 6, outputs: 8 }],
];

/** Largest difference between the model as it is, on the CPU, and as it is made, on a provider. */
async function difference(model: Model, provider: string): Promise<number> {
  const [want, got] = [await run(model, "cpu"), await run(correctConvolutions(model), provider)];
  return Math.max(...Array.from(want, (number, i) => Math.abs(number - (got[i] ?? Number.NaN))));
}

// Sums of at most 162 products below 1 in another order, 2⁻²⁴ · 162 at most.
const tolerance = 1e-5;

describe("convolutions that need it", () => {
  test.each(needed)("%s %o", async (op, sizes) => {
    const model = convolution(op, sizes);
    expect(correctConvolutions(model).graph.nodes.length).toBeGreaterThan(1);
    expect(await difference(model, "cpu")).toBeLessThan(tolerance);
  });

  test.skipIf(!haveWebgpu).each(needed)("on WebGPU: %s %o", async (op, sizes) => {
    expect(await difference(convolution(op, sizes), "webgpu")).toBeLessThan(tolerance);
  });
});

describe("convolutions that do not", () => {
  test.each(right)("stay: %s %o", (op, sizes) => {
    const model = convolution(op, sizes);
    expect(correctConvolutions(model)).toEqual(model);
  });

  test.skipIf(!haveWebgpu).each(right)("on WebGPU: %s %o", async (op, sizes) => {
    expect(await difference(convolution(op, sizes), "webgpu")).toBeLessThan(tolerance);
  });
});
