/**
 * Sequences and optionals that exporters leave as plumbing: a sequence is the list of its tensors while the graph is
 * built, so that what goes in at one end comes out as the same value at the other and no node remains.
 */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { constantInts, resolveAxis } from "../../ops/define.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

/** Elements of the stand-ins made here. Pure memory: a stand-in never leaves the graph it was made for. */
const elements = new WeakMap<Value, readonly Value[]>();

function sequence(name: string, values: readonly Value[]): readonly Value[] {
  const standIn: Value = { name, dtype: "undefined", shape: undefined, opaque: true };
  elements.set(standIn, values);
  return [standIn];
}

const nameOf = ({ node }: ConvertContext) => node.outputs[0]?.name ?? node.name;

function refusal({ node }: ConvertContext, what: string): OhemgenError {
  return new OhemgenError(`${node.op} ${what}`, {
    code: "E131",
    where: `node ${node.name}`,
    hint: "Export the model without sequences, or fix sizes with --input-shape.",
  });
}

function elementsOf(context: ConvertContext): readonly Value[] {
  const known = elements.get(context.input(0));
  if (known === undefined) throw refusal(context, "of a sequence that is only known at run time");
  return known;
}

/** A position that may count from the end; `end` where it is left out. */
function positionOf(context: ConvertContext, index: number, length: number, end: number): number {
  if (context.x[index] === undefined) return end;
  const [position] = constantInts(context.x[index]) ?? [];
  if (position === undefined) throw refusal(context, "at a position made at run time");
  return position < 0 ? position + length : position;
}

/** Lengths of the pieces: given, or equal ones with the rest in the last. */
function pieceSizes(context: ConvertContext, total: number | string | undefined): readonly number[] {
  const { x } = context;
  const given = x[1] === undefined ? [1] : constantInts(x[1]);
  if (given === undefined) throw refusal(context, "into pieces made at run time");
  if (x[1] !== undefined && dimsOf(x[1]).length === 1) return given;
  const [size] = given as [number];
  if (typeof total !== "number") throw refusal(context, "of a dynamic size");
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size));
}

const splitToSequence: Converter = (context) => {
  const { op, input, x, int } = context;
  const axis = resolveAxis("SplitToSequence", int("axis", 0), dimsOf(input(0)).length);
  const sizes = pieceSizes(context, dimsOf(input(0))[axis]);
  const parts = sizes.length === 1 ? [input(0)] : op.split(input(0), axis, sizes);
  const squeezed = x[1] === undefined && int("keepdims", 1) === 0;
  return sequence(nameOf(context), squeezed ? parts.map((part) => op.squeeze(part, [axis])) : parts);
};

function joined(op: OpBuilder, values: readonly Value[], axis: number, stacked: boolean): Value {
  const rank = dimsOf(values[0] as Value).length + (stacked ? 1 : 0);
  const at = axis < 0 ? axis + rank : axis;
  return op.concat(stacked ? values.map((value) => op.unsqueeze(value, [at])) : values, at);
}

export const sequences = defineConverters({
  SequenceConstruct: (context) =>
    sequence(
      nameOf(context),
      context.x.filter((value) => value !== undefined),
    ),
  SequenceEmpty: (context) => sequence(nameOf(context), []),
  SplitToSequence: splitToSequence,
  SequenceAt(context) {
    const list = elementsOf(context);
    const value = list[positionOf(context, 1, list.length, 0)];
    if (value === undefined) throw refusal(context, `at a position that a sequence of ${list.length} does not have`);
    return [value];
  },
  SequenceInsert(context) {
    const list = elementsOf(context);
    return sequence(nameOf(context), list.toSpliced(positionOf(context, 2, list.length, list.length), 0, context.input(1)));
  },
  SequenceErase(context) {
    const list = elementsOf(context);
    return sequence(nameOf(context), list.toSpliced(positionOf(context, 1, list.length, list.length - 1), 1));
  },
  SequenceLength: (context) => [context.op.scalar("int64", elementsOf(context).length)],
  ConcatFromSequence(context) {
    const list = elementsOf(context);
    if (list.length === 0) throw refusal(context, "of an empty sequence");
    return [joined(context.op, list, context.int("axis", 0), context.int("new_axis", 0) !== 0)];
  },
  // An optional that is made in the graph is its element.
  Optional: (context) => [context.input(0)],
  OptionalGetElement: (context) => [context.input(0)],
});
