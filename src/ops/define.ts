/** How an operator is described: typed attributes with defaults, and the inference of its output types. */

import { type Dim, type Shape, sameShape, shapeText } from "../ir/dims.ts";
import type { DataType } from "../ir/dtype.ts";
import type { Attribute, Attributes, Value } from "../ir/graph.ts";
import { type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { bug, OhemgenError } from "../support/errors.ts";

type AttributeType = "int" | "float" | "string" | "ints" | "floats" | "strings" | "tensor" | "graph";

export interface AttributeSpec<T> {
  readonly type: AttributeType;
  readonly default: T;
}

export const int = (value: number): AttributeSpec<number> => ({ type: "int", default: value });
export const optionalInt = (): AttributeSpec<number | undefined> => ({ type: "int", default: undefined });
export const ints = (): AttributeSpec<readonly number[] | undefined> => ({ type: "ints", default: undefined });
export const float = (value: number): AttributeSpec<number> => ({ type: "float", default: value });
export const optionalFloat = (): AttributeSpec<number | undefined> => ({ type: "float", default: undefined });
export const floats = (): AttributeSpec<readonly number[] | undefined> => ({ type: "floats", default: undefined });
export const string = (value: string): AttributeSpec<string> => ({ type: "string", default: value });
export const optionalTensor = (): AttributeSpec<Tensor | undefined> => ({ type: "tensor", default: undefined });

export type AttributeSpecs = Readonly<Record<string, AttributeSpec<unknown>>>;
export type AttributesOf<S> = { readonly [K in keyof S]: S[K] extends AttributeSpec<infer T> ? T : never };
/** What a caller passes: anything left out takes its default. */
export type AttributeArguments<S> = { readonly [K in keyof S]?: AttributesOf<S>[K] | undefined };

export interface OutputType {
  readonly dtype: DataType;
  readonly shape: Shape | undefined;
  readonly content?: readonly Dim[] | undefined;
  readonly parts?: readonly (Dim | undefined)[] | undefined;
}

export interface InferContext<A> {
  readonly op: string;
  readonly x: readonly (Value | undefined)[];
  readonly attrs: A;
  /** Number of outputs asked for. */
  readonly outputs: number;
  /** A size nobody knows: equal to nothing but itself. */
  readonly fresh: () => string;
}

export interface OpSchema<S extends AttributeSpecs = AttributeSpecs> {
  readonly attrs: S;
  readonly infer: (context: InferContext<AttributesOf<S>>) => readonly OutputType[];
}

/** Keeps the literal type of the attributes, so that rules see them typed. */
export function defineOp<const S extends AttributeSpecs>(schema: OpSchema<S>): OpSchema<S> {
  return schema;
}

export function withDefaults<S extends AttributeSpecs>(specs: S, given: Readonly<Record<string, unknown>>): AttributesOf<S> {
  const result: Record<string, unknown> = {};
  for (const name in specs) result[name] = given[name] ?? specs[name]?.default;
  return result as AttributesOf<S>;
}

/** Attribute values of a node by name, as plain values. */
export function plainAttributes(attributes: Attributes): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const name in attributes) result[name] = attributes[name]?.value;
  return result;
}

export function encodeAttributes(op: string, specs: AttributeSpecs, given: Readonly<Record<string, unknown>>): Attributes {
  const result: Record<string, Attribute> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const spec = specs[name] ?? bug(`${op} has no attribute ${name}`);
    result[name] = { type: spec.type, value } as Attribute;
  }
  return result;
}

/** An input the operator cannot do without. */
export function required(context: { op: string; x: readonly (Value | undefined)[] }, index: number): Value {
  const value = context.x[index];
  if (value === undefined) throw shapeError(context.op, `input ${index} is missing`);
  return value;
}

export function shapeError(op: string, what: string): OhemgenError {
  return new OhemgenError(`${op}: ${what}`, {
    code: "E120",
    hint: "The model does not fit these sizes; check it with the ONNX checker, or change --input-shape.",
  });
}

/** Index of an axis that may count from the end. */
export function resolveAxis(op: string, axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (resolved < 0 || resolved >= rank) throw shapeError(op, `axis ${axis} of a tensor of rank ${rank}`);
  return resolved;
}

/** Numbers of tensors read before: axes, pads and sizes are asked for again and again. */
const numbersOf = new WeakMap<Tensor, readonly number[]>();

/** Numbers of a constant input; `undefined` if it is not constant. */
export function constantInts(value: Value | undefined): readonly number[] | undefined {
  if (value?.constant === undefined) return undefined;
  if (value.content !== undefined) return value.content as readonly number[];
  const known = numbersOf.get(value.constant);
  if (known !== undefined) return known;
  const numbers = Array.from(tensorNumbers(value.constant));
  numbersOf.set(value.constant, numbers);
  return numbers;
}

/** Integers of an input as far as they are known. */
export function contentOf(value: Value | undefined): readonly Dim[] | undefined {
  return value?.content ?? constantInts(value);
}

/** Integers of a small input, element by element; `undefined` where not even their number is known. */
export function partsOf(value: Value): readonly (Dim | undefined)[] | undefined {
  const known = contentOf(value) ?? value.parts;
  if (known !== undefined) return known;
  const [length = 1] = value.shape ?? [];
  return value.shape === undefined || value.shape.length > 1 || typeof length !== "number" || length > 64 ? undefined : new Array(length).fill(undefined);
}

/** How a value carries elements of which some may be unknown. */
export function knownElements(all: readonly (Dim | undefined)[]): Pick<OutputType, "content" | "parts"> {
  if (all.every((dim) => dim !== undefined)) return { content: all };
  return all.some((dim) => dim !== undefined) ? { parts: all } : {};
}

/** Elements of vectors put one after another, as far as they are known. */
export function joinedContent(values: readonly (Value | undefined)[]): Pick<OutputType, "content" | "parts"> {
  const parts = values.map((value) => (value === undefined ? [] : partsOf(value)));
  if (parts.some((part) => part === undefined)) return {};
  return knownElements(parts.flatMap((part) => part ?? []));
}

/** Sizes that an input asks for: what is not known of them is a size nobody knows. */
export function sizesOf(value: Value | undefined, fresh: () => string): readonly Dim[] | undefined {
  return value === undefined ? undefined : partsOf(value)?.map((dim) => dim ?? fresh());
}

/** Shape of two tensors combined elementwise. */
export function broadcastShapes(op: string, a: Shape | undefined, b: Shape | undefined, fresh: () => string): Shape | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x === y || y === 1) result.push(x);
    else if (x === 1) result.push(y);
    else if (typeof x === "number" && typeof y === "number") {
      throw shapeError(op, `shapes ${shapeText(a)} and ${shapeText(b)} do not broadcast`);
    } else if (typeof x === "number") result.push(x);
    else if (typeof y === "number") result.push(y);
    else result.push(fresh());
  }
  return result;
}
