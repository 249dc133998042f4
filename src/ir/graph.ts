/**
 * The graph: values with identity, nodes that name them, models. A value is produced once, by one node or as an
 * input or a constant; nodes are in topological order. Names are for people and files: nothing is looked up by them.
 */

import type { Dim, Shape } from "./dims.ts";
import type { DataType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

export interface Value {
  readonly name: string;
  readonly dtype: DataType;
  /** `undefined`: not even the rank is known. */
  readonly shape: Shape | undefined;
  /** Set for constants. */
  readonly constant?: Tensor;
  /** Elements of a small integer tensor (row-major, rank ≤ 1) as far as sizes are known symbolically. */
  readonly content?: readonly Dim[];
  /** The same where some elements are not known; only where others are. */
  readonly parts?: readonly (Dim | undefined)[];
  /** Neither tensor nor known type: a sequence, map or optional. */
  readonly opaque?: boolean;
  /** Where the graph under construction that made it keeps it: saves that graph a search, and says nothing to others. */
  readonly slot?: number;
  /** A sequence of tensors of that type and shape: only in graphs of our own, for operators that take one. */
  readonly sequence?: boolean;
}

export type Attribute =
  | { readonly type: "int"; readonly value: number }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "ints"; readonly value: readonly number[] }
  | { readonly type: "floats"; readonly value: readonly number[] }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "tensor"; readonly value: Tensor }
  | { readonly type: "graph"; readonly value: Graph }
  /** Inside a function body: the name of the attribute of the calling node. */
  | { readonly type: "reference"; readonly value: string }
  | { readonly type: "other"; readonly value: unknown };

export type Attributes = Readonly<Record<string, Attribute>>;

export interface Node {
  /** Operator type as ONNX spells it: `Conv`. */
  readonly op: string;
  /** "" is the standard domain. */
  readonly domain: string;
  readonly name: string;
  /** `undefined`: an optional input left out. */
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
}

export interface GraphOutput {
  readonly name: string;
  readonly value: Value;
}

export interface Graph {
  readonly name: string;
  /** Without initializers, also where an old file lists them as inputs. */
  readonly inputs: readonly Value[];
  readonly outputs: readonly GraphOutput[];
  /** In file order. */
  readonly initializers: readonly Value[];
  readonly nodes: readonly Node[];
}

/** A model-local function: a node whose type is its name stands for its body. */
export interface FunctionBody {
  readonly domain: string;
  readonly name: string;
  readonly attributeDefaults: Attributes;
  readonly opsets: ReadonlyMap<string, number>;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly nodes: readonly Node[];
}

export interface Model {
  readonly irVersion: number;
  /** Version per domain; "" is the standard domain. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly producer: { readonly name: string; readonly version: string };
  readonly graph: Graph;
  readonly functions: readonly FunctionBody[];
}

/** Text like `float32[2,3,H,W]`. */
export function typeText(value: Value): string {
  return `${value.dtype}[${value.shape === undefined ? "?" : value.shape.join(",")}]`;
}

/** Nodes each value is read by, with the input position; a value read twice by a node is listed twice. */
export function readersOf(nodes: readonly Node[]): Map<Value, { node: Node; index: number }[]> {
  const readers = new Map<Value, { node: Node; index: number }[]>();
  for (const node of nodes) {
    node.inputs.forEach((value, index) => {
      if (value === undefined) return;
      const list = readers.get(value);
      if (list === undefined) readers.set(value, [{ node, index }]);
      else list.push({ node, index });
    });
  }
  return readers;
}

/** The node that makes each value. */
export function producersOf(nodes: readonly Node[]): Map<Value, Node> {
  const producers = new Map<Value, Node>();
  for (const node of nodes) {
    for (const value of node.outputs) if (value !== undefined) producers.set(value, node);
  }
  return producers;
}
