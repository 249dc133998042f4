/** Undoes broadcasting: sums a gradient over the axes along which its value was repeated. Nothing is guessed. */

import type { Dim } from "../ir/dims.ts";
import { sameShape } from "../ir/dims.ts";
import type { Value } from "../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";

type Repeated = "yes" | "no" | "unknown";

/** Whether an axis of the value was repeated, decided from its own size first. */
function repeated(own: Dim, gradient: Dim): Repeated {
  if (own === gradient) return "no";
  if (own === 1) return "yes";
  return typeof own === "number" ? "no" : "unknown";
}

/** `gradient` (any shape that `target` broadcasts to) reduced to the shape of `target`. */
export function unbroadcast(op: OpBuilder, gradient: Value, target: Value): Value {
  if (sameShape(gradient.shape, target.shape)) return gradient;
  if (gradient.shape === undefined || target.shape === undefined) return unbroadcastAtRunTime(op, gradient, target);
  const from = gradient.shape;
  const to = dimsOf(target);
  const extra = from.length - to.length;
  if (extra < 0) return op.reshapeLike(gradient, target);
  const kinds = to.map((dim, i) => repeated(dim, from[i + extra] as Dim));
  if (kinds.includes("unknown")) return unbroadcastAtRunTime(op, gradient, target);
  const leading = Array.from({ length: extra }, (_, i) => i);
  const summed = leading.length > 0 ? op.reduceSum(gradient, leading) : gradient;
  const axes = kinds.flatMap((kind, i) => (kind === "yes" ? [i] : []));
  return axes.length > 0 ? op.reduceSum(summed, axes, true) : summed;
}

/** Axes found from the shapes at run time: 1 in the target, something else in the gradient. */
function unbroadcastAtRunTime(op: OpBuilder, gradient: Value, target: Value): Value {
  const at = op.scope("unbroadcast");
  const to = at.shape(target);
  const from = at.shape(gradient);
  const missing = at.sub(at.shape(from), at.shape(to));
  const ones = at.expand(at.scalar("int64", 1), missing);
  const padded = at.concat([ones, to], 0);
  const differs = at.and(at.equal(padded, 1), at.not(at.equal(from, 1)));
  const axes = at.emit("Squeeze", [at.emit("NonZero", [differs]), at.ints([0])]);
  const summed = at.emit("ReduceSum", [gradient, axes], { keepdims: 1, noop_with_empty_axes: 1 });
  return at.emit("Reshape", [summed, to], { allowzero: 1 });
}
