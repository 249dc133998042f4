/** Gradient of Resize: interpolation is linear and separable, so its transpose is one matrix product per axis. */

import { type Dim, divideExactly, sameShape } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { tensorNumbers } from "../../ir/tensor.ts";
import { OhemgenError } from "../../support/errors.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { OpAttributes } from "../catalog.ts";
import { interpolationMatrix, sizeAlong } from "./interpolation.ts";

/** Scale of each axis of x, a scalar where it is made at run time; `undefined` where it follows from the sizes. */
export function givenScales(op: OpBuilder, attrs: OpAttributes<"Resize">, scales: Value | undefined, rank: number): (number | Value | undefined)[] {
  const result: (number | Value | undefined)[] = new Array(rank).fill(undefined);
  if (scales === undefined) return result;
  const numbers = scales.constant === undefined ? undefined : tensorNumbers(scales.constant);
  const axes = attrs.axes?.map((axis) => (axis < 0 ? axis + rank : axis)) ?? Array.from({ length: rank }, (_, i) => i);
  axes.forEach((axis, i) => {
    if (numbers === undefined) result[axis] = op.gather(scales, op.scalar("int64", i), 0);
    else result[axis] = numbers[i];
  });
  return result;
}

/** The one scale of all axes where they keep their ratio; `undefined` where each is stretched. */
function commonScale(op: OpBuilder, attrs: OpAttributes<"Resize">, x: Value, sizes: Value | undefined): Value | undefined {
  const { keep_aspect_ratio_policy: policy, axes } = attrs;
  if (sizes === undefined || policy === "stretch") return undefined;
  const along = axes === undefined ? op.shape(x) : op.gather(op.shape(x), op.ints(axes.map((axis) => (axis < 0 ? axis + dimsOf(x).length : axis))), 0);
  const scales = op.div(op.cast(sizes, "float32"), op.cast(along, "float32"));
  return policy === "not_larger" ? op.reduceMin(scales, [0]) : op.reduceMax(scales, [0]);
}

/** Nearest by a whole factor f repeats every pixel f times where output o reads input ⌊o/f⌋. */
function repeatFactor(attrs: OpAttributes<"Resize">, input: Dim, output: Dim): number | undefined {
  const factor = divideExactly(output, input);
  if (attrs.mode !== "nearest" || typeof factor !== "number" || factor < 1) return undefined;
  const { coordinate_transformation_mode: mode, nearest_mode: rounding } = attrs;
  const plain = mode === "asymmetric" && rounding === "floor";
  // (o + ½)/f - ½ rounds to ⌊o/f⌋ for every o: the fraction of (o + ½)/f is never 0.
  const centered = (mode === "half_pixel" || (mode === "pytorch_half_pixel" && output !== 1)) && rounding.startsWith("round_prefer");
  const shifted = mode === "tf_half_pixel_for_nn" && rounding === "floor";
  return plain || centered || shifted ? factor : undefined;
}

/**
 * How often a nearest Resize repeats each element per axis; `undefined` where it does something else. A scale that does
 * not divide the sizes evenly moves the positions, also where it rounds to a whole factor.
 */
export function repeatFactors(
  attrs: OpAttributes<"Resize">,
  x: Value,
  y: Value,
  scales: readonly (number | Value | undefined)[],
): readonly number[] | undefined {
  const to = dimsOf(y);
  const factors = dimsOf(x).map((dim, i) => {
    const factor = dim === to[i] ? 1 : repeatFactor(attrs, dim, to[i] as Dim);
    return scales[i] === undefined || scales[i] === factor ? factor : undefined;
  });
  return factors.every((factor) => factor !== undefined) ? (factors as readonly number[]) : undefined;
}

function sumOfRepeats(op: OpBuilder, x: Value, dy: Value, factors: readonly number[]): Value {
  const shape = factors.flatMap((factor, i) => (factor === 1 ? [op.dim(x, i)] : [op.dim(x, i), op.ints([factor])]));
  const axes: number[] = [];
  let at = 0;
  for (const factor of factors) {
    at += 1;
    if (factor !== 1) {
      axes.push(at);
      at += 1;
    }
  }
  return op.reduceSum(op.reshape(dy, op.concat(shape, 0)), axes);
}

/** `matrixᵀ` applied along an axis of a tensor. */
function applyTransposed(op: OpBuilder, matrix: Value, dy: Value, axis: number): Value {
  const rank = dimsOf(dy).length;
  if (axis === rank - 1) return op.matmul(dy, matrix);
  if (axis === rank - 2) return op.matmul(op.transpose(matrix, [1, 0]), dy);
  const perm = Array.from({ length: rank }, (_, i) => i);
  perm[axis] = rank - 1;
  perm[rank - 1] = axis;
  return op.transpose(op.matmul(op.transpose(dy, perm), matrix), perm);
}

export interface ResizeTarget {
  readonly scales: Value | undefined;
  readonly sizes: Value | undefined;
}

/** @throws OhemgenError E202 for antialiasing and crop modes, which have no rule */
export function resizeGradient(op: OpBuilder, attrs: OpAttributes<"Resize">, x: Value, { scales, sizes }: ResizeTarget, dy: Value): Value {
  if (attrs.antialias !== 0 || attrs.coordinate_transformation_mode === "tf_crop_and_resize") {
    throw new OhemgenError("Resize with antialias or tf_crop_and_resize has no gradient rule", {
      code: "E202",
      hint: "Freeze the weights before this Resize.",
    });
  }
  const from = dimsOf(x);
  const to = dimsOf(dy);
  const common = commonScale(op, attrs, x, sizes);
  if (common === undefined && sameShape(from, to)) return dy;
  const given = givenScales(op, attrs, scales, from.length);
  if (common !== undefined) for (const axis of attrs.axes ?? given.keys()) given[axis < 0 ? axis + from.length : axis] = common;
  const factors = repeatFactors(attrs, x, dy, given);
  if (factors !== undefined) return sumOfRepeats(op, x, dy, factors);
  let result = dy;
  // The axis that shrinks most first would be cheapest; rows before columns keeps the larger product contiguous.
  for (let axis = from.length - 1; axis >= 0; axis--) {
    const known = given[axis];
    if (from[axis] === to[axis] && (known === undefined || known === 1)) continue;
    const [input, output] = [sizeAlong(op, x, axis), sizeAlong(op, dy, axis)];
    const scale = known === undefined ? op.div(output, input) : typeof known === "number" ? op.scalar("float32", known) : known;
    result = applyTransposed(op, interpolationMatrix(op, attrs, { input, output, scale }), result, axis);
  }
  return result;
}
