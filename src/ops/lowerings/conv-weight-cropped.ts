/**
 * Weight gradient by one product per position of the kernel, of the pixels alone that the position sees inside the image:
 * for windows that reach far beyond it. Nothing is padded and no product with padding is made.
 */

import { elementCount } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { copyCost } from "./conv-bands.ts";
import { type ConvGeometry, type ConvOperands, inGroups, kernelPositions, type WindowAxis } from "./conv-geometry.ts";
import { cutOut, type Interval, lengthOf } from "./conv-taps.ts";
import { placeCost, writeCost } from "./conv-weight-rows.ts";
import { imageSum } from "./image-sum.ts";

/** Along one axis: the positions of dy at which a tap lies inside x, and the elements of x that it meets there. */
interface Met {
  readonly positions: Interval;
  readonly elements: Interval;
}

/** Position o meets element o + tap·dilation - padBegin. */
function met(axis: WindowAxis, size: number, count: number, tap: number): Met {
  const shift = tap * axis.dilation - axis.padBegin;
  const begin = Math.max(0, -shift);
  const end = Math.max(begin, Math.min(count, size - shift));
  return { positions: { begin, end }, elements: { begin: begin + shift, end: end + shift } };
}

/** Per position of the kernel, last axis fastest, what it meets along each axis. */
function regions({ axes }: ConvGeometry, { x, dy }: ConvOperands): readonly (readonly Met[])[] {
  const size = (value: Value, i: number) => dimsOf(value)[i + 2] as number;
  return kernelPositions(axes.map((axis) => axis.size)).map((at) => axes.map((axis, i) => met(axis, size(x, i), size(dy, i), at[i] as number)));
}

const pixels = (along: readonly Met[]) => elementCount(along.map(({ positions }) => lengthOf(positions)));

/** Multiplications and copies, as multiplications, for one image. Spatial sizes have to be known. */
export function croppedCost(geometry: ConvGeometry, operands: ConvOperands): number {
  const [m, c] = dimsOf(operands.w) as readonly number[] as [number, number];
  const all = elementCount(dimsOf(operands.dy).slice(2) as readonly number[]);
  const seen = regions(geometry, operands).map(pixels);
  const copied = seen.filter((count) => count < all).reduce((sum, count) => sum + count, 0);
  return m * c * seen.reduce((sum, count) => sum + count + writeCost, 0) + copyCost * (m + c * geometry.group) * copied + placeCost(operands);
}

/** @param operands of known spatial size, stride 1 */
export function weightGradientCropped(op: OpBuilder, geometry: ConvGeometry, operands: ConvOperands): Value {
  const { x, w, dy } = operands;
  const { group, axes } = geometry;
  const [m, perGroup] = dimsOf(w) as readonly number[] as [number, number];
  const products = regions(geometry, operands).map((along) => {
    if (pixels(along) === 0) return op.expand(op.scalar(w.dtype, 0), op.ints([1, m, perGroup]));
    const positions = along.map((each) => each.positions);
    const elements = along.map((each) => each.elements);
    const seed = inGroups(op, cutOut(op, dy, positions), group, m / group);
    const image = inGroups(op, cutOut(op, x, elements), group, perGroup);
    const product = op.matmul(seed, op.transpose(image, [0, 1, 3, 2]));
    return op.reshape(imageSum(op, product), [1, m, perGroup]);
  });
  return op.reshape(op.transpose(op.concat(products, 0), [1, 2, 0]), [m, perGroup, ...axes.map((axis) => axis.size)]);
}
