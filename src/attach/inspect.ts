/**
 * What there is to know about a model before it is trained. Never fails where `attach` would: what stands in the way is
 * part of the report, and everything that can still be told is told.
 */

import { activeNodes, missingRules } from "../autodiff/engine.ts";
import { elementCount, isStatic, type Shape } from "../ir/dims.ts";
import type { DataType } from "../ir/dtype.ts";
import { type Model, type Node, typeText, type Value } from "../ir/graph.ts";
import { neededNodes } from "../ir/needed.ts";
import { inlineFunctions } from "../passes/inline-functions.ts";
import { type Normalized, normalize } from "../passes/normalize.ts";
import { OhemgenError } from "../support/errors.ts";
import { inputShapes } from "./inputs.ts";
import { findLogits, type LogitsCandidate, logitsCandidates, valueByName } from "./logits.ts";
import { type OperatorState, operatorState } from "./operators.ts";
import type { AttachOptions } from "./options.ts";
import { untieOptions } from "./plan.ts";
import { sharingIn } from "./sharing.ts";
import { estimateStep, type StepEstimate } from "./step-estimate.ts";
import { chooseTrainable, type TrainableChoice } from "./trainable.ts";
import { untieTensors } from "./untie.ts";

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export interface TensorSummary {
  readonly name: string;
  readonly type: DataType;
  readonly shape: Shape | null;
}

export interface LogitsReport {
  readonly name: string;
  /** The output they were found from. */
  readonly output: string;
  /** What lies between, from the output back: `ArgMax /head/ArgMax`. */
  readonly behind: readonly string[];
  readonly shape: Shape | null;
  readonly classes: number | null;
}

export interface Inspection {
  readonly file: {
    readonly irVersion: number;
    readonly opset: number | null;
    readonly domains: Readonly<Record<string, number>>;
    readonly producer: string;
    readonly nodes: number;
    readonly functions: number;
  };
  readonly inputs: readonly TensorSummary[];
  readonly outputs: readonly TensorSummary[];
  /** Candidates; more than one needs `--logits`. */
  readonly logits: readonly LogitsReport[];
  readonly trained: readonly (TensorSummary & { readonly role: string; readonly numbers: number })[];
  readonly frozen: readonly (TensorSummary & { readonly reason: string; readonly numbers: number })[];
  /** Trained tensors that several nodes read. */
  readonly shared: readonly { readonly name: string; readonly readers: readonly string[] }[];
  readonly runningStatistics: readonly string[];
  readonly operators: readonly { readonly op: string; readonly nodes: number; readonly state: OperatorState }[];
  /** Nodes between the trained tensors and the logits that have no rule. */
  readonly missing: readonly { readonly op: string; readonly node: string; readonly output: string }[];
  readonly step: StepEstimate | null;
  readonly problems: readonly Problem[];
}

const summary = ({ name, dtype, shape }: Value, as = name): TensorSummary => ({ name: as, type: dtype, shape: shape ?? null });

/** Collects what goes wrong and goes on. */
function attempts(): { readonly problems: Problem[]; readonly attempt: <T>(work: () => T) => T | undefined } {
  const problems: Problem[] = [];
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      const known = error instanceof OhemgenError;
      const message = error instanceof Error ? error.message : String(error);
      const problem = { code: known ? error.code : "E700", message, hint: known ? (error.hint ?? null) : null };
      if (!problems.some((other) => other.message === message)) problems.push(problem);
      return undefined;
    }
  };
  return { problems, attempt };
}

/** The candidates, or the tensors that options name. */
function chosenLogits(model: Model, options: AttachOptions, attempt: <T>(work: () => T) => T | undefined): readonly LogitsCandidate[] {
  const candidates = logitsCandidates(model.graph);
  const names = [options.logits, ...(options.heads ?? []).map((head) => head.logits)].filter((name) => name !== undefined);
  if (names.length === 0) {
    attempt(() => findLogits(model, undefined));
    return candidates;
  }
  return names.flatMap((name) => {
    const value = attempt(() => valueByName(model, name));
    if (value === undefined) return [];
    return [candidates.find((candidate) => candidate.value === value) ?? { value, output: name, passed: [] }];
  });
}

function statisticsOf(nodes: readonly Node[]): readonly Value[] {
  const found = nodes.flatMap((node) => (node.op === "BatchNormalization" && node.domain === "" ? node.inputs.slice(3, 5) : []));
  return [...new Set(found.filter((value) => value !== undefined))];
}

function countOperators(nodes: readonly Node[]): Inspection["operators"] {
  const counts = new Map<string, { nodes: number; node: Node }>();
  for (const node of nodes) {
    const op = node.domain === "" ? node.op : `${node.domain}::${node.op}`;
    const entry = counts.get(op);
    if (entry === undefined) counts.set(op, { nodes: 1, node });
    else entry.nodes += 1;
  }
  return [...counts]
    .map(([op, { nodes: number, node }]) => ({ op, nodes: number, state: operatorState(node) }))
    .sort((a, b) => b.nodes - a.nodes || (a.op < b.op ? -1 : 1));
}

function sharedTensors(model: Model, choice: TrainableChoice | undefined): Inspection["shared"] {
  const sharing = sharingIn(model.graph);
  return (choice?.trained ?? []).flatMap(({ value }) => {
    const { readings } = sharing(value);
    return readings.length < 2 ? [] : [{ name: value.name, readers: readings.map(({ node, label }) => node.name || label) }];
  });
}

function logitsReport({ value, output, passed }: LogitsCandidate, normalized: Normalized | undefined): LogitsReport {
  const shape = (normalized?.targets.get(value) ?? value).shape ?? null;
  const [, classes] = shape ?? [];
  return {
    name: output === value.name ? output : value.name,
    output,
    behind: passed.map((node) => `${node.op} ${node.name}`.trim()),
    shape,
    classes: typeof classes === "number" ? classes : null,
  };
}

export function inspect(file: Model, options: AttachOptions = {}): Inspection {
  const { problems, attempt } = attempts();
  const untying = untieOptions(options);
  const separate = (untying === undefined ? undefined : attempt(() => untieTensors(file, untying)))?.model ?? file;
  const { model, versions, embedded } = attempt(() => inlineFunctions(separate)) ?? { model: separate, versions: new Map(), embedded: new Set<Value>() };
  const { graph } = model;
  const candidates = chosenLogits(model, options, attempt);
  const targets = candidates.map(({ value }) => value);
  const needed = neededNodes(graph.nodes, targets);
  const statistics = statisticsOf(needed);
  const reachable = new Set(needed.flatMap((node) => [...node.inputs, ...node.outputs]).filter((value) => value !== undefined));
  const choice = attempt(() => chooseTrainable(graph, { train: options.train, freeze: options.freeze, reachable, statistics: new Set(statistics), embedded }));
  const shapes = attempt(() => inputShapes(model, options.inputShapes)) ?? new Map<string, Shape>();
  const keep = (choice?.trained ?? []).map(({ value }) => value);
  const normalized = attempt(() => normalize(model, { versions, inputShapes: shapes, keep, targets }));
  const free = normalized === undefined ? [] : [...normalized.kept.values()];
  const missing = normalized === undefined ? [] : missingRules(activeNodes(normalized.nodes, free, [...normalized.targets.values()]));
  const step = attempt(() => estimateStep(file, options)) ?? null;
  return {
    file: {
      irVersion: model.irVersion,
      opset: model.opsets.get("") ?? null,
      domains: Object.fromEntries(model.opsets),
      producer: `${model.producer.name} ${model.producer.version}`.trim(),
      nodes: graph.nodes.length,
      functions: model.functions.length,
    },
    inputs: graph.inputs.map((value) => summary(value)),
    outputs: graph.outputs.map(({ name, value }) => summary(value, name)),
    logits: candidates.map((candidate) => logitsReport(candidate, normalized)),
    trained: (choice?.trained ?? []).map(({ value, tensor, role }) => ({
      name: value.name,
      type: tensor.dtype,
      shape: tensor.dims,
      role,
      numbers: elementCount(tensor.dims),
    })),
    frozen: (choice?.frozen ?? []).map(({ stored: { value, tensor }, reason }) => ({
      name: value.name,
      type: tensor.dtype,
      shape: tensor.dims,
      reason,
      numbers: elementCount(tensor.dims),
    })),
    shared: sharedTensors(model, choice),
    runningStatistics: statistics.map(({ name }) => name),
    operators: countOperators(graph.nodes),
    missing: missing.map((node) => {
      const [output] = node.outputs;
      return { op: node.domain === "" ? node.op : `${node.domain}::${node.op}`, node: node.name, output: output === undefined ? "" : typeText(output) };
    }),
    step,
    problems,
  };
}

/** Whether all sizes of the inputs are fixed. */
export function hasFixedSizes(inputs: readonly TensorSummary[]): boolean {
  return inputs.every(({ shape }) => isStatic(shape ?? undefined));
}
