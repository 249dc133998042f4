/** A convolution in every form of bands, chosen or not, against the convolution as one node; and which form is chosen. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { bandForms, cheapestForm, convolveInForm } from "../../src/ops/lowerings/conv-bands.ts";
import { type ConvGeometry, convAttributes } from "../../src/ops/lowerings/conv-geometry.ts";
import { between, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

const axis = (size: number, dilation: number, padBegin: number, padEnd = padBegin) => ({ size, stride: 1, dilation, padBegin, padEnd });

const settings: Readonly<Record<string, { x: readonly number[]; m: number; geometry: ConvGeometry }>> = {
  "no padding": { x: [2, 3, 5, 6], m: 2, geometry: { group: 1, axes: [axis(3, 1, 0), axis(3, 1, 0)] } },
  "one pixel of padding": { x: [2, 3, 5, 6], m: 2, geometry: { group: 1, axes: [axis(3, 1, 1), axis(3, 1, 1)] } },
  "windows half outside": { x: [1, 2, 6, 9], m: 3, geometry: { group: 1, axes: [axis(3, 4, 4), axis(3, 5, 5)] } },
  "taps that never lie inside": { x: [1, 2, 4, 9], m: 3, geometry: { group: 1, axes: [axis(3, 6, 6), axis(3, 3, 3)] } },
  "uneven pads and an even kernel": { x: [2, 2, 7, 5], m: 2, geometry: { group: 1, axes: [axis(4, 2, 1, 5), axis(2, 3, 3, 0)] } },
  "one dimension": { x: [2, 2, 8], m: 2, geometry: { group: 1, axes: [axis(5, 3, 6)] } },
  "three dimensions": { x: [1, 2, 4, 5, 3], m: 2, geometry: { group: 1, axes: [axis(3, 2, 2), axis(3, 3, 3), axis(3, 1, 1)] } },
};

async function run(
  op: OpBuilder,
  inputs: readonly { value: ReturnType<OpBuilder["input"]>; dims: readonly number[] }[],
  outputs: readonly ReturnType<OpBuilder["input"]>[],
) {
  const graph = {
    name: "bands",
    inputs: inputs.map(({ value }) => value),
    initializers: [],
    outputs: outputs.map((value, i) => ({ name: `y${i}`, value })),
    nodes: op.draft.nodes,
  };
  const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  const random = randomFrom(11);
  const feeds = inputs.map(({ value, dims }) => [value.name, tensorOf("float32", dims, between(-1, 1)(elementCount(dims), random))] as const);
  const found = await session.run(new Map(feeds));
  await session.close();
  return outputs.map((_, i) => found.get(`y${i}`) as Ran);
}

describe("every form", () => {
  for (const [about, { x: dims, m, geometry }] of Object.entries(settings)) {
    const forms = bandForms(geometry, dims.slice(2));
    test.each(forms.map((form, i) => ({ form, i })))(`${about}, form $i`, async ({ form }) => {
      const op = new OpBuilder();
      const weight = [m, dims[1] as number, ...geometry.axes.map(({ size }) => size)];
      const [x, w, bias] = [op.input("x", "float32", ["N", ...dims.slice(1)]), op.input("w", "float32", weight), op.input("b", "float32", [m])];
      const given = [
        { value: x, dims },
        { value: w, dims: weight },
        { value: bias, dims: [m] },
      ];
      // Turned, since an equal node would be the same node.
      const turned = op.neg(op.emit("Conv", [x, w, bias], convAttributes(geometry)));
      const [expected, found] = (await run(op, given, [turned, convolveInForm(op, geometry, form, { x, kernel: { w }, bias })])) as [Ran, Ran];
      expect(found.dims).toEqual(expected.dims);
      // Sums of at most 54 products of numbers below 1, in float32.
      expect(Array.from(expected.data).every((value, i) => Math.abs((found.data[i] as number) + value) < 1e-5)).toBe(true);
    });
  }
});

test("has no form where a position sees nothing", () => {
  expect(bandForms({ group: 1, axes: [axis(1, 1, 2)] }, [4])).toEqual([]);
});

describe("is chosen", () => {
  const bands = (channels: number, size: number, dilation: number) => {
    const x = { name: "x", dtype: "float32", shape: ["N", channels, size, size] } as const;
    const w = { name: "w", dtype: "float32", shape: [256, channels, 3, 3] } as const;
    const chosen = cheapestForm({ group: 1, axes: [axis(3, dilation, dilation), axis(3, dilation, dilation)] }, { x, kernel: { w } });
    return chosen === undefined ? 0 : elementCount(chosen.form.map((along) => along.length));
  };

  test("where rates reach far beyond a small map", () => {
    expect(bands(512, 32, 18)).toBeGreaterThan(1);
    // Both outer rows and columns of the kernel never lie inside: one product is left.
    expect(bands(512, 16, 18)).toBe(1);
  });

  test("not where little padding is read, nor where channels are few", () => {
    expect(bands(512, 32, 1)).toBe(0);
    expect(bands(512, 64, 2)).toBe(0);
    expect(bands(8, 32, 12)).toBe(0);
  });
});
