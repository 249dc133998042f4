/**
 * Interpolation along one axis as a matrix: row o holds the weights with which output o reads the inputs. Written in
 * the graph, so that it serves dynamic sizes too; the runtime folds it when the sizes are static.
 */

import type { Value } from "../../ir/graph.ts";
import { OhemgenError } from "../../support/errors.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { OpAttributes } from "../catalog.ts";

export interface AxisSizes {
  /** Sizes as float32 scalars. */
  readonly input: Value;
  readonly output: Value;
  /** output / input, or the scale the node gives. */
  readonly scale: Value;
}

/** Size of an axis as a float32 scalar. */
export function sizeAlong(op: OpBuilder, value: Value, axis: number): Value {
  const dim = dimsOf(value)[axis];
  return typeof dim === "number" ? op.scalar("float32", dim) : op.cast(op.squeeze(op.dim(value, axis), [0]), "float32");
}

/** `[size]`: 0, 1, 2 … as float32. */
export function counting(op: OpBuilder, size: Value): Value {
  const count = op.cast(size, "int64");
  return op.cast(op.emit("Range", [op.scalar("int64", 0), count, op.scalar("int64", 1)]), "float32");
}

/** Position in the input that each output reads, `[output]`, as the ONNX specification of Resize defines it. */
function sourceCoordinates(op: OpBuilder, mode: string, { input, output, scale }: AxisSizes): Value {
  const o = counting(op, output);
  switch (mode) {
    case "half_pixel":
      return op.sub(op.div(op.add(o, 0.5), scale), 0.5);
    case "pytorch_half_pixel":
      return op.where(op.greater(output, 1), op.sub(op.div(op.add(o, 0.5), scale), 0.5), op.mul(o, 0));
    case "align_corners":
      return op.div(op.mul(o, op.sub(input, 1)), op.max(op.sub(output, 1), 1));
    case "asymmetric":
      return op.div(o, scale);
    case "tf_half_pixel_for_nn":
      // The runtime leaves an axis alone whose size stays, where this formula is off by half an element.
      return op.where(op.equal(scale, 1), o, op.div(op.add(o, 0.5), scale));
    case "half_pixel_symmetric": {
      const adjustment = op.div(output, op.mul(scale, input));
      const offset = op.mul(op.div(input, 2), op.sub(1, adjustment));
      return op.add(offset, op.sub(op.div(op.add(o, 0.5), scale), 0.5));
    }
    default:
      throw new OhemgenError(`Resize: coordinate_transformation_mode ${mode} has no gradient rule`, {
        code: "E202",
        hint: "Freeze the weights before this Resize.",
      });
  }
}

function nearest(op: OpBuilder, source: Value, mode: string): Value {
  switch (mode) {
    case "floor":
      return op.floor(source);
    case "ceil":
      return op.emit("Ceil", [source]);
    case "round_prefer_ceil":
      return op.floor(op.add(source, 0.5));
    default:
      return op.emit("Ceil", [op.sub(source, 0.5)]);
  }
}

/** Keys' cubic kernel at distance |t| ≤ 2, with coefficient a. */
function cubicWeight(op: OpBuilder, distance: Value, a: number): Value {
  const t = op.abs(distance);
  const near = op.add(op.mul(op.mul(t, t), op.sub(op.mul(t, a + 2), a + 3)), 1);
  const far = op.sub(op.mul(op.add(op.mul(op.sub(t, 5), t), 8), op.mul(t, a)), 4 * a);
  return op.where(op.lessOrEqual(t, 1), near, op.where(op.less(t, 2), far, op.mul(t, 0)));
}

const bounded = (op: OpBuilder, position: Value, input: Value) => op.min(op.max(position, 0), op.sub(input, 1));

/** `[output, input]` */
export function interpolationMatrix(op: OpBuilder, attrs: OpAttributes<"Resize">, sizes: AxisSizes): Value {
  const source = op.unsqueeze(sourceCoordinates(op, attrs.coordinate_transformation_mode, sizes), [1]);
  const column = op.unsqueeze(counting(op, sizes.input), [0]);
  if (attrs.mode === "nearest") {
    const row = bounded(op, nearest(op, source, attrs.nearest_mode), sizes.input);
    return op.cast(op.equal(row, column), "float32");
  }
  if (attrs.mode === "linear") {
    // Outside the input the border pixel counts whole.
    return op.relu(op.sub(1, op.abs(op.sub(bounded(op, source, sizes.input), column))));
  }
  const base = op.floor(source);
  const taps = [-1, 0, 1, 2].map((tap) => {
    const position = op.add(base, tap);
    const weight = cubicWeight(op, op.sub(source, position), attrs.cubic_coeff_a);
    const at = attrs.exclude_outside ? position : bounded(op, position, sizes.input);
    return op.mul(weight, op.cast(op.equal(at, column), "float32"));
  });
  const matrix = op.sum(taps);
  return attrs.exclude_outside ? op.div(matrix, op.reduceSum(matrix, [1], true)) : matrix;
}
