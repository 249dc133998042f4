/** A convolution by minimal filters against the convolution as one node, wherever it has that form; and where it is chosen. */

import { describe, expect, test } from "vitest";
import { elementCount } from "../../src/ir/dims.ts";
import type { Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { type ConvGeometry, convAttributes } from "../../src/ops/lowerings/conv-geometry.ts";
import { type Kernel, wholeKernel } from "../../src/ops/lowerings/conv-taps.ts";
import { chooseWeightGradient, convWeightGradient } from "../../src/ops/lowerings/conv-weight-gradient.ts";
import { convolveByWinograd, type WinogradForm, winogradForm } from "../../src/ops/lowerings/conv-winograd.ts";
import { chooseConvolution } from "../../src/ops/lowerings/convolution.ts";
import { providers } from "../../src/ops/provider.ts";
import { products } from "./conv-settings.ts";
import { between, randomFrom } from "./operands.ts";
import { openModel, type Ran } from "./runtime.ts";

const axis = (size: number, dilation = 1, padBegin = 0, padEnd = padBegin, stride = 1) => ({ size, stride, dilation, padBegin, padEnd });

const settings: Readonly<Record<string, { x: readonly number[]; m: number; geometry: ConvGeometry }>> = {
  "no padding": { x: [2, 3, 5, 9], m: 2, geometry: { group: 1, axes: [axis(3), axis(3)] } },
  "one pixel of padding": { x: [2, 3, 4, 8], m: 4, geometry: { group: 1, axes: [axis(3, 1, 1), axis(3, 1, 1)] } },
  "a last tile of one result": { x: [1, 2, 3, 5], m: 2, geometry: { group: 1, axes: [axis(3, 1, 1), axis(3, 1, 1)] } },
  "fewer results than a tile": { x: [1, 2, 3, 3], m: 2, geometry: { group: 1, axes: [axis(1), axis(3)] } },
  "two columns": { x: [1, 2, 4, 11], m: 3, geometry: { group: 1, axes: [axis(2), axis(2, 1, 0, 1)] } },
  "four columns": { x: [1, 2, 4, 11], m: 3, geometry: { group: 1, axes: [axis(2, 1, 1), axis(4, 1, 2, 1)] } },
  "five columns": { x: [1, 3, 6, 10], m: 2, geometry: { group: 1, axes: [axis(5, 1, 2), axis(5, 1, 2)] } },
  "one row": { x: [2, 3, 4, 9], m: 3, geometry: { group: 1, axes: [axis(1), axis(3, 1, 1)] } },
  "rate 2": { x: [1, 2, 7, 13], m: 2, geometry: { group: 1, axes: [axis(3, 2, 2), axis(3, 2, 2)] } },
  "rates of their own, uneven pads": { x: [1, 2, 7, 13], m: 2, geometry: { group: 1, axes: [axis(3, 2, 1, 3), axis(3, 3, 4, 2)] } },
  "a rate beyond the image": { x: [1, 2, 3, 4], m: 2, geometry: { group: 1, axes: [axis(3, 6, 6), axis(3, 5, 5)] } },
  "every second row": { x: [1, 2, 7, 8], m: 2, geometry: { group: 1, axes: [axis(3, 1, 1, 1, 2), axis(3, 1, 1)] } },
  "two groups": { x: [2, 4, 5, 9], m: 6, geometry: { group: 2, axes: [axis(3, 1, 1), axis(3, 1, 1)] } },
};

const sizesOf = (x: readonly (number | string)[], w: readonly number[]): { x: Value; kernel: Kernel } => ({
  x: { name: "x", dtype: "float32", shape: x },
  kernel: { w: { name: "w", dtype: "float32", shape: w } },
});

describe.each(Object.entries(settings))("%s", (_, { x: dims, m, geometry }) => {
  const weight = [m, (dims[1] as number) / geometry.group, ...geometry.axes.map(({ size }) => size)];

  test.each([
    ["with a bias", { bias: true, reversed: false, waits: false }],
    ["a kernel in reverse that waits", { bias: false, reversed: true, waits: true }],
  ])("%s", async (_, { bias, reversed, waits }) => {
    const op = new OpBuilder("cpu");
    const x = op.input("x", "float32", ["N", ...dims.slice(1)]);
    const [w, b, zero] = [op.input("w", "float32", weight), op.input("b", "float32", [m]), op.input("zero", "float32", [])];
    const kernel: Kernel = { w, reversed, zero: waits ? zero : undefined };
    const form = winogradForm(geometry, { x, kernel }) as WinogradForm;
    const found = convolveByWinograd(op, form, { x, kernel, bias: bias ? b : undefined });
    const whole = wholeKernel(op, { w, reversed });
    const expected = op.neg(op.emit("Conv", bias ? [x, whole, b] : [x, whole], convAttributes(geometry)));
    const inputs = [{ value: x, dims }, { value: w, dims: weight }, ...(bias ? [{ value: b, dims: [m] }] : []), ...(waits ? [{ value: zero, dims: [] }] : [])];
    const outputs = [
      { name: "found", value: found },
      { name: "expected", value: expected },
    ];
    const graph = { name: "winograd", inputs: inputs.map(({ value }) => value), initializers: [], outputs, nodes: op.draft.nodes };
    const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
    const random = randomFrom(7);
    const draw = (value: Value, shape: readonly number[]) => (value === zero ? [0] : between(-1, 1)(elementCount(shape), random));
    const feeds = inputs.map(({ value, dims: shape }) => [value.name, tensorOf("float32", shape, draw(value, shape))] as const);
    const results = await session.run(new Map(feeds));
    await session.close();
    const [got, wanted] = [results.get("found") as Ran, results.get("expected") as Ran];
    expect(got.dims).toEqual(wanted.dims);
    // Sums of at most 75 products of numbers below 1 in float32, three times as far from exact ones as usual.
    Array.from(wanted.data).forEach((value, i) => expect(Math.abs((got.data[i] as number) + Number(value))).toBeLessThan(2e-5));
  });
});

/** Of a layer with 128 channels: root mean square of the error of both forms over that of the exact result, which is float64. */
test("loses less than a digit against one node, forward and in dW", async () => {
  const [x, w, dy] = [
    [1, 128, 8, 32],
    [16, 128, 3, 3],
    [1, 16, 8, 32],
  ] as const;
  const geometry: ConvGeometry = { group: 1, axes: [axis(3, 1, 1), axis(3, 1, 1)] };
  const op = new OpBuilder("cpu");
  const given = { x: op.input("x", "float32", x), w: op.input("w", "float32", w), dy: op.input("dy", "float32", dy) };
  const sizes = { x: given.x, kernel: { w: given.w } };
  const outputs = [
    { name: "winograd", value: convolveByWinograd(op, winogradForm(geometry, sizes) as WinogradForm, sizes) },
    { name: "one node", value: op.emit("Conv", [given.x, given.w], convAttributes(geometry)) },
    { name: "dW, winograd", value: convWeightGradient(op, geometry, given, "winograd") },
    { name: "dW, rows", value: convWeightGradient(op, geometry, given, "rows") },
  ];
  const graph = { name: "winograd", inputs: Object.values(given), initializers: [], outputs, nodes: op.draft.nodes };
  const session = await openModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  const random = randomFrom(17);
  const [xs, ws, dys] = [x, w, dy].map((dims) => Float32Array.from(between(-1, 1)(elementCount(dims), random))) as [Float32Array, Float32Array, Float32Array];
  const found = await session.run(
    new Map([
      [
        "x",
        tensorOf(
          "float32",
          x,
          xs.map((value) => Math.max(0, value)),
        ),
      ],
      ["w", tensorOf("float32", w, ws)],
      ["dy", tensorOf("float32", dy, dys)],
    ]),
  );
  await session.close();
  const [y, dw] = [new Float64Array(elementCount(dy)), new Float64Array(elementCount(w))];
  for (const at of products({ about: "", x, w, dy, geometry })) {
    const image = Math.max(0, xs[at.x] as number);
    y[at.dy] = (y[at.dy] as number) + image * (ws[at.w] as number);
    dw[at.w] = (dw[at.w] as number) + image * (dys[at.dy] as number);
  }
  const norm = (numbers: Float64Array) => Math.hypot(...numbers);
  const error = (name: string, exact: Float64Array) => norm(exact.map((value, i) => Number((found.get(name) as Ran).data[i]) - value)) / norm(exact);
  for (const [winograd, usual, exact] of [["winograd", "one node", y] as const, ["dW, winograd", "dW, rows", dw] as const]) {
    const [of, than] = [error(winograd, exact), error(usual, exact)];
    console.log(`${winograd}: ${of.toExponential(1)}, ${usual}: ${than.toExponential(1)}`);
    // src/ARCHITECTURE.md says up to four times; a wrong factor would be a million.
    expect(of).toBeLessThan(5 * than);
  }
});

test("has no form for strides along rows, for a single column, for many, nor in other dimensions", () => {
  const form = (axes: ConvGeometry["axes"], x: readonly (number | string)[]) =>
    winogradForm({ axes, group: 1 }, sizesOf(x, [4, Number(x[1]), ...axes.map(({ size }) => size)]));
  expect(form([axis(3), axis(3, 1, 0, 0, 2)], [1, 2, 9, 9])).toBeUndefined();
  expect(form([axis(3), axis(1)], [1, 2, 9, 9])).toBeUndefined();
  expect(form([axis(3), axis(7)], [1, 2, 9, 9])).toBeUndefined();
  expect(form([axis(3)], [1, 2, 9])).toBeUndefined();
  expect(form([axis(3), axis(3), axis(3)], [1, 2, 9, 9, 9])).toBeUndefined();
  expect(form([axis(3), axis(3)], [1, 2, 9, "W"])).toBeUndefined();
});

describe("is chosen", () => {
  const geometry = (dilation = 1): ConvGeometry => ({ group: 1, axes: [axis(3, dilation, dilation), axis(3, dilation, dilation)] });
  const choice = (channels: number, height: number, width: number, { dilation = 1, provider = "cpu" as (typeof providers)[number] } = {}) => {
    const sizes = sizesOf(["N", channels, height, width], [channels, channels, 3, 3]);
    const forward = chooseConvolution(provider, geometry(dilation), sizes);
    const dy: Value = { name: "dy", dtype: "float32", shape: ["N", channels, height, width] };
    const weight = chooseWeightGradient(provider, geometry(dilation), { x: sizes.x, w: sizes.kernel.w, dy });
    return [typeof forward === "object" && "winograd" in forward, weight === "winograd"];
  };

  test("on wide layers of small maps, dilated ones too", () => {
    expect(choice(512, 32, 64, { dilation: 2 })).toEqual([true, true]);
    expect(choice(256, 32, 64)).toEqual([true, true]);
  });

  test("not on narrow layers, nor where rows are so long that the transforms cost more", () => {
    expect(choice(64, 64, 128)).toEqual([false, false]);
    expect(choice(128, 256, 512)).toEqual([false, false]);
  });

  test("on the CPU alone", () => {
    for (const provider of providers) expect(choice(512, 32, 64, { provider })).toEqual([provider === "cpu", provider === "cpu"]);
  });
});
