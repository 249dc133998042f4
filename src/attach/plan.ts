/** What is to be trained, decided and checked before anything is built: heads, tensors, sizes, layout of the state. */

import { activeNodes, checkRules, influencing } from "../autodiff/engine.ts";
import { type Dim, elementCount, type Shape, shapeText } from "../ir/dims.ts";
import { type DataType, isFloat } from "../ir/dtype.ts";
import type { Model, Node, Value } from "../ir/graph.ts";
import { typeText } from "../ir/graph.ts";
import { neededNodes } from "../ir/needed.ts";
import { checkForChannels, type ResolvedLossOptions, resolveLossOptions } from "../loss/options.ts";
import type { Provider } from "../ops/provider.ts";
import { type OptimizerSettings, resolveOptimizer } from "../optim/options.ts";
import { inlineFunctions } from "../passes/inline-functions.ts";
import { type Normalized, normalize } from "../passes/normalize.ts";
import { OhemgenError, usageError } from "../support/errors.ts";
import { checkInputs, imageSizes, inputShapes } from "./inputs.ts";
import { findLogits, valueByName } from "./logits.ts";
import type { HeadResetInfo, UntiedInfo } from "./manifest.ts";
import type { AttachOptions } from "./options.ts";
import { resetHeads } from "./reset-head.ts";
import { layOut, type StateLayout } from "./state.ts";
import { chooseTrainable, type StoredTensor, storedTensors, type TrainableChoice } from "./trainable.ts";
import { type UntieOptions, untieTensors } from "./untie.ts";

export interface Head {
  /** "" for the only or main head. */
  readonly name: string;
  /** The logits in the file. */
  readonly source: Value;
  readonly weight: number;
  readonly loss: ResolvedLossOptions;
  readonly classes: number;
}

export interface Statistic {
  readonly value: Value;
  readonly offset: number;
  readonly length: number;
  readonly initial: StoredTensor;
}

export interface Plan {
  readonly model: Model;
  readonly provider: Provider;
  readonly checkpointActivations: boolean;
  readonly heads: readonly Head[];
  readonly resetHead: HeadResetInfo | null;
  readonly untied: UntiedInfo | null;
  readonly image: Value;
  readonly labels: { readonly dtype: DataType; readonly shape: Shape };
  readonly choice: TrainableChoice;
  readonly layout: StateLayout;
  readonly optimizer: OptimizerSettings;
  readonly statistics: readonly Statistic[];
  /** The model as training runs it, and as evaluation does (the same unless batch statistics are used). */
  readonly training: Normalized;
  readonly evaluation: Normalized;
}

function sourcesOfHeads(
  model: Model,
  options: AttachOptions,
): readonly { name: string; source: Value; weight: number; loss: Readonly<Record<string, unknown>> }[] {
  const given = options.heads ?? [];
  const main = given.some((head) => head.name === undefined || head.name === "main" || head.name === "") && options.logits === undefined;
  const rest = given.map((head, i) => {
    if (head.logits === undefined) throw usageError(`head ${i + 1} names no logits`, 'Give it `"logits": NAME`.');
    const name = head.name ?? (main && i === 0 ? "" : `aux${given.length > 1 ? i + 1 : ""}`);
    const source = valueByName(model, head.logits);
    return { name, source, weight: head.weight ?? (main && i === 0 ? 1 : 0.4), loss: { ...options.loss, ...head.loss } };
  });
  if (main) return rest;
  const source =
    options.logits === undefined && rest.length > 0
      ? otherThan(
          model,
          rest.map((head) => head.source),
        )
      : findLogits(model, options.logits);
  return [{ name: rest.length > 0 ? "main" : "", source, weight: 1, loss: options.loss ?? {} }, ...rest];
}

/** The main head where `--aux` took the other candidates. */
function otherThan(model: Model, taken: readonly Value[]): Value {
  const outputs = model.graph.outputs.filter((output) => !taken.includes(output.value));
  return findLogits({ ...model, graph: { ...model.graph, outputs } }, undefined);
}

function classCount(logits: Value, source: Value): number {
  const [, classes] = logits.shape ?? [];
  if (logits.shape?.length === 4 && logits.dtype === "float32" && typeof classes === "number") return classes;
  throw new OhemgenError(`${source.name} is ${typeText(logits)}; logits are float32[N,C,h,w] with a fixed number of classes`, {
    code: "E214",
    where: source.name,
    hint: "Name the tensor before softmax or argmax with --logits, or fix sizes with --input-shape.",
  });
}

/** Running mean and variance of the batch normalizations among the nodes. */
function runningStatistics(nodes: readonly Node[]): readonly Value[] {
  const found = new Set<Value>();
  for (const node of nodes) {
    if (node.op !== "BatchNormalization" || node.domain !== "") continue;
    for (const value of node.inputs.slice(3, 5)) if (value !== undefined) found.add(value);
  }
  return [...found];
}

function labelType(options: AttachOptions, heads: readonly { classes: number; loss: ResolvedLossOptions }[]): DataType {
  const fits = heads.every(({ classes, loss }) => classes <= 256 && loss.ignoreIndex >= 0 && loss.ignoreIndex <= 255);
  const wanted = options.labelType ?? "auto";
  // The WebGPU provider has no type of 8 bits.
  if (wanted === "auto") return fits && options.provider !== "webgpu" ? "uint8" : "int32";
  return wanted;
}

function labelShape(options: AttachOptions, image: Value, heads: readonly Value[]): Shape {
  const { batch, height, width } = imageSizes(image);
  const size = options.labelSize ?? "full";
  if (size === "full") return [batch, height, width];
  if (size !== "logits") return [batch, ...size];
  const [first, ...rest] = heads.map((logits) => (logits.shape as Shape).slice(2));
  if (rest.some((other) => shapeText(other) !== shapeText(first))) {
    throw new OhemgenError("the heads have logits of different sizes", { code: "E215", hint: "Use --label-size full or H,W." });
  }
  return [batch, ...(first as readonly Dim[])];
}

/**
 * @throws OhemgenError for everything that stands in the way, before anything is built
 */
export function planTraining(original: Model, options: AttachOptions): Plan {
  const untying = untieOptions(options);
  const untied = untying === undefined ? undefined : untieTensors(original, untying);
  const file = untied?.model ?? original;
  const inlined = inlineFunctions(file);
  checkInputs(inlined.model);
  const optimizer = resolveOptimizer(optimizerArguments(options));
  const sources = sourcesOfHeads(inlined.model, options);
  const targets = sources.map((head) => head.source);
  const resetting = { classes: options.resetHead ?? 0, seed: options.seed ?? 0 };
  const reset = options.resetHead === undefined ? undefined : resetHeads(file, inlined, targets, resetting);
  const { model, versions, embedded } = reset?.inlined ?? inlined;
  const shapes = inputShapes(model, options.inputShapes);
  const batchNorm = options.batchNorm ?? "frozen";
  const needed = neededNodes(model.graph.nodes, targets);
  const statisticValues = runningStatistics(needed);
  const reachable = new Set<Value>();
  for (const { inputs, outputs } of needed) {
    for (const value of inputs) if (value !== undefined) reachable.add(value);
    for (const value of outputs) if (value !== undefined) reachable.add(value);
  }
  const first = chooseTrainable(model.graph, { train: options.train, freeze: options.freeze, reachable, statistics: new Set(statisticValues), embedded });
  const stored = new Map(storedTensors(model.graph).map((tensor) => [tensor.value, tensor]));
  const keptStatistics = batchNorm === "batch" ? statisticValues : [];
  const run = (trained: readonly StoredTensor[], mode: "frozen" | "batch") =>
    normalize(model, { versions, inputShapes: shapes, keep: [...trained.map(({ value }) => value), ...keptStatistics], batchNorm: mode, targets });
  let training = run(first.trained, batchNorm);
  let active = activeIn(training, first);
  const choice = withoutInfluence(first, training, active);
  if (choice.trained.length < first.trained.length) {
    training = run(choice.trained, batchNorm);
    active = activeIn(training, choice);
  }
  const heads = sources.map((head): Head => {
    const classes = classCount(training.targets.get(head.source) as Value, head.source);
    const loss = resolveLossOptions(head.loss, options.preset);
    checkForChannels(loss, classes);
    return { ...head, classes, loss };
  });
  checkClasses(options, heads);
  checkRules(active);
  const evaluation = batchNorm === "batch" ? run(choice.trained, "frozen") : training;
  const image = imageInput(training);
  let offset = 0;
  const statistics = keptStatistics.map((value): Statistic => {
    const initial = stored.get(value);
    if (initial === undefined || embedded.has(value)) {
      throw new OhemgenError("running statistics that are computed in the graph, or lie in a function of it, cannot be updated", {
        code: "E216",
        where: value.name,
        hint: "Use --bn frozen.",
      });
    }
    const length = elementCount(initial.tensor.dims);
    offset += length;
    return { value, offset: offset - length, length, initial };
  });
  return {
    model,
    provider: options.provider ?? "any",
    checkpointActivations: options.checkpointActivations ?? false,
    heads,
    resetHead: reset === undefined ? null : { ...resetting, tensors: reset.tensors },
    untied: untying === undefined || untied === undefined ? null : { ...untying, tensors: untied.tensors },
    image,
    labels: {
      dtype: labelType(options, heads),
      shape: labelShape(
        options,
        image,
        sources.map((head) => training.targets.get(head.source) as Value),
      ),
    },
    choice,
    layout: layOut(choice.trained, options.optimizer ?? {}, optimizer.kind),
    optimizer,
    statistics,
    training,
    evaluation,
  };
}

export function untieOptions({ untie, batchNorm }: AttachOptions): UntieOptions | undefined {
  return untie === undefined ? undefined : { patterns: untie, statistics: batchNorm === "batch" };
}

function optimizerArguments(options: AttachOptions) {
  const { weightDecay: _, decayExclude: __, learningRateFactors: ___, ...rest } = options.optimizer ?? {};
  return rest;
}

function checkClasses(options: AttachOptions, heads: readonly Head[]): void {
  const other = options.classes === undefined ? undefined : heads.find((head) => head.classes !== options.classes);
  if (other !== undefined) {
    throw new OhemgenError(`the model has ${other.classes} classes, not ${options.classes}`, {
      code: "E217",
      where: other.source.name,
      hint: "Leave --classes out, or choose other logits.",
    });
  }
  const [main] = heads;
  const names = options.classNames?.length;
  if (names !== undefined && names !== Math.max(main?.classes ?? 0, main?.classes === 1 ? 2 : 0) && names !== main?.classes) {
    throw new OhemgenError(`${names} class names for ${main?.classes} classes`, { code: "E217", hint: "One name per class, in the order of the channels." });
  }
}

/** What the tensors trained became. */
function freeIn({ kept }: Normalized, { trained }: TrainableChoice): readonly Value[] {
  return trained.map(({ value }) => kept.get(value) as Value);
}

function activeIn(normalized: Normalized, choice: TrainableChoice): readonly Node[] {
  return activeNodes(normalized.nodes, freeIn(normalized, choice), normalized.targets.values());
}

/** Tensors from which no gradient path leads to the logits are frozen after all. */
function withoutInfluence(choice: TrainableChoice, normalized: Normalized, active: readonly Node[]): TrainableChoice {
  const free = freeIn(normalized, choice);
  const useful = influencing(active, free, normalized.targets.values());
  const keep = choice.trained.filter((_, i) => useful.has(free[i] as Value));
  const dropped = choice.trained.filter((_, i) => !useful.has(free[i] as Value));
  if (keep.length === 0)
    throw new OhemgenError("no tensor is left to train: none influences the logits", { code: "E213", hint: "Check --logits, --train and --freeze." });
  return { trained: keep, frozen: [...choice.frozen, ...dropped.map((stored) => ({ stored, reason: "does not influence the logits" }))] };
}

/** The picture: the float input of rank 4 that the logits depend on. */
function imageInput(normalized: Normalized): Value {
  const isRead = (value: Value) => normalized.nodes.some(({ inputs }) => inputs.includes(value));
  const candidates = normalized.inputs.filter((value) => value.shape?.length === 4 && isRead(value));
  const floats = candidates.filter((value) => isFloat(value.dtype));
  const image = floats[0] ?? candidates[0];
  if (image !== undefined) return image;
  throw new OhemgenError("the logits depend on no input of shape [N,C,H,W]", {
    code: "E218",
    hint: "Give the shape of the picture with --input-shape NAME=N,C,H,W.",
  });
}
