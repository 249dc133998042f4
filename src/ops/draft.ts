/**
 * The graph being built: append-only. A node asked for twice with the same inputs and attributes exists once
 * (hash consing), so that rules may compute what they need without caring who else did.
 */

import type { Attributes, Node, Value } from "../ir/graph.ts";
import { type AttributeSpecs, encodeAttributes, type OutputType } from "./define.ts";

/** Number of an attribute set of which two need not mean the same: subgraphs, long tensors. */
const noNumber = -1;

export class Draft {
  readonly nodes: Node[] = [];
  private readonly ids = new Map<Value, number>();
  /** What makes each value, by its id. */
  private readonly makers: (Node | undefined)[] = [];
  private readonly known = new Map<string, Node>();
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
    const id = this.ids.get(value);
    return id === undefined ? undefined : this.makers[id];
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
    return this.ids.get(value) ?? this.enter(value, undefined);
  }

  private enter(value: Value, maker: Node | undefined): number {
    const id = this.makers.length;
    this.ids.set(value, id);
    this.makers.push(maker);
    return id;
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

  /** Key of a node, or `undefined` where two of the same kind may still differ (subgraphs, randomness). */
  key(op: string, domain: string, inputs: readonly (Value | undefined)[], attributes: Attributes, outputs: number): string | undefined {
    if (op.startsWith("Random") || op === "Dropout" || op === "Bernoulli" || op === "Multinomial") return undefined;
    const number = this.attributeNumbers.get(attributes) ?? this.number(attributes);
    if (number === noNumber) return undefined;
    let key = `${domain}|${op}|${number}|${outputs}`;
    for (const value of inputs) key += value === undefined ? ",-" : `,${this.id(value)}`;
    return key;
  }

  find(key: string | undefined): Node | undefined {
    return key === undefined ? undefined : this.known.get(key);
  }

  append(node: Omit<Node, "outputs">, types: readonly (OutputType | undefined)[], names: readonly string[], key?: string): Node {
    const { op, domain, name, inputs, attributes } = node;
    const outputs: (Value | undefined)[] = [];
    const complete: Node = { op, domain, name, inputs, outputs, attributes };
    for (const [i, type] of types.entries()) {
      const value = type === undefined ? undefined : typedValue(names[i] ?? name, type);
      outputs.push(value);
      if (value !== undefined) this.enter(value, complete);
    }
    this.nodes.push(complete);
    if (key !== undefined) this.known.set(key, complete);
    return complete;
  }
}

function typedValue(name: string, { dtype, shape, content }: OutputType): Value {
  return content === undefined ? { name, dtype, shape } : { name, dtype, shape, content };
}

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
