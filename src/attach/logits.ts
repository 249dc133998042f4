/** Where the logits are: found by walking back from the outputs over what export wrappers put behind them. */

import type { Graph, Model, Node, Value } from "../ir/graph.ts";
import { producersOf, typeText } from "../ir/graph.ts";
import { OhemgenError } from "../support/errors.ts";

/** Always behind the logits: they change layout or type, or turn logits into probabilities or classes. */
const behind = new Set(["ArgMax", "Softmax", "LogSoftmax", "Sigmoid", "Cast", "Squeeze", "Transpose", "Identity"]);
/** Turn logits into probabilities or classes. */
const decisive = new Set(["ArgMax", "Softmax", "LogSoftmax", "Sigmoid"]);
/** Behind the logits only where a decisive operator lies further in: probabilities resized. */
const perhaps = new Set(["Resize", "Upsample"]);

function walkBack(output: Value, producers: ReadonlyMap<Value, Node>): { readonly value: Value; readonly passed: readonly Node[] } {
  let certain = { value: output, passed: 0 };
  let current = output;
  const passed: Node[] = [];
  for (;;) {
    const node = producers.get(current);
    const input = node?.inputs[0];
    const stop = node === undefined || input === undefined || node.domain !== "" || !(behind.has(node.op) || perhaps.has(node.op));
    if (stop) return { value: certain.value, passed: passed.slice(0, certain.passed) };
    current = input;
    passed.push(node);
    // A resize between is passed only if a softmax or the like turns up behind it.
    if (decisive.has(node.op) || (behind.has(node.op) && certain.value === node.outputs[0])) certain = { value: current, passed: passed.length };
  }
}

export interface LogitsCandidate {
  readonly value: Value;
  /** Name of the graph output it was found from. */
  readonly output: string;
  /** Nodes between, from the output back. */
  readonly passed: readonly Node[];
}

/** Distinct candidates, in output order. Masks of known rank other than 4 are no logits. */
export function logitsCandidates(graph: Graph): readonly LogitsCandidate[] {
  const producers = producersOf(graph.nodes);
  const found = new Map<Value, LogitsCandidate>();
  for (const { name, value } of graph.outputs) {
    if (value.opaque === true) continue;
    const { value: candidate, passed } = walkBack(value, producers);
    if (!producers.has(candidate) || found.has(candidate)) continue;
    found.set(candidate, { value: candidate, output: name, passed });
  }
  const all = [...found.values()];
  const fitting = all.filter(({ value }) => value.shape === undefined || value.shape.length === 4);
  return fitting.length > 0 ? fitting : all;
}

/** The tensor of that name: an output, or any tensor inside. */
export function valueByName(model: Model, name: string): Value {
  const { graph } = model;
  const output = graph.outputs.find((candidate) => candidate.name === name)?.value;
  if (output !== undefined) return output;
  for (const node of graph.nodes) for (const value of node.outputs) if (value?.name === name) return value;
  const near = graph.outputs.map((candidate) => candidate.name).join(", ");
  throw new OhemgenError(`the model has no tensor named ${name}`, { code: "E211", where: name, hint: `Its outputs are: ${near}.` });
}

/** @throws OhemgenError E210 where there is no candidate or more than one */
export function findLogits(model: Model, name: string | undefined): Value {
  if (name !== undefined) return valueByName(model, name);
  const candidates = logitsCandidates(model.graph);
  const [only] = candidates;
  if (only === undefined) {
    throw new OhemgenError("no logits found: no output of the model comes from a node", { code: "E210", hint: "Name the tensor with --logits." });
  }
  if (candidates.length === 1) return only.value;
  const lines = candidates.map(({ value, output }) => `  ${output === value.name ? output : `${value.name} (behind ${output})`}  ${typeText(value)}`);
  const [first, second] = candidates as readonly [LogitsCandidate, LogitsCandidate];
  throw new OhemgenError(`${candidates.length} outputs may be the logits\n\n${lines.join("\n")}\n`, {
    code: "E210",
    hint: `Choose one with --logits ${first.value.name}, and train others along with --aux ${second.value.name}.`,
  });
}
