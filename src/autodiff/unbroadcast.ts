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

/** Sizes of the target, as many as the gradient has axes: 1 for those that it has not. */
function paddedSizes(at: OpBuilder, to: Value, from: Value): Value {
  const missing = at.sub(at.shape(from), at.shape(to));
  return at.concat([at.expand(at.scalar("int64", 1), missing), to], 0);
}

/** Providers take tensors of up to 8 axes. */
const mostAxes = 8;

/**
 * Whether an axis was repeated is found from the shapes at run time. The axes summed are constants all the same, as OpenVINO
 * wants them: an axis of size d, of size t in the target, becomes the pair (t, d / max(t, 1)), whose second is summed.
 * An axis that was not repeated has t = d; one that was, or that the target has not, has t = 1; t = 0 has d = 0.
 */
function unbroadcastAtRunTime(op: OpBuilder, gradient: Value, target: Value): Value {
  const at = op.scope("unbroadcast");
  const to = at.shape(target);
  const from = at.shape(gradient);
  const padded = paddedSizes(at, to, from);
  const rank = gradient.shape?.length;
  if (rank === undefined || 2 * rank > mostAxes) return sumOverFoundAxes(at, gradient, { from, padded, to });
  const columns = [padded, at.div(from, at.max(padded, 1))].map((sizes) => at.unsqueeze(sizes, [1]));
  const pairs = at.reshape(at.concat(columns, 1), [-1]);
  const split = at.emit("Reshape", [gradient, pairs], { allowzero: 1 });
  const seconds = Array.from({ length: rank }, (_, axis) => 2 * axis + 1);
  return at.emit("Reshape", [at.reduceSum(split, seconds), to], { allowzero: 1 });
}

/** The same where the number of axes is not known, or is large: the axes are those of size 1 in the target alone. */
function sumOverFoundAxes(at: OpBuilder, gradient: Value, { from, padded, to }: Readonly<Record<"from" | "padded" | "to", Value>>): Value {
  const differs = at.and(at.equal(padded, 1), at.not(at.equal(from, 1)));
  const axes = at.emit("Squeeze", [at.emit("NonZero", [differs]), at.ints([0])]);
  const summed = at.emit("ReduceSum", [gradient, axes], { keepdims: 1, noop_with_empty_axes: 1 });
  return at.emit("Reshape", [summed, to], { allowzero: 1 });
}
