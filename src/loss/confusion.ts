/** Predictions at label size and how they meet the labels; only valid pixels are counted, exactly. */

import type { Value } from "../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { readLabels } from "./labels.ts";
import type { ResolvedLossOptions } from "./options.ts";
import { exactSum, filled, isPixelCountSmall, knownSize, reshapeTo } from "./pixels.ts";
import { upsamplingOf } from "./upsample.ts";

export interface Confusion {
  /** int64 [C,C], [2,2] for one channel: row = label, column = prediction. */
  readonly confusion: Value;
  /** int32 [N,H,W] */
  readonly prediction: Value;
}

/**
 * Logits are upsampled as for the loss, then the largest one decides; one channel: class 1 where it is above 0.
 * @param logits float32 [N,C,h,w]
 * @param labels uint8, int32 or int64 [N,H,W]
 */
export function confusion(op: OpBuilder, logits: Value, labels: Value, options: Pick<ResolvedLossOptions, "ignoreIndex" | "upsample">): Confusion {
  const binary = dimsOf(logits)[1] === 1;
  const classes = binary ? op.scalar("int32", 2) : op.reshape(op.cast(op.dim(logits, 1), "int32"), []);
  const read = readLabels(op.scope("labels"), labels, classes, options.ignoreIndex);
  const { grid, index, valid } = read;
  const scope = op.scope("upsample");
  const large = upsamplingOf(scope, logits, grid, options.upsample).forward(scope, logits);
  const scores = reshapeTo(op, large, [grid.images, op.dim(large, 1), grid.area]);
  const decided = binary ? op.cast(op.greater(scores, 0), "int32") : largestClass(op.scope("prediction"), scores, classes);
  const prediction = reshapeTo(op, decided, [grid.images, grid.height, grid.width]);
  const flat = reshapeTo(op, decided, [grid.images, 1, grid.area]);
  // Float32 counters are exact up to 2²⁴: one set per image, per line where images may be larger and the table is
  // small. Pixels that are not valid have a cell of their own.
  const classSize = op.reshape(op.cast(classes, "int64"), [1]);
  const cells = op.mul(classSize, classSize);
  const pair = op.add(op.mul(index, classes), flat);
  const cell = op.where(valid, pair, op.mul(classes, classes));
  const perLine = !isPixelCountSmall(grid.area) && knownSize(cells) <= 1024;
  const rowLength = perLine ? grid.width : grid.area;
  const rows = op.div(grid.total, rowLength);
  const zeros = filled(op, 0, [rows, op.add(cells, 1)]);
  const counted = op.emit("ScatterElements", [zeros, reshapeTo(op, cell, [rows, rowLength]), filled(op, 1, [rows, rowLength])], { axis: 1, reduction: "add" });
  const inside = op.emit("Slice", [counted, op.ints([0]), cells, op.ints([1])]);
  return { confusion: reshapeTo(op, exactSum(op, inside, [0], isPixelCountSmall(grid.total)), [classSize, classSize]), prediction };
}

/** The first class of the largest score, as int32 [N,1,H·W]; a class also where a score is not a number. */
function largestClass(op: OpBuilder, scores: Value, classes: Value): Value {
  // ArgMax makes int64, which WebGPU has hardly a kernel for. The other way takes the same time for some ten classes.
  if (op.provider === "cpu" || op.provider === "cuda") return op.cast(op.argMax(scores, 1, true), "int32");
  const hit = op.cast(op.equal(scores, op.reduceMax(scores, [1], true)), "float32");
  const count = op.cast(classes, "float32");
  // C, C−1 … 1: of several hits the first class has the largest number.
  const falling = op.reshape(op.emit("Range", [count, op.scalar("float32", 0), op.scalar("float32", -1)]), [-1, 1]);
  const first = op.sub(count, op.reduceMax(op.mul(hit, falling), [1], true));
  return op.cast(op.min(first, op.sub(count, 1)), "int32");
}
