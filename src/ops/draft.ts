/**
 * The graph being built: append-only. A node asked for twice with the same inputs and attributes exists once
 * (hash consing), so that rules may compute what they need without caring who else did.
 */

import type { Attributes, Node, Value } from "../ir/graph.ts";
import type { OutputType } from "./define.ts";

export class Draft {
  readonly nodes: Node[] = [];
  private readonly producers = new Map<Value, Node>();
  private readonly ids = new Map<Value, number>();
  private readonly known = new Map<string, Node>();
  private readonly meanings = new Map<Node, Node>();
  private unknownSizes = 0;

  readonly fresh = (): string => {
    this.unknownSizes += 1;
    return `?_${this.unknownSizes}`;
  };

  producer = (value: Value): Node | undefined => this.producers.get(value);

  /**
   * Says that a value, made by several nodes because that is cheaper, is the output of one node. The tape shows that
   * node, whose gradient is simpler than theirs.
   */
  mean(value: Value, node: Omit<Node, "outputs">): Value {
    const last = this.producers.get(value);
    if (last !== undefined) this.meanings.set(last, { ...node, outputs: [value] });
    return value;
  }

  /** The nodes as a walk backwards should see them, in topological order. */
  tape(): readonly Node[] {
    return this.nodes.map((node) => this.meanings.get(node) ?? node);
  }

  private id(value: Value | undefined): number {
    if (value === undefined) return -1;
    const known = this.ids.get(value);
    if (known !== undefined) return known;
    this.ids.set(value, this.ids.size);
    return this.ids.size - 1;
  }

  /** Key of a node, or `undefined` where two of the same kind may still differ (subgraphs, randomness). */
  key(op: string, domain: string, inputs: readonly (Value | undefined)[], attributes: Attributes, outputs: number): string | undefined {
    if (op.startsWith("Random") || op === "Dropout" || op === "Bernoulli" || op === "Multinomial") return undefined;
    const parts: string[] = [domain, op, inputs.map((value) => this.id(value)).join(","), String(outputs)];
    for (const name of Object.keys(attributes).sort()) {
      const attribute = attributes[name];
      if (attribute === undefined || attribute.type === "graph" || attribute.type === "other") return undefined;
      if (attribute.type === "tensor") {
        const { dtype, dims, bytes, strings } = attribute.value;
        if (bytes.length > 64 || strings) return undefined;
        parts.push(`${name}=${dtype}[${dims}]${bytes.join(" ")}`);
      } else parts.push(`${name}=${attribute.type}:${JSON.stringify(attribute.value)}`);
    }
    return parts.join("|");
  }

  find(key: string | undefined): Node | undefined {
    return key === undefined ? undefined : this.known.get(key);
  }

  append(node: Omit<Node, "outputs">, types: readonly (OutputType | undefined)[], names: readonly string[], key?: string): Node {
    const outputs = types.map((type, i): Value | undefined => {
      if (type === undefined) return undefined;
      const { dtype, shape, content } = type;
      return { name: names[i] ?? node.name, dtype, shape, ...(content === undefined ? {} : { content }) };
    });
    const complete: Node = { ...node, outputs };
    this.nodes.push(complete);
    for (const value of outputs) if (value !== undefined) this.producers.set(value, complete);
    if (key !== undefined) this.known.set(key, complete);
    return complete;
  }
}
