/** Window geometry of a convolution, with explicit pads; shared by the lowerings of its gradients. */

import type { Value } from "../../ir/graph.ts";
import { assert } from "../../support/errors.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { type WindowAttributes, windowAxes } from "../catalog/network.ts";

export interface WindowAxis {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  readonly padBegin: number;
  readonly padEnd: number;
}

export interface ConvGeometry {
  /** Per spatial axis. */
  readonly axes: readonly WindowAxis[];
  readonly group: number;
}

/** Operands of a convolution y = x ∗ w, and the gradient at y. */
export interface ConvOperands {
  readonly x: Value;
  readonly w: Value;
  readonly dy: Value;
}

/** @throws BugError where pads are still implied by `auto_pad`: normalization makes them explicit. */
export function convGeometry(attrs: WindowAttributes & { group: number }, kernel: readonly number[]): ConvGeometry {
  assert(attrs.auto_pad === "NOTSET" || attrs.auto_pad === "VALID", "auto_pad is made explicit by normalization");
  const pads = attrs.auto_pad === "VALID" ? undefined : attrs.pads;
  return { axes: windowAxes({ ...attrs, pads }, kernel), group: attrs.group };
}

/** Pixels that one window spans. */
export function extent(axis: WindowAxis): number {
  return (axis.size - 1) * axis.dilation + 1;
}

export function convAttributes({ axes, group }: ConvGeometry) {
  return {
    dilations: axes.map((axis) => axis.dilation),
    group,
    kernel_shape: axes.map((axis) => axis.size),
    pads: [...axes.map((axis) => axis.padBegin), ...axes.map((axis) => axis.padEnd)],
    strides: axes.map((axis) => axis.stride),
  };
}

/** All choices of one item per list, those of the last list fastest. */
export function combinations<T>(lists: readonly (readonly T[])[]): readonly (readonly T[])[] {
  return lists.reduce<readonly (readonly T[])[]>((all, list) => all.flatMap((before) => list.map((item) => [...before, item])), [[]]);
}

/** All positions of a kernel, last axis fastest. */
export function kernelPositions(sizes: readonly number[]): readonly (readonly number[])[] {
  return combinations(sizes.map((size) => Array.from({ length: size }, (_, i) => i)));
}

/** `[N, g·C, …]` to `[N, g, C, pixels]`. */
export function inGroups(op: OpBuilder, value: Value, group: number, channels: number): Value {
  const [images] = dimsOf(value);
  if (typeof images === "number") return op.reshape(value, [images, group, channels, -1]);
  return op.reshape(value, op.concat([op.dim(value, 0), op.ints([group, channels, -1])], 0));
}
