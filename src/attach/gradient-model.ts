/**
 * The gradient of one tensor of any model with respect to others, as a model: the forward graph, ⟨of.grad, of⟩ walked
 * back. Every tensor keeps its name, type and shape; what does not influence `of` has the gradient 0.
 */

import { activeNodes, differentiate } from "../autodiff/engine.ts";
import type { Shape } from "../ir/dims.ts";
import { type DataType, isFloat } from "../ir/dtype.ts";
import { type GraphOutput, type Model, type Node, producersOf, type Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import { apart } from "../passes/apart.ts";
import { tensorOfConstant } from "../passes/convert/spelling.ts";
import { inline } from "../passes/inline.ts";
import { type Normalized, normalize } from "../passes/normalize.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { floatTypeOf } from "./element-type.ts";
import { inputShapes } from "./inputs.ts";
import { normalizedModel, type PhaseObserver } from "./phases.ts";

export interface GradientOptions {
  /** The tensor that is differentiated: an output of the model, or any tensor that a node makes. */
  readonly of: string;
  /** Inputs, initializers or inner tensors. */
  readonly wrt: readonly string[];
  /** Sizes per input: numbers fix a dimension, names keep it dynamic. */
  readonly inputShapes?: Readonly<Record<string, readonly (number | string)[]>>;
}

export interface GradientTensor {
  readonly name: string;
  readonly type: DataType;
  readonly shape: Shape | undefined;
}

export interface GradientResult {
  readonly model: Model;
  readonly of: GradientTensor;
  /** `zero`: the tensor does not reach `of`, or only through piecewise constant operators. */
  readonly wrt: readonly (GradientTensor & { readonly zero: boolean })[];
}

/** A named tensor of the file, and where it comes from. */
interface Place {
  readonly value: Value;
  readonly kind: "input" | "stored" | "inner";
  /** The numbers of a stored one: an initializer, or what a Constant node holds. */
  readonly tensor?: Tensor;
}

function placeOf(model: Model, name: string, producers: ReadonlyMap<Value, Node>): Place {
  const { graph } = model;
  const inner = graph.outputs.find((output) => output.name === name)?.value ?? [...producers.keys()].find((value) => value.name === name);
  const value = inner ?? [...graph.inputs, ...graph.initializers].find((candidate) => candidate.name === name);
  if (value === undefined) throw unknownTensor(model, name);
  if (value.constant !== undefined) return { value, kind: "stored", tensor: value.constant };
  const node = producers.get(value);
  if (node === undefined) return { value, kind: "input" };
  const tensor = node.op === "Constant" && node.domain === "" ? tensorOfConstant(node.attributes) : undefined;
  return tensor === undefined ? { value, kind: "inner" } : { value, kind: "stored", tensor };
}

function unknownTensor(model: Model, name: string): OhemgenError {
  const { inputs, outputs } = model.graph;
  return new OhemgenError(`the model has no tensor named ${name}`, {
    code: "E211",
    where: name,
    hint: `Its inputs are: ${inputs.map((value) => value.name).join(", ")}; its outputs: ${outputs.map((output) => output.name).join(", ")}. Tensors inside control flow or functions cannot be named.`,
  });
}

function refusal(message: string, where: string, hint: string): OhemgenError {
  return new OhemgenError(message, { code: "E240", where, hint });
}

/** Names of `X.grad` that the graph would need twice, and tensors that cannot have a gradient at all. */
function checkNames(model: Model, of: string, ofPlace: Place, wrt: readonly string[]): void {
  if (ofPlace.kind !== "inner") {
    throw refusal(
      `${of} is ${ofPlace.kind === "input" ? "an input" : "a constant"} of the model, no function of anything`,
      of,
      "Give --of a tensor that a node computes.",
    );
  }
  if (wrt.includes(of)) throw refusal(`the gradient of ${of} with respect to itself is ${of}.grad, which is an input`, of, "Leave it out of --wrt.");
  const names = new Set(model.graph.inputs.map((value) => value.name));
  for (const name of [of, ...wrt]) {
    if (names.has(`${name}.grad`)) throw refusal(`the model has an input ${name}.grad already`, name, "Rename the input.");
    if (wrt.includes(`${name}.grad`) || of === `${name}.grad`) throw refusal(`${name}.grad is a tensor of the model`, name, "Differentiate in two runs.");
  }
  const opaque = model.graph.inputs.find((value) => value.opaque === true);
  if (opaque !== undefined) throw refusal(`the input ${opaque.name} is no tensor`, opaque.name, "Sequences, maps and optional inputs are not supported.");
}

function checkFloat(name: string, dtype: DataType, what: string): void {
  if (isFloat(dtype)) return;
  if (dtype === "undefined") throw refusal(`the type of ${name} is not known`, name, "Run ONNX shape inference on the model first.");
  throw refusal(`${name} is ${dtype}: ${what}`, name, "Only tensors of floating point numbers have gradients.");
}

interface Started {
  readonly op: OpBuilder;
  /** Stored tensors that became inputs. */
  readonly weights: readonly Value[];
  /** What the values of the normalized model became. */
  readonly values: ReadonlyMap<Value, Value>;
}

/** The forward graph, with the stored tensors in it as inputs, or as constants that nothing is folded through. */
function start(normalized: Normalized, stored: readonly Place[], asInputs: boolean): Started {
  const op = new OpBuilder();
  const substitutes = new Map<Value, Value>(normalized.inputs.map((value) => [value, value]));
  const weights: Value[] = [];
  for (const { value, tensor = bug("a stored tensor without numbers") } of stored) {
    const kept = normalized.kept.get(value) ?? bug(`${value.name} was not kept`);
    if (asInputs) {
      const weight: Value = { name: value.name, dtype: "float32", shape: tensor.dims };
      weights.push(weight);
      substitutes.set(kept, weight);
      continue;
    }
    const constant: Value = { name: value.name, dtype: tensor.dtype, shape: tensor.dims, constant: tensor };
    substitutes.set(kept, op.cast(apart(op, constant, `${value.name}_value`), "float32"));
  }
  return { op, weights, values: inline(op, normalized.nodes, substitutes) };
}

/**
 * The graph `ohemgen grad` writes. Inputs: the model's, and `NAME.grad` with the type and shape of the tensor `of`;
 * outputs: `NAME`, and `W.grad` for every `wrt`, each in the type and shape of its tensor. Half, bfloat16 and double
 * models are computed in float32 and cast where tensors enter and leave. Kinks as in PyTorch.
 *
 * @param observe told of each phase that is done
 * @throws OhemgenError E211 (no such tensor), E240 (no gradient can be had), E201 (all operators without a rule)
 */
export function gradientModel(model: Model, options: GradientOptions, observe?: PhaseObserver): GradientResult {
  const { forward: _, ...result } = gradientModels(model, options, false, observe);
  observe?.("gradient", () => result.model);
  return result;
}

/** The same, and the forward pass alone; with `weightsAsInputs` stored tensors of `wrt` are float32 inputs of both. */
export function gradientModels(
  model: Model,
  options: GradientOptions,
  weightsAsInputs: boolean,
  observe?: PhaseObserver,
): GradientResult & { readonly forward: Model } {
  const { of } = options;
  const names = [...new Set(options.wrt)];
  const producers = producersOf(model.graph.nodes);
  const target = placeOf(model, of, producers);
  const places = names.map((name) => placeOf(model, name, producers));
  checkNames(model, of, target, names);
  const inner = places.filter(({ kind }) => kind === "inner").map(({ value }) => value);
  const stored = places.filter(({ kind }) => kind === "stored");
  names.forEach((name, i) => {
    const { kind, value, tensor } = places[i] as Place;
    if (kind !== "inner") checkFloat(name, tensor?.dtype ?? value.dtype, "it cannot be differentiated by");
  });
  const normalized = normalize(model, {
    inputShapes: inputShapes(model, options.inputShapes),
    keep: stored.map(({ value }) => value),
    targets: [...new Set([target.value, ...inner])],
    held: inner,
    batchNorm: "file",
  });
  observe?.("normalized", () => normalizedModel(normalized));
  const { op, values, weights } = start(normalized, stored, weightsAsInputs);
  const now = (value: Value | undefined): Value => (value === undefined ? bug("a tensor that was not built") : (values.get(value) ?? value));
  const y = now(normalized.targets.get(target.value));
  checkFloat(of, y.dtype, "it cannot be differentiated");
  const wanted = places.map(({ kind, value }, i): Value => {
    if (kind === "input") return normalized.inputs[model.graph.inputs.indexOf(value)] as Value;
    const free = now(kind === "stored" ? normalized.kept.get(value) : normalized.targets.get(value));
    checkFloat(names[i] as string, free.dtype, "it cannot be differentiated by");
    return free;
  });
  const type = floatTypeOf(target.value, producers);
  const seed: Value = { name: `${of}.grad`, dtype: type, shape: y.shape ?? target.value.shape };
  const forward = [...op.draft.nodes];
  const seeds = new Map([[y, op.cast(seed, y.dtype)]]);
  const found = differentiate(op, forward, seeds, wanted, { path: { between: `between ${names.join(", ")} and ${of}`, hint: missingHint } });
  const reached = new Set(activeNodes(forward, wanted, seeds.keys()).flatMap((node) => node.inputs));
  const results = wanted.map((value, i) => {
    const place = places[i] as Place;
    const name = names[i] as string;
    const own =
      weightsAsInputs && place.kind === "stored"
        ? "float32"
        : (place.tensor?.dtype ?? (place.kind === "input" ? place.value.dtype : floatTypeOf(place.value, producers)));
    // Not every runtime fills tensors of half precision.
    const gradient = op.cast(found.get(value) ?? op.expandLike(op.scalar("float32", 0), value), own);
    return { name, type: own, shape: value.shape, zero: !(found.has(value) && (reached.has(value) || value === y)), gradient };
  });
  const output: GraphOutput = { name: of, value: op.cast(y, type) };
  const outputs: GraphOutput[] = [output, ...results.map(({ name, gradient }) => ({ name: `${name}.grad`, value: gradient }))];
  return {
    forward: finishModel(op, "forward", [...normalized.inputs, ...weights], [output]),
    model: finishModel(op, "gradient", [...normalized.inputs, ...weights, seed], outputs),
    of: { name: of, type, shape: y.shape },
    wrt: results.map(({ gradient: _, ...tensor }) => tensor),
  };
}

const missingHint = "`ohemgen ops` lists the operators that have one. A tensor behind these nodes may be given to --wrt instead.";
