/** Gradient of a convolution at its weight: dW[m,c,k] = Σ over pixels of dy[m] · (x[c] shifted by k). */

import { isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { bug } from "../../support/errors.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { Provider } from "../provider.ts";
import type { ConvGeometry, ConvOperands } from "./conv-geometry.ts";
import { croppedCost, weightGradientCropped } from "./conv-weight-cropped.ts";
import { weightGradientByGroupedConvolution } from "./conv-weight-grouped.ts";
import { weightGradientByPhases } from "./conv-weight-phases.ts";
import { weightGradientByColumns, weightGradientByPosition } from "./conv-weight-position.ts";
import { rowsCost, weightGradientByRows } from "./conv-weight-rows.ts";
import { weightForm, weightGradientByWinograd, winogradWeightCost } from "./conv-weight-winograd.ts";
import { worthIt } from "./conv-winograd.ts";
import { imageSum } from "./image-sum.ts";

export const weightGradientMethods = ["product", "rows", "winograd", "cropped", "phases", "columns", "grouped-convolution", "position"] as const;

export type WeightGradientMethod = (typeof weightGradientMethods)[number];

/** 1×1, stride 1, one group: dW = dY·Xᵀ over all pixels. */
function byProduct(op: OpBuilder, { x, w, dy }: ConvOperands): Value {
  const [m, c] = dimsOf(w) as [number, number];
  const flat = (value: Value, channels: number) => op.reshape(value, op.concat([op.dim(value, 0), op.ints([channels, -1])], 0));
  const product = op.matmul(flat(dy, m), op.transpose(flat(x, c), [0, 2, 1]));
  return op.reshapeLike(imageSum(op, product), w);
}

/** Whether a method computes the gradient of such a convolution; which are worth it is another question. */
export function canCompute(method: WeightGradientMethod, geometry: ConvGeometry, operands: ConvOperands): boolean {
  const { axes, group } = geometry;
  const { x, w, dy } = operands;
  const unit = axes.every((axis) => axis.stride === 1);
  const known = isStatic([...dimsOf(x).slice(2), ...dimsOf(dy).slice(2)]);
  switch (method) {
    case "product":
      return unit && group === 1 && axes.every((axis) => axis.size === 1 && axis.padBegin === 0 && axis.padEnd === 0);
    case "rows":
      return unit && axes.length === 2;
    case "winograd":
      return weightForm(geometry, operands) !== undefined;
    case "cropped":
      return unit && known;
    case "phases":
      return known && group === 1 && axes.length === 2 && axes.every((axis) => axis.stride === axes[0]?.stride && axis.dilation === 1);
    case "columns":
      return group === 1;
    case "grouped-convolution":
      return dimsOf(w)[1] === 1 && dimsOf(w)[0] === group && isStatic(dimsOf(x)) && known;
    case "position":
      return true;
  }
}

/**
 * The cheapest form by shape, after the measurements in the benchmark page: products for 1×1, shifted rows for stride 1 (on the
 * CPU those of minimal filters, or products of what lies inside the image), and for strides a grouped convolution (depthwise),
 * phases, columns (few channels) or one product per position.
 */
export function chooseWeightGradient(provider: Provider, geometry: ConvGeometry, operands: ConvOperands): WeightGradientMethod {
  const { axes } = geometry;
  const can = (method: WeightGradientMethod) => canCompute(method, geometry, operands);
  if (can("product")) return "product";
  if (can("rows")) return can("cropped") ? ofUnitStride(provider, geometry, operands) : "rows";
  if (axes.length === 2 && can("grouped-convolution")) return "grouped-convolution";
  if (can("phases") && axes.every(({ size }) => size > 1)) return "phases";
  return can("columns") && Number(dimsOf(operands.w)[1]) <= 8 ? "columns" : "position";
}

function ofUnitStride(provider: Provider, geometry: ConvGeometry, operands: ConvOperands): WeightGradientMethod {
  const [cropped, rows] = [croppedCost(geometry, operands), rowsCost(geometry, operands)];
  const form = provider === "cpu" ? weightForm(geometry, operands) : undefined;
  if (form !== undefined && winogradWeightCost(form) < worthIt * Math.min(cropped, rows)) return "winograd";
  return cropped < rows ? "cropped" : "rows";
}

/**
 * @param operands x `[N,C,…]`, w `[M,C/g,k…]` (only its shape is read), dy `[N,M,…]`
 * @returns dW in the shape of w
 */
export function convWeightGradient(
  op: OpBuilder,
  geometry: ConvGeometry,
  operands: ConvOperands,
  method: WeightGradientMethod = chooseWeightGradient(op.provider, geometry, operands),
): Value {
  switch (method) {
    case "product":
      return byProduct(op, operands);
    case "rows":
      return weightGradientByRows(op, geometry, { ...operands, weightDims: dimsOf(operands.w) as readonly number[] });
    case "winograd":
      return weightGradientByWinograd(op, weightForm(geometry, operands) ?? bug("no minimal filter"), operands);
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
