/** Gradient of a convolution at its weight: dW[m,c,k] = Σ over pixels of dy[m] · (x[c] shifted by k). */

import { isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { ConvGeometry, ConvOperands } from "./conv-geometry.ts";
import { croppedCost, weightGradientCropped } from "./conv-weight-cropped.ts";
import { weightGradientByGroupedConvolution } from "./conv-weight-grouped.ts";
import { weightGradientByPhases } from "./conv-weight-phases.ts";
import { weightGradientByColumns, weightGradientByPosition } from "./conv-weight-position.ts";
import { rowsCost, weightGradientByRows } from "./conv-weight-rows.ts";

export type WeightGradientMethod = "product" | "rows" | "cropped" | "phases" | "position" | "columns" | "grouped-convolution";

/** 1×1, stride 1, one group: dW = dY·Xᵀ over all pixels. */
function byProduct(op: OpBuilder, { x, w, dy }: ConvOperands): Value {
  const [m, c] = dimsOf(w) as [number, number];
  const flat = (value: Value, channels: number) => op.reshape(value, op.concat([op.dim(value, 0), op.ints([channels, -1])], 0));
  const product = op.matmul(flat(dy, m), op.transpose(flat(x, c), [0, 2, 1]));
  return op.reshapeLike(op.reduceSum(product, [0]), w);
}

function canUsePhases({ axes }: ConvGeometry, x: Value): boolean {
  const [stride] = axes.map((axis) => axis.stride);
  return isStatic(dimsOf(x).slice(2)) && axes.every((axis) => axis.stride === stride && axis.dilation === 1 && axis.size > 1);
}

/**
 * The cheapest form by shape, after the measurements in the benchmark page: products for 1×1, shifted rows for
 * stride 1 (or products of what lies inside the image), and for strides a grouped convolution (depthwise), columns (few channels) or one product per position.
 */
export function chooseWeightGradient({ axes, group }: ConvGeometry, { x, w, dy }: ConvOperands): WeightGradientMethod {
  const [m, c] = dimsOf(w) as [number, number];
  const unit = axes.every((axis) => axis.stride === 1);
  const unpadded = axes.every((axis) => axis.size === 1 && axis.padBegin === 0 && axis.padEnd === 0);
  if (unit && unpadded && group === 1) return "product";
  if (axes.length === 2 && unit) {
    const known = isStatic([...dimsOf(x).slice(2), ...dimsOf(dy).slice(2)]);
    return known && croppedCost({ axes, group }, { x, w, dy }) < rowsCost({ axes, group }, { x, w, dy }) ? "cropped" : "rows";
  }
  const depthwise = axes.length === 2 && c === 1 && m === group && isStatic(dimsOf(x));
  if (depthwise) return "grouped-convolution";
  if (group === 1 && axes.length === 2 && canUsePhases({ axes, group }, x)) return "phases";
  return group === 1 && c <= 8 ? "columns" : "position";
}

/**
 * @param operands x `[N,C,…]`, w `[M,C/g,k…]` (only its shape is read), dy `[N,M,…]`
 * @returns dW in the shape of w
 */
export function convWeightGradient(
  op: OpBuilder,
  geometry: ConvGeometry,
  operands: ConvOperands,
  method: WeightGradientMethod = chooseWeightGradient(geometry, operands),
): Value {
  switch (method) {
    case "product":
      return byProduct(op, operands);
    case "rows":
      return weightGradientByRows(op, geometry, { ...operands, weightDims: dimsOf(operands.w) as readonly number[] });
    case "cropped":
      return weightGradientCropped(op, geometry, operands);
    case "phases":
      return weightGradientByPhases(op, geometry, operands);
    case "columns":
      return weightGradientByColumns(op, geometry, operands);
    case "grouped-convolution":
      return weightGradientByGroupedConvolution(op, geometry, operands);
    case "position":
      return weightGradientByPosition(op, geometry, operands);
  }
}
