/** Operands of gradient cases: numbers drawn with a fixed seed, by samplers that keep off the kinks of an operator. */

import { elementCount } from "../../src/ir/dims.ts";
import type { DataType } from "../../src/ir/dtype.ts";
import { type Tensor, tensorOf } from "../../src/ir/tensor.ts";

/** Uniform in [0, 1), from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export type Sampler = (count: number, random: () => number) => ArrayLike<number>;

export interface Operand {
  /**
   * variable: fed, differentiated, of dynamic size in the symbolic form; parameter: the same with its size fixed, as
   * weights are; data: fed, not differentiated; constant: an initializer.
   */
  readonly role: "variable" | "parameter" | "data" | "constant";
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly sample: Sampler;
  /** Axes that keep their size in the symbolic form. */
  readonly fixed: readonly number[];
}

/** Uniform between two bounds. */
export const between =
  (low: number, high: number): Sampler =>
  (count, random) =>
    Float64Array.from({ length: count }, () => low + (high - low) * random());

/** Uniform between two bounds, no closer to any of the points than a finite difference reaches. */
export const awayFrom =
  (points: readonly number[], low = -2, high = 2): Sampler =>
  (count, random) =>
    Float64Array.from({ length: count }, () => {
      for (;;) {
        const value = low + (high - low) * random();
        if (points.every((point) => Math.abs(value - point) > 0.08)) return value;
      }
    });

/** No two elements closer than a finite difference reaches: the order among them stays. */
export const apart: Sampler = (count, random) => {
  const values = Array.from({ length: count }, (_, i) => (i + 0.5 - count / 2) * 0.1);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [values[i], values[j]] = [values[j] as number, values[i] as number];
  }
  return values;
};

export const exactly =
  (values: readonly number[]): Sampler =>
  () =>
    values;

const smooth = between(-1.5, 1.5);

export function x(dims: readonly number[], sample: Sampler = smooth, fixed: readonly number[] = []): Operand {
  return { role: "variable", dtype: "float32", dims, sample, fixed };
}

export function w(dims: readonly number[], sample: Sampler = smooth): Operand {
  return { role: "parameter", dtype: "float32", dims, sample, fixed: [] };
}

export function data(dtype: DataType, dims: readonly number[], values: readonly number[], fixed: readonly number[] = []): Operand {
  return { role: "data", dtype, dims, sample: exactly(values), fixed };
}

export function constant(dtype: DataType, dims: readonly number[], values: readonly number[]): Operand {
  return { role: "constant", dtype, dims, sample: exactly(values), fixed: [] };
}

export const ints = (...values: number[]): Operand => constant("int64", [values.length], values);
export const floats = (...values: number[]): Operand => constant("float32", [values.length], values);
export const scalar = (value: number, dtype: DataType = "float32"): Operand => constant(dtype, [], [value]);

export function drawn(operand: Operand, random: () => number): Tensor {
  return tensorOf(operand.dtype, operand.dims, operand.sample(elementCount(operand.dims), random));
}
