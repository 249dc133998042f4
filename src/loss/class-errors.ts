/**
 * The errors of all classes at once: p where the pixel is background, 1 − p at its own class; and for each class a
 * bound below its foreground errors. Made from one number per pixel, so no class is looked at pixel by pixel.
 */

import type { Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { LovaszSets } from "./lovasz-sets.ts";
import { ownClass, wholeNumbers, withOwnClass } from "./own-class.ts";
import { filled, reshapeTo } from "./pixels.ts";
import type { Probabilities } from "./softmax.ts";

export interface ClassErrors {
  /** e, [N,C,H·W]: p but for each pixel's own class. Void pixels are background of every class. */
  readonly all: Value;
  /** e_i[y_i], [N,1,H·W]; of class 0 at void pixels. */
  readonly own: Value;
  /** No foreground error of the class is smaller; 1 for an absent class: [N,C] or [1,C]. */
  readonly lowest: Value;
}

/** Fine enough that next to no background lies between the bound and the smallest error. */
const bins = 1024;

export function classErrors(op: OpBuilder, { all, own }: Probabilities, sets: LovaszSets): ClassErrors {
  const { labels } = sets;
  const ownError = op.abs(op.sub(labels.validMask, own));
  return { all: withOwnClass(op, all, labels, ownError), own: ownError, lowest: lowestErrors(op, ownError, sets) };
}

/** The lower end of the first occupied bin of each class. A scatter that takes the minimum has no kernel on CUDA. */
function lowestErrors(op: OpBuilder, ownError: Value, { labels, perImage }: LovaszSets): Value {
  const { images, area } = labels.grid;
  const bin = op.max(op.cast(op.min(op.mul(ownError, bins), bins - 1), "int32"), 0);
  const columns = op.add(op.mul(ownClass(op, labels), bins), bin);
  const width = op.mul(op.reshape(op.cast(labels.classes, "int64"), [1]), bins);
  const pixels = (x: Value) => reshapeTo(op, x, [images, area]);
  const zeros = filled(op, 0, [images, width]);
  // Void pixels count 0.
  const counted = op.emit("ScatterElements", [zeros, pixels(columns), pixels(labels.validMask)], { axis: 1, reduction: "add" });
  const occupied = op.greater(reshapeTo(op, counted, [images, -1, bins]), 0);
  const first = op.reduceMin(op.where(occupied, wholeNumbers(op, "float32", bins), bins), [2]);
  return op.mul(perImage ? first : op.reduceMin(first, [0], true), 1 / bins);
}
