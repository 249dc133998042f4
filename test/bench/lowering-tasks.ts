/** What the benchmark of lowerings times: convolutions of real layers with their gradients, and the smaller choices for the CPU. */

import { largestFloat32 } from "../../src/ir/dtype.ts";
import type { Value } from "../../src/ir/graph.ts";
import type { OpBuilder } from "../../src/ops/builder.ts";
import { type ConvGeometry, extent } from "../../src/ops/lowerings/conv-geometry.ts";
import { chooseInputGradient, convInputGradient, inputGradientMethods, isConvolutionOfTurned } from "../../src/ops/lowerings/conv-input-gradient.ts";
import { type Interval, tapsByProduct, tapsBySlices } from "../../src/ops/lowerings/conv-taps.ts";
import { canCompute, chooseWeightGradient, convWeightGradient, weightGradientMethods } from "../../src/ops/lowerings/conv-weight-gradient.ts";
import { type ConvForm, chooseConvolution, convolutionForms, convolveIn } from "../../src/ops/lowerings/convolution.ts";
import { imageSumByProduct, imageSumByReduction } from "../../src/ops/lowerings/image-sum.ts";
import { joined, joinedGradients, sumOfSquares } from "../../src/optim/gradient.ts";

interface Layer {
  readonly about: string;
  readonly channels: readonly [number, number];
  readonly map: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride?: number;
  readonly dilation?: number;
  readonly depthwise?: boolean;
}

/** Of U-Net, ResNet, HRNet, MobileNet, ERFNet and DeepLab at 2×3×256×512; every pad keeps the size. */
const layers: readonly Layer[] = [
  { about: "stem", channels: [3, 64], map: [256, 512], kernel: [7, 7], stride: 2 },
  { about: "narrow, full resolution", channels: [16, 16], map: [256, 512], kernel: [3, 3] },
  { about: "decoder", channels: [112, 32], map: [128, 256], kernel: [3, 3] },
  { about: "residual block", channels: [64, 64], map: [64, 128], kernel: [3, 3] },
  { about: "deep residual block", channels: [256, 256], map: [16, 32], kernel: [3, 3] },
  { about: "deepest residual block", channels: [512, 512], map: [8, 16], kernel: [3, 3] },
  { about: "wide decoder", channels: [384, 128], map: [32, 64], kernel: [3, 3] },
  { about: "wide decoder, larger", channels: [256, 128], map: [64, 128], kernel: [3, 3] },
  { about: "wide kernel", channels: [192, 192], map: [32, 64], kernel: [5, 5] },
  { about: "one image row", channels: [256, 256], map: [32, 64], kernel: [1, 3] },
  { about: "downsampling", channels: [64, 128], map: [64, 128], kernel: [3, 3], stride: 2 },
  { about: "single pixels", channels: [96, 24], map: [64, 128], kernel: [1, 1] },
  { about: "single pixels, wide", channels: [512, 2048], map: [32, 64], kernel: [1, 1] },
  { about: "depthwise", channels: [72, 72], map: [64, 128], kernel: [5, 5], depthwise: true },
  { about: "depthwise, downsampling", channels: [64, 64], map: [128, 256], kernel: [3, 3], stride: 2, depthwise: true },
  { about: "factorized, dilated", channels: [128, 128], map: [32, 64], kernel: [3, 1], dilation: 8 },
  { about: "dilated residual block", channels: [512, 512], map: [32, 64], kernel: [3, 3], dilation: 4 },
  { about: "pyramid, rate 12", channels: [2048, 256], map: [32, 64], kernel: [3, 3], dilation: 12 },
  { about: "pyramid, rate 24", channels: [2048, 256], map: [32, 64], kernel: [3, 3], dilation: 24 },
  { about: "pyramid, rate 36", channels: [2048, 256], map: [32, 64], kernel: [3, 3], dilation: 36 },
];

export interface Candidate {
  readonly method: string;
  readonly chosen: boolean;
  readonly build: (op: OpBuilder, given: readonly Value[]) => Value;
}

export interface Task {
  readonly about: string;
  /** Of the inputs x, w and dy. */
  readonly shapes: readonly (readonly number[])[];
  readonly candidates: readonly Candidate[];
}

const value = (name: string, shape: readonly number[]): Value => ({ name, dtype: "float32", shape });

function nameOf(form: ConvForm): string {
  if (form === "one node") return form;
  return "winograd" in form ? "winograd" : `bands ${form.bands.map((along) => along.length).join("×")}`;
}

function tasksOf({ about, channels: [c, m], map, kernel, stride = 1, dilation = 1, depthwise = false }: Layer): readonly Task[] {
  const axes = kernel.map((size) => ({ size, stride, dilation, padBegin: (dilation * (size - 1)) / 2, padEnd: (dilation * (size - 1)) / 2 }));
  const geometry: ConvGeometry = { axes, group: depthwise ? c : 1 };
  const result = axes.map((axis, i) => Math.floor(((map[i] as number) + axis.padBegin + axis.padEnd - extent(axis)) / stride) + 1);
  const shapes = { x: [2, c, ...map], w: [m, depthwise ? 1 : c, ...kernel], dy: [2, m, ...result] };
  const operands = { x: value("x", shapes.x), w: value("w", shapes.w), dy: value("dy", shapes.dy) };
  const sizes = { x: operands.x, kernel: { w: operands.w } };
  const cheapest = JSON.stringify(chooseConvolution("cpu", geometry, sizes));
  // Without padding bands are the same as one node.
  const differs = (form: ConvForm) => typeof form === "string" || "winograd" in form || axes.some(({ padBegin }) => padBegin > 0);
  const forward = convolutionForms("cpu", geometry, sizes)
    .filter(differs)
    .map(
      (form): Candidate => ({
        method: nameOf(form),
        chosen: cheapest === JSON.stringify(form),
        build: (op, [x, w]) => convolveIn(op, geometry, form, { x: x as Value, kernel: { w: w as Value } }),
      }),
    );
  const usual = chooseInputGradient("cpu", geometry, operands);
  const input = inputGradientMethods
    .filter((method) => method !== "convolution" || isConvolutionOfTurned(geometry))
    .map(
      (method): Candidate => ({
        method,
        chosen: method === usual,
        build: (op, [x, w, dy]) => convInputGradient(op, geometry, { x: x as Value, w: w as Value, dy: dy as Value }, { method }),
      }),
    );
  const best = chooseWeightGradient("cpu", geometry, operands);
  const weight = weightGradientMethods
    .filter((method) => canCompute(method, geometry, operands))
    .map(
      (method): Candidate => ({
        method,
        chosen: method === best,
        build: (op, [x, w, dy]) => convWeightGradient(op, geometry, { x: x as Value, w: w as Value, dy: dy as Value }, method),
      }),
    );
  const size = `${about}: ${c}→${m}, ${map.join("×")}, ${kernel.join("×")}${stride > 1 ? `, stride ${stride}` : ""}${dilation > 1 ? `, rate ${dilation}` : ""}`;
  const all = [shapes.x, shapes.w, shapes.dy];
  return [
    { about: `${size} | forward`, shapes: all, candidates: forward },
    { about: `${size} | dX`, shapes: all, candidates: input },
    { about: `${size} | dW`, shapes: all, candidates: weight },
  ].filter(({ candidates }) => candidates.length > 1);
}

/** A choice between two ways to the same numbers; the first is the one chosen. */
function choice(about: string, shapes: readonly (readonly number[])[], ways: Readonly<Record<string, Candidate["build"]>>): Task {
  return { about, shapes, candidates: Object.entries(ways).map(([method, build], i) => ({ method, chosen: i === 0, build })) };
}

const whole: Interval = { begin: 0, end: 3 };
const [weight, map, products] = [
  [2048, 256, 3, 3],
  [2, 64, 128, 256],
  [2, 2048, 1024],
];

/** Past the emitter, which would widen the number. */
function plainSum(op: OpBuilder, x: Value): Value {
  return op.draft.append({ op: "Add", domain: "", name: "Add", inputs: [x, op.scalar("float32", 2)], attributes: {} }, [x], () => "sum").outputs[0] as Value;
}

const first = (given: readonly Value[]) => given[0] as Value;
const last = (given: readonly Value[]) => given[2] as Value;

const choices: readonly Task[] = [
  choice("kernel in reverse: 2048×256, 3×3", [weight, [1], [1]], {
    product: (op, given) => tapsByProduct(op, { kernel: { w: first(given), reversed: true }, intervals: [whole, whole] }),
    slice: (op, given) => tapsBySlices(op, { kernel: { w: first(given), reversed: true }, intervals: [whole, whole] }),
  }),
  choice("two of three rows of it", [weight, [1], [1]], {
    product: (op, given) => tapsByProduct(op, { kernel: { w: first(given) }, intervals: [{ begin: 0, end: 2 }, whole] }),
    slice: (op, given) => tapsBySlices(op, { kernel: { w: first(given) }, intervals: [{ begin: 0, end: 2 }, whole] }),
  }),
  choice("sum over two images: 2048×1024", [products, [1], [1]], {
    product: (op, given) => imageSumByProduct(op, first(given)),
    reduction: (op, given) => imageSumByReduction(op, first(given)),
  }),
  choice("gradient as one vector, and its squares: 4.7, 2.1 and 1.0 million", [weight, products.slice(1), [512, 2048, 1, 1]], {
    "tensor by tensor"(op, given) {
      const { parts, squares } = joinedGradients(op, given);
      return op.add(joined(op, parts), squares);
    },
    "padded to rows"(op, given) {
      const vector = op.concat(
        given.map((part) => op.reshape(part, [-1])),
        0,
      );
      return op.add(vector, sumOfSquares(op, vector));
    },
  }),
  choice("a number added: 2048×512×1×1", [[2048, 512, 1, 1], [1], [1]], {
    "of as many axes": (op, given) => op.add(first(given), 2),
    scalar: (op, given) => plainSum(op, first(given)),
  }),
  choice("dX of Relu: 64, 128×256", [map, [1], map], {
    step: (op, given) => op.mul(last(given), op.emit("HardSigmoid", [first(given)], { alpha: largestFloat32, beta: 0 })),
    comparison: (op, given) => op.mul(last(given), op.cast(op.greater(first(given), 0), "float32")),
  }),
  choice("dX of LeakyRelu: 64, 128×256", [map, [1], map], {
    clip: (op, given) => op.mul(last(given), op.emit("Clip", [op.mul(first(given), largestFloat32), op.scalar("float32", 0.01), op.scalar("float32", 1)])),
    where: (op, given) => op.mul(last(given), op.where(op.greater(first(given), 0), 1, op.scalar("float32", 0.01))),
  }),
  choice("dX of HardSwish: 64, 128×256", [map, [1], map], {
    steps(op, given) {
      const h = op.emit("HardSigmoid", [first(given)], { alpha: 1 / 6, beta: 0.5 });
      const inside = op.emit("HardSigmoid", [op.sub(h, op.mul(h, h))], { alpha: largestFloat32, beta: 0 });
      return op.mul(last(given), op.add(h, op.mul(op.sub(h, 0.5), inside)));
    },
    where(op, given) {
      const x = first(given);
      const slope = op.add(op.div(x, 3), 0.5);
      return op.mul(last(given), op.where(op.greater(x, -3), op.where(op.less(x, 3), slope, 1), 0));
    },
  }),
];

export const tasks: readonly Task[] = [...layers.flatMap(tasksOf), ...choices];
