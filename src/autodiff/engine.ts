/**
 * Reverse-mode differentiation by walking the graph backwards: an ONNX graph in topological order is the tape.
 * Only nodes between a wanted tensor and a seed are visited; gradients are summed per value, never by name.
 */

import { elementCount, isStatic } from "../ir/dims.ts";
import { isFloat } from "../ir/dtype.ts";
import { type Node, typeText, type Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { isKnownOp, type OpAttributes, type OpName, schemaOf } from "../ops/catalog.ts";
import { plainAttributes, withDefaults } from "../ops/define.ts";
import { OhemgenError } from "../support/errors.ts";
import { ordering } from "./order.ts";
import { recomputation } from "./recompute.ts";
import { type GradientRule, nonDifferentiable, type RuleContext } from "./registry.ts";
import { gradients } from "./rules.ts";
import { unbroadcast } from "./unbroadcast.ts";

function ruleOf(node: Node): GradientRule | typeof nonDifferentiable | undefined {
  if (node.domain !== "" || !isKnownOp(node.op)) return undefined;
  return gradients[node.op] as GradientRule | typeof nonDifferentiable | undefined;
}

/** Nodes on a differentiable path from a wanted value to a target, in order. */
export function activeNodes(nodes: readonly Node[], wanted: Iterable<Value>, targets: Iterable<Value>): readonly Node[] {
  const reached = new Set(wanted);
  const forward = nodes.filter((node) => {
    if (ruleOf(node) === nonDifferentiable || !node.inputs.some((value) => value !== undefined && reached.has(value))) return false;
    let carries = false;
    for (const value of node.outputs) {
      if (value === undefined || !(isFloat(value.dtype) || value.dtype === "undefined")) continue;
      reached.add(value);
      carries = true;
    }
    return carries;
  });
  const useful = new Set(targets);
  const active: Node[] = [];
  for (const node of forward.reverse()) {
    if (!node.outputs.some((value) => value !== undefined && useful.has(value))) continue;
    active.push(node);
    for (const value of node.inputs) if (value !== undefined && reached.has(value)) useful.add(value);
  }
  return active.reverse();
}

/** Values a gradient can reach from the targets, by way of the nodes that are active between them. */
export function influencing(active: readonly Node[], candidates: readonly Value[], targets: Iterable<Value>): ReadonlySet<Value> {
  const read = new Set<Value | undefined>(targets);
  for (const node of active) for (const value of node.inputs) read.add(value);
  return new Set(candidates.filter((value) => read.has(value)));
}

export interface Path {
  /** The ends of the path in words: "between the trainable tensors and the logits". */
  readonly between: string;
  readonly hint: string;
}

const trainingPath: Path = {
  between: "between the trainable tensors and the logits",
  hint: "Freeze the weights below them (--freeze 'decoder.*'), or add rules in src/autodiff/rules.",
};

/** Nodes without a rule. */
export function missingRules(active: readonly Node[]): readonly Node[] {
  return active.filter((node) => ruleOf(node) === undefined);
}

/** Reports every operator on the path that has no rule, all at once. */
export function checkRules(active: readonly Node[], path = trainingPath): void {
  const missing = missingRules(active);
  if (missing.length === 0) return;
  const rows = missing.map((node) => {
    const [output] = node.outputs;
    const kind = node.domain === "" ? node.op : `${node.domain}::${node.op}`;
    return [kind, node.name, output === undefined ? "" : typeText(output)] as const;
  });
  const table = [["op", "node", "output"] as const, ...rows];
  const widths = [0, 1].map((column) => Math.max(...table.map((row) => (row[column] as string).length)));
  const lines = table.map(([kind, name, type]) => `  ${kind.padEnd(widths[0] as number)}  ${name.padEnd(widths[1] as number)}  ${type}`.trimEnd());
  const count = missing.length === 1 ? "1 node" : `${missing.length} nodes`;
  throw new OhemgenError(`no gradient rule for ${count} ${path.between}\n\n${lines.join("\n")}\n`, { code: "E201", hint: path.hint });
}

export interface DifferentiateOptions {
  /** What an error about missing rules says. */
  readonly path?: Path;
  /** Whether cheap activations are made again instead of kept; for graphs whose memory counts more than their time. */
  readonly recompute?: boolean;
  /** Reads large wanted tensors once more for the backward pass: their first readings are free in between. */
  readonly readAgain?: ReadonlyMap<Value, () => Value>;
  /** What has to be done before the walk: float32 values, of which nothing is held through the backward pass then. */
  readonly before?: readonly Value[];
}

/**
 * Gradients of Σ ⟨seed, value⟩ with respect to each wanted value, which need not be inputs.
 *
 * @param nodes the nodes of the forward graph, in topological order, as they stand in the draft of `op`
 * @param seeds gradient at each value the walk starts from, in the shape of that value
 * @returns the gradient of each wanted value that has one, in its shape and type
 * @throws OhemgenError E201 naming all nodes on the way that have no rule
 */
export function differentiate(
  op: OpBuilder,
  nodes: readonly Node[],
  seeds: ReadonlyMap<Value, Value>,
  wanted: readonly Value[],
  options: DifferentiateOptions = {},
): Map<Value, Value> {
  const active = activeNodes(nodes, wanted, seeds.keys());
  checkRules(active, options.path);
  const arriving = new Map<Value, Value[]>([...seeds].map(([value, seed]) => [value, [seed]]));
  const differentiable = new Set<Value>(wanted);
  for (const node of active) for (const value of node.outputs) if (value !== undefined) differentiable.add(value);
  const gradientOf = (value: Value | undefined): Value | undefined => {
    const parts = value === undefined ? undefined : arriving.get(value);
    if (value === undefined || parts === undefined) return undefined;
    if (parts.length > 1) arriving.set(value, [sumOfParts(op, parts)]);
    return arriving.get(value)?.[0];
  };
  const isWanted = new Set(wanted);
  const { after, zero, later, arrive, finish } = ordering(op.scope("grad/order"), nodes, wanted, options.before);
  const { recall } = options.recompute === true ? recomputation(op.scope("grad/again"), nodes) : { recall: (value: Value) => value };
  const readAgain = secondReadings(options.readAgain ?? new Map());
  for (const node of active.toReversed()) {
    const dys = node.outputs.map(gradientOf);
    if (dys.every((dy) => dy === undefined)) continue;
    arrive(dys);
    const needs = (index: number) => node.inputs[index] !== undefined && differentiable.has(node.inputs[index]);
    const scope = op.scope(`grad/${node.name.replace(/^\/+/, "")}`);
    const rule = ruleOf(node) as GradientRule;
    const recalled = (value: Value | undefined) => value && (readAgain(value) ?? recall(value, zero));
    const { op: type, domain, name, attributes } = node;
    const seen = { op: type, domain, name, inputs: node.inputs.map(recalled), outputs: node.outputs.map(recalled), attributes };
    const parts = atNode(node, () => rule(ruleContext(scope, seen, dys, needs, { after, zero, later })));
    node.inputs.forEach((value, i) => {
      const part = parts[i];
      if (value === undefined || part === undefined || !needs(i)) return;
      const reduced = unbroadcast(scope, part, value);
      if (isWanted.has(value)) finish(reduced, node);
      const list = arriving.get(value);
      if (list === undefined) arriving.set(value, [reduced]);
      else list.push(reduced);
    });
  }
  const result = new Map<Value, Value>();
  for (const value of wanted) {
    const gradient = gradientOf(value);
    if (gradient !== undefined) result.set(value, gradient);
  }
  return result;
}

/** One that only repeats is added as it was before: the runtime repeats it while it adds. */
function sumOfParts(op: OpBuilder, parts: readonly Value[]): Value {
  const repeated = (part: Value) => {
    const node = op.draft.producer(part);
    return node?.op === "Expand" && node.domain === "" ? node.inputs[0] : undefined;
  };
  const whole = parts.filter((part) => repeated(part) === undefined);
  return whole.length === 0 ? op.sum(parts) : op.sum([...whole, ...parts.flatMap((part) => repeated(part) ?? [])]);
}

/** Elements from which on a tensor is read again: smaller ones cost a node more than they hold. */
const large = 1 << 14;

function secondReadings(readers: ReadonlyMap<Value, () => Value>): (value: Value) => Value | undefined {
  const found = new Map<Value, Value>();
  return (value) => {
    const reader = readers.get(value);
    if (reader === undefined || !isStatic(value.shape) || elementCount(value.shape) < large) return undefined;
    const known = found.get(value) ?? reader();
    found.set(value, known);
    return known;
  };
}

/** A refusal says at which node. */
function atNode<T>(node: Node, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof OhemgenError) || error.where !== undefined) throw error;
    const { code, hint } = error;
    throw new OhemgenError(error.message, { code, where: `node ${node.name || node.op}`, ...(hint === undefined ? {} : { hint }), cause: error });
  }
}

function ruleContext(
  op: OpBuilder,
  node: Node,
  dys: readonly (Value | undefined)[],
  needs: (index: number) => boolean,
  { after, zero, later }: Pick<RuleContext, "after" | "zero" | "later">,
): RuleContext {
  const attrs = withDefaults(schemaOf(node.op as OpName).attrs, plainAttributes(node.attributes)) as OpAttributes<OpName>;
  const [first] = node.outputs;
  const dy = dys[0] ?? (first === undefined ? undefined : op.filledLike(first, 0));
  return {
    op,
    node,
    x: node.inputs as unknown as RuleContext["x"],
    optional: (index) => node.inputs[index],
    y: node.outputs as unknown as RuleContext["y"],
    dy: dy as Value,
    dys,
    attrs,
    needs,
    after,
    zero,
    later,
  };
}
