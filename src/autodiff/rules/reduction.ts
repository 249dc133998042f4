/** Reductions: the gradient is repeated along the reduced axes, weighted by each element's share. */

import { divideExactly, isStatic, productOfDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import type { OpBuilder } from "../../ops/builder.ts";
import { reductionAxes } from "../../ops/catalog/reduction.ts";
import { constantInts } from "../../ops/define.ts";
import { defineGradients, nonDifferentiable, type RuleContext } from "../registry.ts";
import { signOf } from "./sign.ts";

interface Reduced {
  /** Reduces another tensor of the shape of x along the same axes, keeping them at 1. */
  readonly along: (reduction: "ReduceSum" | "ReduceProd", value: Value) => Value;
  /** `dy` and `y` with the reduced axes kept at 1. */
  readonly dy: Value;
  readonly y: Value;
}

function reduced(context: RuleContext<"ReduceSum">): Reduced {
  const {
    op,
    node,
    x: [x],
    y: [y],
    dy,
    optional,
    attrs,
  } = context;
  const { noop_with_empty_axes: noop } = attrs;
  const along: Reduced["along"] = (reduction, value) => op.emit(reduction, [value, optional(1)], { keepdims: 1, noop_with_empty_axes: noop });
  if (attrs.keepdims !== 0) return { along, dy, y };
  const axes = x.shape === undefined ? undefined : reductionAxes({ op: node.op, x: node.inputs }, x.shape.length);
  if (axes === undefined) {
    // Axes made at run time, or a rank nobody knows: the reduction itself says what the kept shape is.
    const kept = op.emit(node.op as "ReduceSum", [x, optional(1)], { keepdims: 1, noop_with_empty_axes: noop });
    return { along, dy: op.reshapeLike(dy, kept), y: kept };
  }
  if (noop !== 0 && constantInts(optional(1))?.length === 0) return { along, dy, y };
  const sorted = [...axes].sort((a, b) => a - b);
  return { along, dy: op.unsqueeze(dy, sorted), y: op.unsqueeze(y, sorted) };
}

/** Number of elements that each output sums up, as a scalar of the type of `dy`. */
function countAlong(op: OpBuilder, x: Value, dy: Value): Value {
  const count = x.shape === undefined || dy.shape === undefined ? undefined : divideExactly(productOfDims(x.shape), productOfDims(dy.shape));
  if (typeof count === "number") return op.scalar(dy.dtype, count);
  const size = (value: Value) => op.emit("Size", [value]);
  return op.cast(op.div(size(x), op.max(size(dy), 1)), dy.dtype);
}

function spread(op: OpBuilder, dy: Value, x: Value): Value {
  return isStatic(x.shape) && isStatic(dy.shape) && productOfDims(x.shape) === productOfDims(dy.shape) ? op.reshapeLike(dy, x) : op.expandLike(dy, x);
}

function sharedExtremum(context: RuleContext<"ReduceSum">) {
  const {
    op,
    x: [x],
  } = context;
  const { along, dy, y } = reduced(context);
  const hits = op.cast(op.equal(x, y), dy.dtype);
  return [op.mul(hits, op.div(dy, along("ReduceSum", hits)))];
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
  const { along } = reduced(context as unknown as RuleContext<"ReduceSum">);
  const zero = op.equal(x, 0);
  const zeros = along("ReduceSum", op.cast(zero, x.dtype));
  const rest = op.where(zero, 1, x);
  const product = along("ReduceProd", rest);
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
    const { dy } = reduced(context);
    return [spread(op, op.div(dy, countAlong(op, x, dy)), x)];
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
