/** Taps of a kernel, chosen or in reverse: what a convolution in bands and the gradient at the input take of a weight. */

import { elementCount } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { delayed } from "../delay.ts";
import { kernelPositions } from "./conv-geometry.ts";

/** Half open. */
export interface Interval {
  readonly begin: number;
  readonly end: number;
}

export const lengthOf = ({ begin, end }: Interval) => end - begin;

/** The intervals of the spatial axes of a tensor. */
export function cutOut(op: OpBuilder, value: Value, intervals: readonly Interval[]): Value {
  const ranges = intervals.map(({ begin, end }, i) => ({ axis: i + 2, start: begin, end }));
  const shorter = ranges.filter(({ axis, start, end }) => start > 0 || end !== dimsOf(value)[axis]);
  return shorter.length === 0 ? value : op.slice(value, shorter);
}

export interface Kernel {
  /** `[M, C/g, k…]` */
  readonly w: Value;
  /** Whether its taps are those of `w` from the last to the first, along every axis. */
  readonly reversed?: boolean;
  /** A zero that the taps wait for. */
  readonly zero?: Value | undefined;
}

/** The taps of a kernel that lie inside an interval of each axis, `[M, C/g, taps…]`. */
export interface Taps {
  readonly kernel: Kernel;
  readonly intervals: readonly Interval[];
}

const sizesOf = (w: Value) => dimsOf(w).slice(2) as readonly number[];

/**
 * By Slice: the taps first, then in reverse where there are several. Not both at once: on WebGPU (ONNX Runtime 1.30) a negative
 * step begins at the last element, whatever its start.
 */
export function tapsBySlices(op: OpBuilder, { kernel: { w, reversed, zero }, intervals }: Taps): Value {
  const waiting = zero === undefined ? w : delayed(op, w, zero);
  const fromLast = ({ begin, end }: Interval, i: number) => ({ begin: (sizesOf(w)[i] as number) - end, end: (sizesOf(w)[i] as number) - begin });
  const cut = cutOut(op, waiting, reversed ? intervals.map(fromLast) : intervals);
  const turns = intervals.flatMap((interval, i) => (reversed && lengthOf(interval) > 1 ? [{ axis: i + 2, start: -1, step: -1 }] : []));
  return turns.length === 0 ? cut : op.slice(cut, turns);
}

/** By a product with a matrix of zeros and ones whose columns choose a tap each. What is not finite makes its whole kernel NaN. */
export function tapsByProduct(op: OpBuilder, { kernel: { w, reversed, zero }, intervals }: Taps): Value {
  const sizes = sizesOf(w);
  const [m, c] = dimsOf(w) as readonly number[] as [number, number];
  const counts = intervals.map(lengthOf);
  const [all, chosen] = [elementCount(sizes), elementCount(counts)];
  const ones = new Float32Array(all * chosen);
  kernelPositions(counts).forEach((at, column) => {
    const row = at.reduce((index, tap, i) => {
      const [size, position] = [sizes[i] as number, (intervals[i] as Interval).begin + tap];
      return index * size + (reversed ? size - 1 - position : position);
    }, 0);
    ones[row * chosen + column] = 1;
  });
  const matrix = op.constant(tensorOf("float32", [all, chosen], ones));
  const flat = op.reshape(w, [m * c, all]);
  // The zero last: of the inputs of a node the runtime makes that first whose own node is the youngest.
  return op.reshape(op.matmul(flat, zero === undefined ? matrix : op.add(matrix, zero)), [m, c, ...counts]);
}

/** Elements from which on a product is worth its nodes. */
const large = 1 << 14;

/**
 * On the CPU by a product, which takes all threads where a Slice copies tap by tap on one: 4.7 million elements in reverse
 * take less than half the time, two of three rows of them four fifths. Other providers may multiply in fewer bits (TF32).
 */
export function tapsOf(op: OpBuilder, taps: Taps): Value {
  const { kernel, intervals } = taps;
  const sizes = sizesOf(kernel.w);
  const isWhole = intervals.every(({ begin, end }, i) => begin === 0 && end === sizes[i]);
  const isAsItIs = isWhole && !(kernel.reversed && elementCount(sizes) > 1);
  const byProduct = op.provider === "cpu" && kernel.w.dtype === "float32" && elementCount(dimsOf(kernel.w) as readonly number[]) >= large;
  return byProduct && !isAsItIs ? tapsByProduct(op, taps) : tapsBySlices(op, taps);
}

/** All taps of a kernel. */
export function wholeKernel(op: OpBuilder, kernel: Kernel): Value {
  return tapsOf(op, { kernel, intervals: sizesOf(kernel.w).map((size) => ({ begin: 0, end: size })) });
}
