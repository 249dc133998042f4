/**
 * The graph being built: append-only. A node asked for twice with the same inputs and attributes exists once
 * (hash consing), so that rules may compute what they need without caring who else did.
 */

import type { Attributes, Node, Value } from "../ir/graph.ts";
import { capturedValues } from "../ir/needed.ts";
import { type AttributeSpecs, encodeAttributes, type OutputType } from "./define.ts";
import { mixed, NodeTable } from "./node-table.ts";

/** Number of what two nodes may have without meaning the same: random operators, subgraphs, long tensors. */
const noNumber = -1;

export class Draft {
  readonly nodes: Node[] = [];
  /** Values by id: those made here carry it as their slot, inputs and constants are looked up. */
  private readonly values: Value[] = [];
  private readonly foreign = new Map<Value, number>();
  /** What makes each value, by its id. */
  private readonly makers: (Node | undefined)[] = [];
  private readonly known = new NodeTable();
  private readonly operators = new Map<string, number>();
  private readonly meanings = new Map<Node, Node>();
  /** Attribute sets asked for before: most nodes share a few. */
  private readonly attributeSets = new Map<string, Attributes>();
  private readonly attributeNumbers = new Map<Attributes, number>();
  private readonly numbersByText = new Map<string, number>();
  private unknownSizes = 0;

  readonly fresh = (): string => {
    this.unknownSizes += 1;
    return `?_${this.unknownSizes}`;
  };

  producer = (value: Value): Node | undefined => {
    const { slot } = value;
    return slot !== undefined && this.values[slot] === value ? this.makers[slot] : undefined;
  };

  /**
   * Says that a value, made by several nodes because that is cheaper, is the output of one node. The tape shows that
   * node, whose gradient is simpler than theirs.
   */
  mean(value: Value, node: Omit<Node, "outputs">): Value {
    const last = this.producer(value);
    if (last !== undefined) this.meanings.set(last, { ...node, outputs: [value] });
    return value;
  }

  /** The nodes as a walk backwards should see them, in topological order. */
  tape(): readonly Node[] {
    return this.nodes.map((node) => this.meanings.get(node) ?? node);
  }

  private id(value: Value): number {
    const { slot } = value;
    return slot !== undefined && this.values[slot] === value ? slot : (this.foreign.get(value) ?? this.enterForeign(value));
  }

  private enterForeign(value: Value): number {
    this.foreign.set(value, this.values.length);
    return this.enter(value, undefined);
  }

  private enter(value: Value, maker: Node | undefined): number {
    this.makers.push(maker);
    return this.values.push(value) - 1;
  }

  /** Nodes that the targets depend on, in order: `neededNodes` of all nodes here. */
  needed(targets: Iterable<Value>): readonly Node[] {
    const needed = new Uint8Array(this.values.length);
    const need = (value: Value | undefined) => {
      const slot = value?.slot;
      if (slot !== undefined && this.values[slot] === value) needed[slot] = 1;
    };
    for (const value of targets) need(value);
    const result: Node[] = [];
    for (let i = this.nodes.length - 1; i >= 0; i--) {
      const node = this.nodes[i] as Node;
      if (!hasOutputIn(needed, node)) continue;
      result.push(node);
      for (const value of node.inputs) need(value);
      for (const value of capturedValues(node)) need(value);
    }
    return result.reverse();
  }

  /** The attributes of a node, one object for all nodes with the same. */
  attributes(op: string, specs: AttributeSpecs, given: Readonly<Record<string, unknown>>): Attributes {
    const text = textOf(op, specs, given);
    if (text === undefined) return encodeAttributes(op, specs, given);
    const known = this.attributeSets.get(text);
    if (known !== undefined) return known;
    const attributes = encodeAttributes(op, specs, given);
    this.attributeSets.set(text, attributes);
    this.attributeNumbers.set(attributes, this.number(attributes));
    return attributes;
  }

  /** Equal for equal attributes in any order. */
  private number(attributes: Attributes): number {
    const parts: string[] = [];
    for (const name of Object.keys(attributes).sort()) {
      const attribute = attributes[name];
      if (attribute === undefined || attribute.type === "graph" || attribute.type === "other") return noNumber;
      if (attribute.type === "tensor") {
        const { dtype, dims, bytes, strings } = attribute.value;
        if (bytes.length > 64 || strings) return noNumber;
        parts.push(`${name}=${dtype}[${dims}]${bytes.join(" ")}`);
      } else parts.push(`${name}=${attribute.type}:${JSON.stringify(attribute.value)}`);
    }
    const text = parts.join("|");
    const known = this.numbersByText.get(text) ?? this.numbersByText.size;
    this.numbersByText.set(text, known);
    return known;
  }

  /**
   * The node there is already, or a new one. Two of the same kind may still differ where they have subgraphs or draw
   * random numbers.
   */
  emit(node: Omit<Node, "outputs">, types: readonly (OutputType | undefined)[], names: (index: number) => string): Node {
    const { op, domain, inputs, attributes } = node;
    const operator = this.operatorNumber(op);
    const number = operator === noNumber ? noNumber : this.numberOf(attributes);
    if (number === noNumber) return this.append(node, types, names);
    let hash = mixed(operator, number);
    for (const value of inputs) hash = mixed(hash, value === undefined ? -1 : this.id(value));
    const same = (other: Node) =>
      other.op === op &&
      other.domain === domain &&
      other.outputs.length === types.length &&
      sameInputs(other.inputs, inputs) &&
      (other.attributes === attributes || this.numberOf(other.attributes) === number);
    const known = this.known.find(hash, same);
    if (known !== undefined) return known;
    const made = this.append(node, types, names);
    this.known.add(hash, made);
    return made;
  }

  private numberOf(attributes: Attributes): number {
    return this.attributeNumbers.get(attributes) ?? this.number(attributes);
  }

  private operatorNumber(op: string): number {
    const known = this.operators.get(op);
    if (known !== undefined) return known;
    const number = randomOperators.test(op) ? noNumber : this.operators.size;
    this.operators.set(op, number);
    return number;
  }

  /** A new node, not to be shared unless `emit` says so. */
  append(node: Omit<Node, "outputs">, types: readonly (OutputType | undefined)[], names: (index: number) => string): Node {
    const { op, domain, name, inputs, attributes } = node;
    const first = this.values.length;
    const outputs = types.map((type, i) => type && typedValue(names(i), type, first + i));
    const complete: Node = { op, domain, name, inputs, outputs, attributes };
    for (const value of outputs) this.enter(value ?? left, complete);
    this.nodes.push(complete);
    return complete;
  }
}

function hasOutputIn(slots: Uint8Array, { outputs }: Node): boolean {
  for (const value of outputs) if (value?.slot !== undefined && slots[value.slot] === 1) return true;
  return false;
}

const randomOperators = /^(Random|Dropout$|Bernoulli$|Multinomial$)/;

function sameInputs(a: Node["inputs"], b: Node["inputs"]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function typedValue(name: string, { dtype, shape, content, parts }: OutputType, slot: number): Value {
  if (content !== undefined) return { name, dtype, shape, slot, content };
  return parts === undefined ? { name, dtype, shape, slot } : { name, dtype, shape, slot, parts };
}

/** In the slot of an output that is left out. */
const left: Value = { name: "", dtype: "undefined", shape: undefined };

/** Tells sets of attributes apart that differ in a value or in order; `undefined` for types that are rare. */
function textOf(op: string, specs: AttributeSpecs, given: Readonly<Record<string, unknown>>): string | undefined {
  let text = op;
  for (const name in given) {
    const value = given[name];
    if (value === undefined) continue;
    const type = specs[name]?.type;
    if (type === "int" || type === "float") text += `|${name}=${Object.is(value, -0) ? "-0" : value}`;
    else if (type === "ints") text += `|${name}=[${value}]`;
    else if (type === "string") text += `|${name}=${JSON.stringify(value)}`;
    else return undefined;
  }
  return text;
}
