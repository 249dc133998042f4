/**
 * Weight gradient by the minimal filters that a convolution takes along rows (conv-winograd.ts). What is linear in the weight has
 * its transpose: dW = Σ over the points of G's row · [(B·x) ∗ (A·dy)], each the gradient of a kernel of one column.
 */

import type { Value } from "../../ir/graph.ts";
import type { OpBuilder } from "../builder.ts";
import type { ConvGeometry, ConvOperands } from "./conv-geometry.ts";
import { moveCost, stackedRows, writeCost } from "./conv-weight-rows.ts";
import { nodeCost, type WinogradForm, winogradForm } from "./conv-winograd.ts";
import { imageSum } from "./image-sum.ts";
import { productCount } from "./minimal-filter.ts";
import { imageMatrixOf, resultMatrixOf, tapMatrix } from "./winograd-line.ts";

/** One group, and stride 1 along columns too. */
export function weightForm(geometry: ConvGeometry, { x, w }: ConvOperands): WinogradForm | undefined {
  return geometry.group === 1 && geometry.axes[0]?.stride === 1 ? winogradForm(geometry, { x, kernel: { w } }) : undefined;
}

/** A transform is a product of few columns, which takes as long as one of so many times its multiplications. */
const narrow = 1.5;

/** Nodes beyond those of stacked rows. */
const moreNodes = 45;

/** Multiplications, and copies in their terms, for one image. */
export function winogradWeightCost({ line, vertical, images, image: [c, height, width], result: [m, rows, columns] }: WinogradForm): number {
  const tiles = line.tiles.length;
  const products = productCount * vertical.size * m * c * (rows * tiles + writeCost);
  const transforms = narrow * productCount * tiles * (width * c * height + columns * m * rows);
  const stacked = vertical.size > 1 ? vertical.size * productCount * tiles * c * rows : 0;
  return products + transforms + moveCost * stacked + (moreNodes * nodeCost) / images;
}

export function weightGradientByWinograd(op: OpBuilder, form: WinogradForm, { x, dy }: Pick<ConvOperands, "x" | "dy">): Value {
  const { line, vertical, image, result } = form;
  const [[c, height, width], [m, rows, columns]] = [image, result];
  const [taps, tiles, kh] = [line.axis.size, line.tiles.length, vertical.size];
  const [lines, seeds] = [op.reshape(x, [-1, c * height, width]), op.reshape(dy, [-1, m * rows, columns])];
  const shifts = { count: kh, first: -vertical.padBegin, step: vertical.dilation };
  // Point by point: what one takes stays in the cache, and the next takes the same memory.
  const points = Array.from({ length: productCount }, (_, point) => {
    const atPoint = op.reshape(op.matmul(lines, imageMatrixOf(op, line, point)), [-1, c, height, tiles]);
    const stacked = stackedRows(op, { value: atPoint, channels: c }, 1, () => op.ints([rows]), { begin: 0, count: rows }, shifts);
    const seed = op.reshape(op.matmul(seeds, resultMatrixOf(op, line, point)), [-1, m, rows * tiles]);
    return imageSum(op, op.matmul(seed, op.transpose(op.reshape(stacked, [-1, c * kh, rows * tiles]), [0, 2, 1])));
  });
  // [points, M·C·kh] to [M·C·kh, kw]: as a product, which moves nothing on its way.
  const joined = op.reshape(op.concat(points, 0), [productCount, -1]);
  return op.reshape(op.matmul(op.transpose(joined, [1, 0]), tapMatrix(op, line)), [m, c, kh, taps]);
}
