/**
 * A model as text for people: one line per node with the types of its results, constants shown where they are read.
 * Equal models give equal text.
 */

import { shapeText } from "./dims.ts";
import { dataTypeName } from "./dtype.ts";
import { type Attribute, type Graph, type Model, type Node, typeText, type Value } from "./graph.ts";
import { type Tensor, tensorNumbers } from "./tensor.ts";

/** Elements shown of a constant. */
const shown = 8;

type Names = (value: Value) => string;

export function modelText({ graph, opsets }: Model): string {
  const versions = [...opsets].map(([domain, version]) => `${domain === "" ? "opset" : domain} ${version}`);
  const names = namesOf(graph);
  const inputs = graph.inputs.map((value) => `input  ${value.name}: ${typeText(value)}`);
  const outputs = graph.outputs.map(({ name, value }) => `output ${name}: ${typeText(value)}`);
  return `${[`${graph.name}, ${versions.join(", ")}, ${graph.nodes.length} nodes`, ...inputs, ...outputs, "", ...linesOf(graph.nodes, names)].join("\n")}\n`;
}

/** Each value keeps its name where it is the first of that name, else with `_1`, `_2` …, as in the file. */
function namesOf(graph: Graph): Names {
  const names = new Map<Value, string>();
  const taken = new Set<string>();
  const give = (value: Value, hint: string): string => {
    let name = hint;
    for (let i = 1; taken.has(name); i++) name = `${hint}_${i}`;
    taken.add(name);
    names.set(value, name);
    return name;
  };
  for (const value of graph.inputs) give(value, value.name);
  for (const { name, value } of graph.outputs) give(value, name);
  return (value) => names.get(value) ?? give(value, value.name);
}

function linesOf(nodes: readonly Node[], names: Names): string[] {
  return nodes.flatMap((node) => {
    const results = node.outputs.map((value) => (value === undefined ? "_" : names(value)));
    const types = node.outputs.flatMap((value) => (value === undefined ? [] : [typeText(value)]));
    const inputs = node.inputs.map((value) => (value === undefined ? "_" : value.constant === undefined ? names(value) : tensorText(value.constant)));
    const entries = Object.entries(node.attributes);
    const plain = entries.filter(([, { type }]) => type !== "graph").map(([key, attribute]) => `${key}=${attributeText(key, attribute)}`);
    const braces = plain.length === 0 ? "" : ` {${plain.join(", ")}}`;
    const domain = node.domain === "" ? "" : `${node.domain}.`;
    const inner = entries.flatMap(([key, attribute]) => (attribute.type === "graph" ? subgraphLines(key, attribute.value, names) : []));
    return [`${results.join(", ")} = ${domain}${node.op}(${inputs.join(", ")})${braces} : ${types.join(", ")}`, ...inner];
  });
}

function subgraphLines(key: string, graph: Graph, names: Names): string[] {
  const inner = linesOf(graph.nodes, names);
  const results = graph.outputs.map(({ value }) => (value.constant === undefined ? names(value) : tensorText(value.constant)));
  const inputs = graph.inputs.map((value) => `${names(value)}: ${typeText(value)}`);
  return [`  ${key}(${inputs.join(", ")}):`, ...inner.map((line) => `    ${line}`), `    return ${results.join(", ")}`];
}

function attributeText(key: string, attribute: Attribute): string {
  if (key === "to" && attribute.type === "int") return dataTypeName(attribute.value) ?? String(attribute.value);
  switch (attribute.type) {
    case "tensor":
      return tensorText(attribute.value);
    case "ints":
    case "floats":
      return `[${attribute.value.join(",")}]`;
    case "other":
    case "graph":
      return "…";
    default:
      return JSON.stringify(attribute.value);
  }
}

/** A scalar bare, a short vector in brackets, more with type, shape and the first elements. */
function tensorText(tensor: Tensor): string {
  if (tensor.strings !== undefined) return `string${shapeText(tensor.dims)}`;
  const count = tensor.dims.reduce((product, dim) => product * dim, 1);
  const numbers = Array.from({ length: Math.min(count, shown) }, (_, i) => numberText(tensor, i));
  if (tensor.dims.length === 0) return numbers.join("");
  if (tensor.dims.length === 1 && count <= shown) return `[${numbers.join(",")}]`;
  return `${tensor.dtype}${shapeText(tensor.dims)}{${numbers.join(",")}${count > shown ? ",…" : ""}}`;
}

/** Seven digits tell float32 numbers apart well enough to read. */
function numberText(tensor: Tensor, index: number): string {
  const value = tensorNumbers(tensor)[index] ?? Number.NaN;
  if (tensor.dtype === "bool") return value === 0 ? "false" : "true";
  return Number.isSafeInteger(value) ? String(value) : String(Number(value.toPrecision(7)));
}
