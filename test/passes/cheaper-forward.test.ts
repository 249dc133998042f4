/** Cheaper forms of the forward pass: the same values and gradients as the nodes they stand for, on the runtime. */

import { describe, expect, test } from "vitest";
import { differentiate } from "../../src/autodiff/engine.ts";
import type { Shape } from "../../src/ir/dims.ts";
import type { Model, Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import type { Provider } from "../../src/ops/provider.ts";
import { inline } from "../../src/passes/inline.ts";
import { randomStream } from "../../src/support/random.ts";
import { floats, openSession, toRuntime } from "../run-graph.ts";
import { operators } from "./compare.ts";

interface Source {
  readonly inputs: readonly { readonly name: string; readonly dims: readonly number[]; readonly shape?: Shape }[];
  readonly build: (op: OpBuilder, inputs: readonly Value[]) => readonly Value[];
}

const nearest = (op: OpBuilder, x: Value, factor: number) =>
  op.emit("Resize", [x, undefined, op.constant(tensorOf("float32", [4], [1, 1, factor, factor]))], {
    mode: "nearest",
    coordinate_transformation_mode: "asymmetric",
    nearest_mode: "floor",
  });
const enlarge = (kernel: number, pad: number, factor: number): Source => ({
  inputs: [
    { name: "x", dims: [2, 3, 4, 5] },
    { name: "w", dims: [4, 3, kernel, kernel] },
    { name: "b", dims: [4] },
  ],
  build: (op, [x, w, b]) => [op.emit("Conv", [nearest(op, x as Value, factor), w, b], { pads: [pad, pad, pad, pad] })],
});
const linear = (op: OpBuilder, x: Value, sizes: readonly number[]) =>
  op.emit("Resize", [x, undefined, undefined, op.ints(sizes)], { mode: "linear", coordinate_transformation_mode: "half_pixel" });
const transposed = (size: number, attrs: Record<string, unknown>): Source => ({
  inputs: [
    { name: "x", dims: [2, 3, 4, 5] },
    { name: "w", dims: [3, 2, size, size] },
    { name: "b", dims: [2] },
  ],
  build: (op, inputs) => [op.emit("ConvTranspose", inputs, attrs)],
});

const cases: Record<string, Source> = {
  "3×3 convolution of an image enlarged twice": enlarge(3, 1, 2),
  "5×5 convolution of an image enlarged twice, cut": enlarge(5, 1, 2),
  "4×4 convolution of an image enlarged three times": enlarge(4, 1, 3),
  "of dynamic sizes, without bias": {
    inputs: [
      { name: "x", dims: [2, 3, 4, 5], shape: ["N", 3, "H", "W"] },
      { name: "w", dims: [4, 3, 3, 3] },
    ],
    build: (op, [x, w]) => [op.emit("Conv", [nearest(op, x as Value, 2), w], { pads: [1, 1, 1, 1] })],
  },
  "of an enlarged image beside another": {
    inputs: [
      { name: "x", dims: [2, 3, 4, 5] },
      { name: "skip", dims: [2, 2, 8, 10] },
      { name: "w", dims: [4, 5, 3, 3] },
      { name: "b", dims: [4] },
    ],
    build: (op, [x, skip, w, b]) => {
      const joined = op.concat([nearest(op, x as Value, 2), skip as Value], 1);
      return [op.relu(op.emit("Conv", [joined, w, b], { pads: [1, 1, 1, 1] }))];
    },
  },
  "of two enlarged images": {
    inputs: [
      { name: "x", dims: [1, 3, 4, 5] },
      { name: "z", dims: [1, 2, 4, 5] },
      { name: "w", dims: [4, 5, 3, 3] },
      { name: "b", dims: [4] },
    ],
    build: (op, [x, z, w, b]) => {
      const joined = op.concat([nearest(op, x as Value, 2), nearest(op, z as Value, 2)], 1);
      return [op.emit("Conv", [joined, w, b], { pads: [1, 1, 1, 1] })];
    },
  },
  "transposed, kernel as large as its stride": transposed(2, { strides: [2, 2] }),
  "transposed, overlapping windows": transposed(4, { strides: [2, 2], pads: [1, 1, 1, 1] }),
  "transposed, three taps, uneven pads and output padding": transposed(6, { strides: [2, 2], pads: [1, 2, 2, 3], output_padding: [1, 1] }),
  "transposed by three": transposed(6, { strides: [3, 3], pads: [2, 2, 1, 1] }),
};

const single: Record<string, Source> = {
  "one resized image": {
    inputs: [
      { name: "x", dims: [2, 3, 4, 5] },
      { name: "w", dims: [4, 3, 1, 1] },
      { name: "b", dims: [4] },
    ],
    build: (op, [x, w, b]) => [op.emit("Conv", [linear(op, x as Value, [2, 3, 7, 9]), w, b])],
  },
  "two resized images and another between": {
    inputs: [
      { name: "x", dims: [1, 3, 4, 5] },
      { name: "skip", dims: [1, 2, 8, 10] },
      { name: "z", dims: [1, 4, 2, 2] },
      { name: "w", dims: [4, 9, 1, 1] },
    ],
    build: (op, [x, skip, z, w]) => {
      const joined = op.concat([linear(op, x as Value, [1, 3, 8, 10]), skip as Value, linear(op, z as Value, [1, 4, 8, 10])], 1);
      return [op.emit("Conv", [joined, w])];
    },
  },
};

/** Value and gradients of a source, inlined with or without cheaper forms. */
function graphOf({ inputs, build }: Source, cheaper: boolean, provider: Provider = "any"): Model {
  const source = new OpBuilder();
  const given = inputs.map(({ name, dims, shape }) => source.input(name, "float32", shape ?? dims));
  const ends = build(source, given);
  const op = new OpBuilder(provider);
  const values = inline(op, source.draft.nodes, new Map(given.map((value) => [value, value])), cheaper ? { cheaper: { ends } } : {});
  const results = ends.map((end) => values.get(end) as Value);
  const tape = op.draft.tape();
  // Σ y²/2 has the gradient y: every element counts differently.
  const gradients = differentiate(op, tape, new Map(results.map((value) => [value, value])), given);
  const outputs = results.map((value, i) => ({ name: `y${i}`, value: op.emit("Add", [value, op.scalar("float32", 0)]) }));
  return finishModel(op, "g", given, [...outputs, ...given.map((value) => ({ name: `${value.name}.grad`, value: gradients.get(value) as Value }))]);
}

async function run(model: Model, { inputs }: Source) {
  const session = await openSession(model);
  const random = randomStream(7);
  const feeds = inputs.map(({ name, dims }) => {
    const count = dims.reduce((a, b) => a * b, 1);
    return [
      name,
      toRuntime(
        tensorOf(
          "float32",
          dims,
          Array.from({ length: count }, () => random.between(-1, 1)),
        ),
      ),
    ] as const;
  });
  return session.run(Object.fromEntries(feeds));
}

async function expectEqual(plain: Model, cheap: Model, source: Source): Promise<void> {
  const [want, got] = [await run(plain, source), await run(cheap, source)];
  for (const name of Object.keys(want)) {
    expect(got[name]?.dims).toEqual(want[name]?.dims);
    const [a, b] = [floats(want[name]), floats(got[name])];
    const scale = a.reduce((most, element) => Math.max(most, Math.abs(element)), 0);
    // Sums of at most 1000 products in another order: 1000·2⁻²⁴ of the largest, seldom a tenth of it.
    a.forEach((element, i) => {
      expect(Math.abs((b[i] as number) - element), `${name}[${i}]`).toBeLessThanOrEqual(1e-5 * scale);
    });
  }
}

describe("cheaper forward forms agree with what they stand for:", () => {
  test.each(Object.entries(cases))("%s", async (_, source) => {
    const plain = graphOf(source, false);
    for (const provider of ["any", "cpu"] as const) {
      const cheap = graphOf(source, true, provider);
      // How phases are set side by side: on the CPU channel by channel.
      const grouped = cheap.graph.nodes.some(({ op, attributes }) => op === "ConvTranspose" && Number(attributes["group"]?.value) > 1);
      expect([grouped, operators(cheap.graph.nodes).includes("DepthToSpace")]).toEqual([provider === "cpu", provider === "any"]);
      expect(operators(cheap.graph.nodes)).not.toContain("Resize");
      await expectEqual(plain, cheap, source);
    }
  });

  test.each(Object.entries(single))("single pixels of %s", async (_, source) => {
    const [plain, cheap] = [graphOf(source, false), graphOf(source, true)];
    const first = cheap.graph.nodes.findIndex(({ op }) => op === "Conv");
    expect(cheap.graph.nodes.findIndex(({ op }) => op === "Resize")).toBeGreaterThan(first);
    await expectEqual(plain, cheap, source);
  });

  test("a dilated convolution whose windows reach far beyond a small map", async () => {
    const source: Source = {
      inputs: [
        { name: "x", dims: [2, 160, 10, 30], shape: ["N", 160, 10, 30] },
        { name: "w", dims: [192, 160, 3, 3] },
        { name: "b", dims: [192] },
      ],
      build: (op, inputs) => [op.relu(op.emit("Conv", inputs, { dilations: [12, 6], pads: [12, 6, 12, 6] }))],
    };
    const [plain, cheap] = [graphOf(source, false), graphOf(source, true)];
    const rows = (model: Model) => model.graph.nodes.filter(({ op }) => op === "Conv").map(({ inputs }) => inputs[1]?.shape?.[2]);
    // Of the rows of the kernel, one lies inside; the file's own node stays where it is not the CPU that runs it.
    expect(new Set(rows(cheap))).toEqual(new Set([1]));
    expect(rows(graphOf(source, true, "cuda"))).toContain(3);
    await expectEqual(plain, cheap, source);
  });

  test("an enlarged image that something else reads stays", () => {
    const source: Source = {
      inputs: [
        { name: "x", dims: [1, 2, 4, 4] },
        { name: "w", dims: [2, 2, 3, 3] },
      ],
      build: (op, [x, w]) => {
        const large = nearest(op, x as Value, 2);
        return [op.add(op.emit("Conv", [large, w], { pads: [1, 1, 1, 1] }), large)];
      },
    };
    expect(operators(graphOf(source, true).graph.nodes)).toContain("Resize");
  });
});
