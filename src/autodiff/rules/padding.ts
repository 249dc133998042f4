/** Pad: the gradient of what was put around goes back to the elements it was copied from. */

import type { Dim } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { constantInts } from "../../ops/define.ts";
import { defineGradients, type RuleContext } from "../registry.ts";
import { placed, scatterAdd } from "./placing.ts";

/** Constant pads: the middle for x, the rest for the padding value. */
function constantGradient({ op, x: [, pads], optional, dy, needs }: RuleContext): (Value | undefined)[] {
  const amounts = constantInts(pads);
  const dx =
    amounts === undefined
      ? op.emit("Pad", [dy, op.emit("Neg", [pads])])
      : op.pad(
          dy,
          amounts.map((amount) => -amount),
        );
  const value = optional(2);
  const rest = value !== undefined && needs(2) ? op.reshapeLike(op.sub(op.reduceSum(dy), op.reduceSum(dx)), value) : undefined;
  return [dx, undefined, rest];
}

/** Along one axis: the middle of `dy`, plus each border turned back onto the elements it repeats. */
function foldedBack(op: OpBuilder, x: Value, dy: Value, axis: number, begin: number, end: number, mode: string): Value {
  const cut = (start: number, stop?: number) => op.slice(dy, [{ axis, start, ...(stop === undefined ? {} : { end: stop }) }]);
  const parts = [end > 0 ? cut(begin, -end) : cut(begin)];
  const border = (piece: Value) => (mode === "edge" ? op.reduceSum(piece, [axis], true) : op.slice(piece, [{ axis, start: -1, step: -1 }]));
  // reflect repeats the elements 1, 2 … from the border; edge the element 0.
  const offset = mode === "edge" ? 0 : 1;
  if (begin > 0) parts.push(placed(op, x, border(cut(0, begin)), axis, offset));
  if (end > 0) {
    const piece = border(cut(-end));
    const width = mode === "edge" ? 1 : end;
    parts.push(placed(op, x, piece, axis, op.sub(op.dim(x, axis), offset + width)));
  }
  return op.sum(parts);
}

/** Position that each place along a padded axis was copied from, as a vector. */
function copiedFrom(op: OpBuilder, x: Value, dy: Value, axis: number, begin: Value, mode: string): Value {
  const size = op.dim(x, axis);
  const places = op.emit("Range", [op.scalar("int64", 0), op.squeeze(op.dim(dy, axis), [0]), op.scalar("int64", 1)]);
  const from = op.sub(places, begin);
  if (mode === "edge") return op.max(op.min(from, op.sub(size, 1)), 0);
  // Back and forth with the period 2(n - 1).
  const period = op.max(op.mul(op.sub(size, 1), 2), 1);
  const within = op.emit("Mod", [from, period]);
  return op.min(within, op.sub(period, within));
}

function copiesGradient({ op, x: [x, pads], dy, attrs }: RuleContext<"Pad">): Value {
  const amounts = constantInts(pads);
  const rank = dimsOf(x).length;
  let result = dy;
  for (let axis = 0; axis < rank; axis++) {
    const [begin, end] = [amounts?.[axis], amounts?.[axis + rank]];
    if (begin === 0 && end === 0) continue;
    const size = dimsOf(x)[axis] as Dim;
    // Reflection goes back and forth only where the pads are larger than what there is to reflect.
    const once = attrs.mode === "edge" || typeof size === "string" || Math.max(begin ?? 0, end ?? 0) < size;
    if (begin !== undefined && end !== undefined && once) result = foldedBack(op, x, result, axis, begin, end, attrs.mode);
    else {
      const first = begin === undefined ? op.slice(pads, [{ axis: 0, start: axis, end: axis + 1 }]) : op.ints([begin]);
      result = scatterAdd(op, x, result, copiedFrom(op, x, result, axis, first, attrs.mode), axis);
    }
  }
  return result;
}

export const padding = defineGradients({
  Pad: (context) => (context.attrs.mode === "constant" ? constantGradient(context) : [copiesGradient(context)]),
});
