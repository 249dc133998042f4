/** Reductions: the gradient is repeated along the reduced axes, weighted by each element's share. */

import { isStatic, productOfDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { reductionAxes } from "../../ops/catalog/reduction.ts";
import { bug } from "../../support/errors.ts";
import { defineGradients, nonDifferentiable, type RuleContext } from "../registry.ts";
import { signOf } from "./sign.ts";

interface Reduced {
  readonly axes: readonly number[];
  /** `dy` and `y` with the reduced axes kept at 1. */
  readonly dy: Value;
  readonly y: Value;
}

function reduced({ op, node, x: [x], y: [y], dy, optional, attrs }: RuleContext<"ReduceSum">): Reduced {
  const rank = dimsOf(x).length;
  const axes = reductionAxes({ op: node.op, x: node.inputs }, rank) ?? bug(`${node.op} with axes made at run time`);
  const noop = attrs.noop_with_empty_axes !== 0 && optional(1) !== undefined && dimsOf(optional(1) as Value)[0] === 0;
  if (attrs.keepdims !== 0 || noop) return { axes: noop ? [] : axes, dy, y };
  const sorted = [...axes].sort((a, b) => a - b);
  return { axes, dy: op.unsqueeze(dy, sorted), y: op.unsqueeze(y, sorted) };
}

/** Number of elements that each output sums up, as a scalar of the type of `like`. */
function countAlong(op: OpBuilder, x: Value, axes: readonly number[], like: Value): Value {
  const count = productOfDims(axes.map((axis) => dimsOf(x)[axis] ?? 1));
  if (typeof count === "number") return op.scalar(like.dtype, count);
  const sizes = axes.map((axis) => op.squeeze(op.dim(x, axis), [0]));
  return op.cast(
    sizes.reduce((a, b) => op.mul(a, b)),
    like.dtype,
  );
}

function spread(op: OpBuilder, dy: Value, x: Value): Value {
  return isStatic(x.shape) && isStatic(dy.shape) && productOfDims(x.shape) === productOfDims(dy.shape) ? op.reshapeLike(dy, x) : op.expandLike(dy, x);
}

function sharedExtremum(context: RuleContext<"ReduceSum">) {
  const {
    op,
    x: [x],
  } = context;
  const { axes, dy, y } = reduced(context);
  const hits = op.cast(op.equal(x, y), dy.dtype);
  return [op.mul(hits, op.div(dy, op.reduceSum(hits, axes, true)))];
}

/**
 * The product of the others: y/x, or without division by 0 where zeros are: one zero takes the product of the rest,
 * two leave nothing.
 */
function productOfOthers(context: RuleContext<"ReduceProd">): Value {
  const {
    op,
    x: [x],
  } = context;
  const { axes } = reduced(context as unknown as RuleContext<"ReduceSum">);
  const zero = op.equal(x, 0);
  const zeros = op.reduceSum(op.cast(zero, x.dtype), axes, true);
  const rest = op.where(zero, 1, x);
  const product = op.emit("ReduceProd", [rest, op.ints(axes)], { keepdims: 1 });
  const alone = op.cast(op.equal(op.sub(zeros, op.cast(zero, x.dtype)), 0), x.dtype);
  return op.mul(op.div(product, rest), alone);
}

export const reduction = defineGradients({
  ReduceSum: (context) => [spread(context.op, reduced(context).dy, context.x[0])],
  ReduceMean(context) {
    const {
      op,
      x: [x],
    } = context;
    const { axes, dy } = reduced(context);
    return [spread(op, op.div(dy, countAlong(op, x, axes, dy)), x)];
  },
  ReduceSumSquare: (context) => [context.op.mul(context.op.mul(context.x[0], 2), reduced(context).dy)],
  // The gradient at 0 is 0, as in PyTorch.
  ReduceL2(context) {
    const {
      op,
      x: [x],
    } = context;
    const { dy, y } = reduced(context);
    const safe = op.where(op.equal(y, 0), 1, y);
    return [op.mul(x, op.div(dy, safe))];
  },
  ReduceL1: (context) => [context.op.mul(signOf(context.op, context.x[0]), reduced(context).dy)],
  ReduceLogSum(context) {
    const { dy, y } = reduced(context);
    return [spread(context.op, context.op.mul(dy, context.op.exp(context.op.neg(y))), context.x[0])];
  },
  // d log Σ e^x = softmax.
  ReduceLogSumExp(context) {
    const {
      op,
      x: [x],
    } = context;
    const { dy, y } = reduced(context);
    return [op.mul(dy, op.exp(op.sub(x, y)))];
  },
  ReduceProd: (context) => [context.op.mul(productOfOthers(context), reduced(context as unknown as RuleContext<"ReduceSum">).dy)],
  ReduceMax: sharedExtremum,
  ReduceMin: sharedExtremum,
  // The sum of the later ones: dx_i = Σ_{j ≥ i} dy_j.
  CumSum: ({ op, x: [, axis], dy, attrs }) => [op.emit("CumSum", [dy, axis], { exclusive: attrs.exclusive, reverse: attrs.reverse === 0 ? 1 : 0 })],
  TopK({ op, x: [x], y: [, indices], dy, attrs }) {
    return [op.emit("ScatterElements", [op.filledLike(x, 0), indices, dy], { axis: attrs.axis, reduction: "add" })];
  },
  ArgMax: nonDifferentiable,
  ArgMin: nonDifferentiable,
});
