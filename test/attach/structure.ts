/** What a graph computes, without its names: equal text is the same operators on the same operands and constants. */

import { createHash } from "node:crypto";
import type { Attribute, Graph, Model, Node, Value } from "../../src/ir/graph.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { isKnownOp, schemaOf } from "../../src/ops/catalog.ts";
import type { AttributeSpecs } from "../../src/ops/define.ts";

function digest(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 24);
}

function tensorText({ dtype, dims, bytes }: Tensor): string {
  return `${dtype}[${dims}]${digest(bytes)}`;
}

function attributeText({ type, value }: Attribute): string {
  return `${type} ${type === "tensor" ? tensorText(value) : JSON.stringify(value)}`;
}

/** A default that is written down means what it means left out. */
function attributesText({ op, attributes }: Node): string {
  const specs: AttributeSpecs = isKnownOp(op) ? schemaOf(op).attrs : {};
  const isDefault = (name: string) => attributes[name]?.value === specs[name]?.default;
  const names = Object.keys(attributes).filter((name) => !isDefault(name) && attributes[name]?.type !== "graph");
  return names
    .sort()
    .map((name) => `${name}: ${attributeText(attributes[name] as Attribute)}`)
    .join(", ");
}

/** Whether a node only widens an input of the graph: what a float16 picture gets and a float32 one does not. */
function widensInput(node: Node, inputs: ReadonlySet<Value>): boolean {
  const [from] = node.inputs;
  return node.op === "Cast" && from !== undefined && inputs.has(from) && from.dtype !== "float32" && node.outputs[0]?.dtype === "float32";
}

/** Lines of the nodes and outputs; `known` tells what the values outside are, and grows. */
function linesOf(graph: Graph, inputs: ReadonlySet<Value>, known: Map<Value, string>): string[] {
  const operand = (value: Value | undefined): string => {
    if (value === undefined) return "-";
    return value.constant === undefined ? (known.get(value) as string) : tensorText(value.constant);
  };
  const lines: string[] = [];
  for (const node of graph.nodes) {
    if (widensInput(node, inputs)) {
      known.set(node.outputs[0] as Value, operand(node.inputs[0]));
      continue;
    }
    const branches = Object.entries(node.attributes).flatMap(([name, { type, value }]) =>
      type === "graph" ? [`${name}: ${digest(linesOf(value, inputs, new Map(known)).join("\n"))}`] : [],
    );
    const line = `${node.domain}:${node.op}(${node.inputs.map(operand).join(", ")}) ${[attributesText(node), ...branches].join(", ")}`;
    // A value is told by how it is made, all the way down to the inputs.
    const made = digest(line);
    node.outputs.forEach((value, i) => value !== undefined && known.set(value, `${made}.${i}`));
    lines.push(line);
  }
  return [...lines, ...graph.outputs.map(({ value }) => operand(value))];
}

/** A line per node in order, then one per output. Inputs go by their names: those are what a host feeds. */
export function structureOf({ graph }: Model): readonly string[] {
  const known = new Map<Value, string>(graph.inputs.map((value) => [value, `input ${value.name}`]));
  return [...linesOf(graph, new Set(graph.inputs), known), ...graph.outputs.map(({ name }) => name)];
}
