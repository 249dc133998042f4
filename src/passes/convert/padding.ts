/** Padding: amounts for every axis, negative ones cut before anything is mirrored, and modes that opset 18 lacks. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { constantInts, resolveAxis } from "../../ops/define.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type ConvertContext, defineConverters } from "./registry.ts";

/** Begins, then ends of all axes; those not named are 0. */
function amountsOfAllAxes(op: OpBuilder, pads: Value, axes: readonly number[], rank: number): Value {
  const known = constantInts(pads);
  const result: (number | Value)[] = new Array(2 * rank).fill(0);
  axes.forEach((given, i) => {
    const axis = resolveAxis("Pad", given, rank);
    [i, i + axes.length].forEach((from, end) => {
      result[axis + end * rank] = known?.[from] ?? op.slice(pads, [{ axis: 0, start: from, end: from + 1 }]);
    });
  });
  if (result.every((amount) => typeof amount === "number")) return op.ints(result);
  return op.concat(
    result.map((amount) => (typeof amount === "number" ? op.ints([amount]) : amount)),
    0,
  );
}

/** The same where the axes are made at run time: written into zeros. */
function amountsAtRunTime(op: OpBuilder, pads: Value, axes: Value, rank: number): Value {
  const wide = op.cast(axes, "int64");
  const at = op.where(op.less(wide, 0), op.add(wide, rank), wide);
  return op.emit("ScatterElements", [op.ints(new Array<number>(2 * rank).fill(0)), op.concat([at, op.add(at, rank)], 0), pads]);
}

/** x[-begin:] + x + x[:end] along each axis; more than once around where the pads are larger than the axis. */
function wrapped(op: OpBuilder, x: Value, amounts: readonly number[]): Value {
  const rank = dimsOf(x).length;
  let result = x;
  for (let axis = 0; axis < rank; axis++) {
    const [begin, end] = [amounts[axis] as number, amounts[axis + rank] as number];
    const size = dimsOf(x)[axis];
    if (typeof size === "number" && Math.max(begin, end) > size) {
      const table = Array.from({ length: begin + size + end }, (_, i) => (((i - begin) % size) + size) % size);
      result = op.gather(result, op.ints(table), axis);
      continue;
    }
    const parts = [result];
    if (begin > 0) parts.unshift(op.slice(result, [{ axis, start: -begin }]));
    if (end > 0) parts.push(op.slice(result, [{ axis, start: 0, end }]));
    result = op.concat(parts, axis);
  }
  return result;
}

/** What negative amounts cut away. */
function cropped(op: OpBuilder, x: Value, amounts: readonly number[]): Value {
  const rank = dimsOf(x).length;
  const ranges = Array.from({ length: rank }, (_, axis) => {
    const [begin, end] = [amounts[axis] as number, amounts[axis + rank] as number];
    return { axis, start: Math.max(0, -begin), ...(end < 0 ? { end } : {}) };
  }).filter((range) => range.start > 0 || range.end !== undefined);
  return ranges.length === 0 ? x : op.slice(x, ranges);
}

function pad({ op, node, x, input, ints, float, string, version, same }: ConvertContext): readonly (Value | undefined)[] {
  const mode = string("mode", "constant");
  let [amounts, value] = [x[1], x[2]];
  if (version < 11) {
    const fill = float("value", 0);
    amounts = op.ints(ints("pads") ?? []);
    value = fill === 0 ? undefined : op.scalar(input(0).dtype, fill);
  }
  if (x[3] !== undefined) {
    const axes = constantInts(x[3]);
    const rank = dimsOf(input(0)).length;
    amounts = axes === undefined ? amountsAtRunTime(op, input(1), x[3], rank) : amountsOfAllAxes(op, input(1), axes, rank);
  }
  const known = constantInts(amounts);
  if (mode === "constant") return same({ inputs: [x[0], amounts, value], attrs: {} });
  if (known === undefined) {
    if (mode !== "wrap") return same({ inputs: [x[0], amounts], attrs: { mode } });
    throw new OhemgenError("Pad that wraps around by amounts made at run time", { code: "E131", where: node.name });
  }
  const source = cropped(op, input(0), known);
  const positive = known.map((amount) => Math.max(0, amount));
  if (mode === "wrap") return [wrapped(op, source, positive)];
  return same({ inputs: [source, op.ints(positive)], attrs: { mode } });
}

/** Begin = ⌊(target - size)/2⌋ towards 0, so that one Pad cuts or pads every axis, the rest at the end. */
function centerCropPad({ op, input, ints }: ConvertContext): readonly Value[] {
  const x = input(0);
  const rank = dimsOf(x).length;
  const axes = (ints("axes") ?? Array.from({ length: rank }, (_, i) => i)).map((axis) => resolveAxis("CenterCropPad", axis, rank));
  const sizes = axes.map((axis) => op.dim(x, axis));
  const change = op.sub(input(1), op.concat(sizes, 0));
  const begin = op.div(change, 2);
  const amounts = amountsOfAllAxes(op, op.concat([begin, op.sub(change, begin)], 0), axes, rank);
  return [op.emit("Pad", [x, amounts])];
}

export const padding = defineConverters({ Pad: pad, CenterCropPad: centerCropPad });
