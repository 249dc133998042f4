/** Nodes that need not exist: rewrites of one node into a value that is already there, or into a simpler node. */

import { elementCount, sameShape } from "../ir/dims.ts";
import type { Node, Value } from "../ir/graph.ts";
import { constantInts, type OutputType } from "./define.ts";

export type Simplified = { readonly value: Value } | { readonly inputs: readonly (Value | undefined)[]; readonly attrs: Readonly<Record<string, unknown>> };

interface Context {
  readonly x: readonly (Value | undefined)[];
  readonly attrs: Readonly<Record<string, unknown>>;
  readonly type: OutputType;
  readonly producer: (value: Value) => Node | undefined;
}

/** The number every element of a small constant has. */
function uniform(value: Value | undefined): number | undefined {
  if (value?.constant === undefined || value.constant.strings || elementCount(value.constant.dims) > 1024) return undefined;
  const numbers = constantInts(value) ?? [];
  const first = numbers[0];
  for (let i = 1; i < numbers.length; i++) if (numbers[i] !== first) return undefined;
  return first;
}

/** `x` where the other operand changes neither value nor shape. */
function neutral(keep: Value | undefined, other: Value | undefined, number: number, type: OutputType): Simplified | undefined {
  return keep !== undefined && uniform(other) === number && sameShape(keep.shape, type.shape) ? { value: keep } : undefined;
}

const same = ({ x, type }: Context): Simplified | undefined => {
  const [value] = x;
  return value !== undefined && value.dtype === type.dtype && sameShape(value.shape, type.shape) ? { value } : undefined;
};

const rules: Readonly<Record<string, (context: Context) => Simplified | undefined>> = {
  Identity: ({ x: [value] }) => (value === undefined ? undefined : { value }),
  Cast: same,
  CastLike: same,
  Expand: same,
  Add: ({ x: [a, b], type }) => neutral(a, b, 0, type) ?? neutral(b, a, 0, type),
  Sub: ({ x: [a, b], type }) => neutral(a, b, 0, type),
  Mul: ({ x: [a, b], type }) => neutral(a, b, 1, type) ?? neutral(b, a, 1, type),
  Div: ({ x: [a, b], type }) => neutral(a, b, 1, type),
  Concat: ({ x }) => (x.length === 1 && x[0] ? { value: x[0] } : undefined),
  Max: ({ x }) => (x.length === 1 && x[0] ? { value: x[0] } : undefined),
  Min: ({ x }) => (x.length === 1 && x[0] ? { value: x[0] } : undefined),
  Sum: ({ x }) => (x.length === 1 && x[0] ? { value: x[0] } : undefined),
  Mean: ({ x }) => (x.length === 1 && x[0] ? { value: x[0] } : undefined),
  Pad: (context) => (uniform(context.x[1]) === 0 ? same(context) : undefined),
  Tile: (context) => (uniform(context.x[1]) === 1 ? same(context) : undefined),
  // Only where nothing is cut or reversed: all starts 0, all steps 1.
  Slice: (context) => {
    const zeroStart = uniform(context.x[1]) === 0;
    return zeroStart && (context.x[4] === undefined || uniform(context.x[4]) === 1) ? same(context) : undefined;
  },
  Reshape: (context) => {
    const { x, attrs, producer } = context;
    const kept = same(context);
    if (kept || x[0] === undefined) return kept;
    // A reshape of a reshape reads the first source; a 0 in the target would mean another dimension there. One that keeps the
    // shape is there to wait for its sizes.
    const inner = producer(x[0]);
    const target = constantInts(x[1]);
    if (inner?.op !== "Reshape" || inner.domain !== "" || !target || target.includes(0)) return undefined;
    if (sameShape(inner.inputs[0]?.shape, x[0].shape)) return undefined;
    return { inputs: [inner.inputs[0], x[1]], attrs };
  },
  Transpose: ({ x: [value], attrs, producer, type }) => {
    const perm = attrs["perm"] as readonly number[] | undefined;
    if (value === undefined || perm === undefined) return undefined;
    if (perm.every((axis, i) => axis === i)) return { value };
    const inner = producer(value);
    const first = inner?.op === "Transpose" ? inner.attributes["perm"] : undefined;
    if (first?.type !== "ints") return undefined;
    const combined = perm.map((axis) => first.value[axis] as number);
    if (combined.every((axis, i) => axis === i) && inner?.inputs[0]?.dtype === type.dtype) return { value: inner.inputs[0] };
    return { inputs: [inner?.inputs[0]], attrs: { ...attrs, perm: combined } };
  },
};

export function simplify(op: string, context: Context): Simplified | undefined {
  return rules[op]?.(context);
}
