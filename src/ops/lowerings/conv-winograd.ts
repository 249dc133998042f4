/**
 * A convolution of images by Winograd's minimal filters along rows: with 3 columns in the kernel it makes half the products.
 * What remains of it is one convolution by the kernel's rows, in a group of its own for each point of the filter.
 *
 * After A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, but in one direction: in both, the
 * transforms of a tile would be many small products.
 */

import { isStatic } from "../../ir/dims.ts";
import { tensorOf } from "../../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { ConvInputs } from "./conv-bands.ts";
import { type ConvGeometry, convAttributes, extent, type WindowAxis } from "./conv-geometry.ts";
import { wholeKernel } from "./conv-taps.ts";
import { productCount, unitPoint } from "./minimal-filter.ts";
import { imageMatrix, type Line, lineOf, resultMatrix, tapMatrix } from "./winograd-line.ts";

/** The convolution's sizes: those of an image, of its result and of the kernel's channels. */
export interface WinogradForm {
  readonly line: Line;
  readonly vertical: WindowAxis;
  readonly group: number;
  /** Of a batch; 1 where that is not known. */
  readonly images: number;
  readonly image: readonly [channels: number, height: number, width: number];
  readonly result: readonly [channels: number, height: number, width: number];
}

/** Of two dimensions, stride 1 along rows and 2 to 5 columns in the kernel; `undefined` otherwise. Sizes but N have to be known. */
export function winogradForm({ axes, group }: ConvGeometry, { x, kernel }: Pick<ConvInputs, "x" | "kernel">): WinogradForm | undefined {
  const [vertical, horizontal] = axes;
  const [images, ...image] = dimsOf(x);
  const m = dimsOf(kernel.w)[0];
  if (vertical === undefined || horizontal === undefined || axes.length !== 2 || x.dtype !== "float32" || !isStatic(image) || typeof m !== "number")
    return undefined;
  const [c, height, width] = image as [number, number, number];
  const along = (axis: WindowAxis, size: number) => Math.floor((size + axis.padBegin + axis.padEnd - extent(axis)) / axis.stride) + 1;
  const result = [m, along(vertical, height), along(horizontal, width)] as const;
  const line = lineOf(horizontal, width, result[2]);
  return line && result.every((size) => size > 0)
    ? { line, vertical, group, images: typeof images === "number" ? images : 1, image: [c, height, width], result }
    : undefined;
}

/**
 * What an element takes in multiplications of a large product, of which two cores made 100 to 105 a nanosecond: moved in runs
 * of a row's tiles; passed once more, for an activation that is not fused; made of a kernel's taps, once for all images; and
 * copied as a column of the product, which the runtime does on one thread where a group has fewer pixels than channels.
 */
const [moved, passed, made, expanded] = [45, 20, 150, 60];

/** What a node takes beside its arithmetic, 5 µs, in such multiplications: it counts where maps are tiny. */
export const nodeCost = 5e5;

/** Nodes beyond those of one convolution. */
const moreNodes = 9;

/** The share of another form's cost that minimal filters may take: they have to make up for the digits that they lose. */
export const worthIt = 0.9;

/** Multiplications, with all else in their terms, for one image. */
export function winogradCost({ line, vertical, group, images, image: [c, height, width], result: [m, rows, columns] }: WinogradForm): number {
  const tiles = line.tiles.length;
  const atPoints = productCount * tiles;
  const taps = (c / group) * vertical.size;
  const products = atPoints * rows * m * taps;
  const transforms = atPoints * (width * c * height + columns * m * rows);
  const copies = m / group > rows * tiles ? expanded * atPoints * rows * c * vertical.size : 0;
  const perBatch = made * m * taps * line.axis.size + moreNodes * nodeCost;
  return products + transforms + copies + moved * atPoints * m * rows + passed * columns * m * rows + perBatch / images;
}

/** `[M, C/g, kh, kw]` to `[points·M, C/g, kh, 1]`. */
function kernelAtPoints(op: OpBuilder, { line, vertical, group, image: [c], result: [m] }: WinogradForm, kernel: ConvInputs["kernel"]) {
  const taps = op.reshape(wholeKernel(op, kernel), [-1, line.axis.size]);
  return op.reshape(op.matmul(tapMatrix(op, line), op.transpose(taps, [1, 0])), [productCount * m, c / group, vertical.size, 1]);
}

export function convolveByWinograd(op: OpBuilder, form: WinogradForm, { x, kernel, bias }: ConvInputs) {
  const { line, vertical, group, image, result } = form;
  const [[c, height, width], [m, rows, columns]] = [image, result];
  const tiles = line.tiles.length;
  const unit = { size: 1, stride: 1, dilation: 1, padBegin: 0, padEnd: 0 };
  const attributes = convAttributes({ axes: [vertical, unit], group: productCount * group });
  // Before the image: of a node's inputs the runtime makes the younger first, and kernels could all be made before the first of them is needed.
  const weight = kernelAtPoints(op, form, kernel);
  const lines = op.reshape(x, [-1, 1, c * height, width]);
  const atPoints = op.reshape(op.matmul(lines, imageMatrix(op, line)), [-1, productCount * c, height, tiles]);
  const zeros = (count: number) => op.constant(tensorOf("float32", [count], new Float32Array(count)));
  const offset = bias && op.concat([zeros(unitPoint * m), bias, zeros((productCount - 1 - unitPoint) * m)], 0);
  const products = op.emit("Conv", offset === undefined ? [atPoints, weight] : [atPoints, weight, offset], attributes);
  const byLine = op.transpose(op.reshape(products, [-1, productCount, m * rows, tiles]), [0, 2, 1, 3]);
  const results = op.matmul(op.reshape(byLine, [-1, m * rows, productCount * tiles]), resultMatrix(op, line));
  return op.reshape(results, [-1, m, rows, columns]);
}
