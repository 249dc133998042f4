/** Gradient of a convolution at its input: a convolution with the turned weight, or a transposed convolution. */

import { addDims, type Dim, elementCount, isStatic, mulDims, subDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { Provider } from "../provider.ts";
import { type ConvGeometry, type ConvOperands, convAttributes, extent } from "./conv-geometry.ts";
import { type Kernel, wholeKernel } from "./conv-taps.ts";
import { convolve } from "./convolution.ts";

/**
 * `[M, C/g, k…]` as the kernel of the convolution from dy to dx, `[C, M/g, k…]`: channels swapped inside each group, every
 * spatial axis reversed.
 */
function turnedKernel(op: OpBuilder, given: Kernel, { axes, group }: ConvGeometry): Kernel {
  // A sum has to wait before it is turned: of its operands the runtime makes the younger first, which would be the turned copy.
  const { w, zero } = op.provider === "cpu" ? given : { w: wholeKernel(op, given), zero: undefined };
  const [m, c] = dimsOf(w) as readonly number[] as [number, number];
  const kernel = axes.map((axis) => axis.size);
  const spatial = kernel.map((_, i) => i);
  if (group === 1) return { w: op.transpose(w, [1, 0, ...spatial.map((i) => i + 2)]), reversed: true, zero };
  if (m === group && c === 1) return { w, reversed: true, zero };
  const split = op.reshape(w, [group, m / group, c, ...kernel]);
  const order = op.transpose(split, [0, 2, 1, ...spatial.map((i) => i + 3)]);
  return { w: op.reshape(order, [group * c, m / group, ...kernel]), reversed: true, zero };
}

/**
 * Rows of the input that no window reaches, per axis: the gradient there is 0. A number, or a symbol where the
 * size of the input is dynamic and the stride leaves a remainder that only the run knows.
 */
function unreached(geometry: ConvGeometry, x: Value, dy: Value): readonly Dim[] {
  return geometry.axes.map((axis, i) => {
    const reach = addDims(mulDims(subDims(dimsOf(dy)[i + 2] as Dim, 1), axis.stride), extent(axis) - axis.padBegin - axis.padEnd);
    return subDims(dimsOf(x)[i + 2] as Dim, reach);
  });
}

/** Stride 1: dx = dy ∗ turned weight; a transposed convolution costs 1.5 to 4 times as much on the CPU. */
function byConvolution(op: OpBuilder, geometry: ConvGeometry, { dy }: ConvOperands, kernel: Kernel): Value {
  const axes = geometry.axes.map((axis) => ({
    ...axis,
    padBegin: extent(axis) - 1 - axis.padBegin,
    padEnd: extent(axis) - 1 - axis.padEnd,
  }));
  return convolve(op, { ...geometry, axes }, dy, turnedKernel(op, kernel, geometry));
}

function byTransposedConvolution(op: OpBuilder, geometry: ConvGeometry, { x, dy }: ConvOperands, kernel: Kernel): Value {
  const w = wholeKernel(op, kernel);
  const rest = unreached(geometry, x, dy);
  const attributes = convAttributes(geometry);
  if (isStatic(rest) && rest.every((rows, i) => rows < Math.max(1, (geometry.axes[i] as { stride: number }).stride))) {
    const padding = rest.some((rows) => rows > 0) ? { output_padding: [...rest] } : {};
    return op.emit("ConvTranspose", [dy, w], { ...attributes, ...padding });
  }
  // The remainder is only known at run time: make the largest, cut to the size of x.
  const padding = geometry.axes.map((axis) => axis.stride - 1);
  const full = op.emit("ConvTranspose", [dy, w], { ...attributes, output_padding: padding });
  const spatial = geometry.axes.map((_, i) => i + 2);
  const cut = [full, op.ints(spatial.map(() => 0)), op.shape(x, 2), op.ints(spatial)];
  return op.append("Slice", "", cut, {}, [{ dtype: x.dtype, shape: x.shape }]).outputs[0] as Value;
}

export const inputGradientMethods = ["convolution", "transposed convolution"] as const;

export type InputGradientMethod = (typeof inputGradientMethods)[number];

/** Stride 1 and pads that no window lies in alone: each element of dx is then seen by a turned window over dy. */
export function isConvolutionOfTurned({ axes }: ConvGeometry): boolean {
  return axes.every((axis) => axis.stride === 1 && axis.padBegin < extent(axis) && axis.padEnd < extent(axis));
}

/** To turn an element of the weight takes as long as to add so many elements of a transposed convolution. */
const turned = 1.8;

/**
 * Whether turning the weight, once for a batch, takes longer than what a transposed convolution adds, `[C·k, pixels]` an image:
 * so where a kernel of several taps has more channels than the batch pixels. Timed on the CPU.
 */
function isMostlyWeight(provider: Provider, { axes, group }: ConvGeometry, { w, dy }: ConvOperands): boolean {
  const [images, m, ...spatial] = dimsOf(dy);
  if (provider !== "cpu" || group !== 1 || typeof images !== "number" || !isStatic(spatial) || !isStatic(dimsOf(w))) return false;
  return axes.some(({ size }) => size > 1) && turned * Number(m) > images * elementCount(spatial);
}

/** The cheapest that exists, after the table of lowerings in the benchmarks. */
export function chooseInputGradient(provider: Provider, geometry: ConvGeometry, operands: ConvOperands): InputGradientMethod {
  return isConvolutionOfTurned(geometry) && !isMostlyWeight(provider, geometry, operands) ? "convolution" : "transposed convolution";
}

export interface InputGradientOptions {
  readonly method?: InputGradientMethod;
  /** A zero that the weight waits for. */
  readonly zero?: Value | undefined;
}

export function convInputGradient(op: OpBuilder, geometry: ConvGeometry, operands: ConvOperands, options: InputGradientOptions = {}): Value {
  const { method = chooseInputGradient(op.provider, geometry, operands), zero } = options;
  const compute = method === "convolution" ? byConvolution : byTransposedConvolution;
  return compute(op, geometry, operands, { w: operands.w, zero });
}
