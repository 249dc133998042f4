/**
 * Weight gradient for equal strides s in two dimensions: the padded input falls into s² phases, each read by the kernel
 * positions i ≡ phase (mod s) with stride 1. With the phases as channels, all of it is one stride-1 weight gradient
 * with a kernel of ⌈k/s⌉, whose superfluous positions are cut off.
 */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { ConvGeometry, ConvOperands, WindowAxis } from "./conv-geometry.ts";
import { weightGradientByRows } from "./conv-weight-rows.ts";

/** @param operands of static spatial size, one group, dilation 1, the same stride on both axes */
export function weightGradientByPhases(op: OpBuilder, { axes, group }: ConvGeometry, { x, w, dy }: ConvOperands): Value {
  const [vertical, horizontal] = axes as readonly [WindowAxis, WindowAxis];
  const { stride } = vertical;
  const [m, c] = dimsOf(w) as [number, number];
  const count = (axis: WindowAxis) => Math.ceil(axis.size / stride);
  // Rows of phases that the windows read: size(dy) - 1 + ⌈k/s⌉.
  const rows = axes.map((axis, i) => (dimsOf(dy)[i + 2] as number) - 1 + count(axis));
  const ends = axes.map((axis, i) => stride * (rows[i] as number) - (dimsOf(x)[i + 2] as number) - axis.padBegin);
  const padded = op.pad(x, [0, 0, vertical.padBegin, horizontal.padBegin, 0, 0, ...ends]);
  const [height, width] = rows as [number, number];
  // Two moves of one axis each: rows of whole columns, then whole rows, cost half of one that moves both.
  const columns = op.transpose(op.reshape(padded, [-1, c, height * stride, width, stride]), [0, 4, 1, 2, 3]);
  const split = op.transpose(op.reshape(columns, [-1, c, height, stride, width]), [0, 3, 1, 2, 4]);
  const phases = op.reshape(split, [-1, stride * stride * c, height, width]);
  const small = axes.map((axis) => ({ size: count(axis), stride: 1, dilation: 1, padBegin: 0, padEnd: 0 }));
  const [kh, kw] = small.map(({ size }) => size) as [number, number];
  const all = weightGradientByRows(op, { axes: small, group }, { x: phases, dy, weightDims: [m, stride * stride * c, kh, kw] });
  // [M, s of columns, s of rows, C, ⌈k/s⌉, ⌈k/s⌉] to [M, C, ⌈k/s⌉·s, ⌈k/s⌉·s]: position i = a·s + phase.
  const placed = op.transpose(op.reshape(all, [m, stride, stride, c, kh, kw]), [0, 3, 4, 2, 5, 1]);
  const full = op.reshape(placed, [m, c, kh * stride, kw * stride]);
  return op.slice(full, [
    { axis: 2, start: 0, end: vertical.size },
    { axis: 3, start: 0, end: horizontal.size },
  ]);
}
