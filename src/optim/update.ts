/**
 * One optimizer step on flat vectors, a dozen nodes whatever the model. A step whose `finite` is false leaves every
 * state tensor as it was.
 */

import type { Value } from "../ir/graph.ts";
import { tensorNumbers, tensorOf } from "../ir/tensor.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { conditional } from "../ops/conditional.ts";
import { bug } from "../support/errors.ts";
import { joined } from "./gradient.ts";
import type { AdamWOptions, OptimizerSettings, ParameterGroup, SgdOptions } from "./options.ts";

/** What an update needs to know of a group; the length only where there are several. */
export type UpdateGroup = Pick<ParameterGroup, "learningRateFactor" | "weightDecay"> & { readonly length?: number };

/** State tensors by name: `params`, the moments, `step` int64 `[1]`, `ema`. */
export type State = Readonly<Record<string, Value>>;

export interface UpdateInputs {
  /** Vectors that make up the gradient, float32 `[P]`, in order. */
  readonly gradient: readonly Value[];
  /** Its sum of squares, float32 scalar. */
  readonly squares: Value;
  /** float32 scalar */
  readonly learningRate: Value;
  readonly state: State;
  /** bool scalar: whether the step is taken */
  readonly finite: Value;
}

/** Vectors of one length: all elements, or those of one segment. */
interface Elements extends Omit<UpdateInputs, "gradient"> {
  readonly gradient: Value;
}

export interface UpdateOutputs {
  readonly state: State;
  /** L2 norm of the gradient before clipping, float32 scalar. */
  readonly gradientNorm: Value;
}

/** A factor per element: a scalar where all groups agree, else a vector made of one run per group. */
function perElement(op: OpBuilder, groups: readonly UpdateGroup[], pick: (group: UpdateGroup) => number): Value | undefined {
  const [first] = groups;
  if (first === undefined) return bug("an optimizer without parameters");
  if (groups.every((group) => pick(group) === pick(first))) {
    return op.scalar("float32", pick(first));
  }
  const runs = groups.map((group) =>
    op.expand(op.constant(tensorOf("float32", [1], [pick(group)])), op.ints([group.length ?? bug("a group of no known length")])),
  );
  return op.concat(runs, 0);
}

const isNumber = (value: Value, number: number) =>
  value.constant !== undefined && value.shape?.length === 0 && tensorNumbers(value.constant)[0] === Math.fround(number);

/** p − lr·(momentum·buf + g) with the coupled decay g + λp; the first step sets the buffer to the gradient. */
function sgd(op: OpBuilder, settings: SgdOptions, groups: readonly UpdateGroup[], { gradient, learningRate, state }: Elements): Record<string, Value> {
  const params = state["params"] ?? bug("no params");
  const decay = perElement(op, groups, (group) => group.weightDecay) as Value;
  const rate = scaledRate(op, groups, learningRate);
  const decayed = isNumber(decay, 0) ? gradient : op.add(gradient, op.mul(params, decay));
  if (settings.momentum === 0) return { params: op.sub(params, op.mul(decayed, rate)) };
  const buffer = state["momentum"] ?? bug("no momentum");
  // Without dampening the first buffer is the gradient itself: the buffer starts as zeros, so the sum is the same.
  const next = op.add(op.mul(buffer, settings.momentum), decayed);
  const direction = settings.nesterov ? op.add(decayed, op.mul(next, settings.momentum)) : next;
  return { params: op.sub(params, op.mul(direction, rate)), momentum: next };
}

function scaledRate(op: OpBuilder, groups: readonly UpdateGroup[], learningRate: Value): Value {
  const factor = perElement(op, groups, (group) => group.learningRateFactor) as Value;
  return isNumber(factor, 1) ? learningRate : op.mul(factor, learningRate);
}

/**
 * AdamW as torch.optim: p·(1 − lr·λ), then p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε). The bias corrections are
 * taken as −expm1(t·ln β) ≈ 1 − βᵗ in float32, with βᵗ from Pow.
 */
function adamw(op: OpBuilder, settings: AdamWOptions, groups: readonly UpdateGroup[], inputs: Elements): Record<string, Value> {
  const { gradient, learningRate, state } = inputs;
  const params = state["params"] ?? bug("no params");
  const { beta1, beta2, eps } = settings;
  const time = op.squeeze(op.cast(op.add(state["step"] ?? bug("no step"), 1), "float32"), [0]);
  const correction = (beta: number) => biasCorrection(op, beta, time);
  const first = op.add(op.mul(state["exp_avg"] ?? bug("no exp_avg"), beta1), op.mul(gradient, 1 - beta1));
  const second = op.add(op.mul(state["exp_avg_sq"] ?? bug("no exp_avg_sq"), beta2), op.mul(op.mul(gradient, gradient), 1 - beta2));
  const rate = scaledRate(op, groups, learningRate);
  const decay = perElement(op, groups, (group) => group.weightDecay) as Value;
  const shrunk = isNumber(decay, 0) ? params : op.mul(params, op.sub(1, op.mul(rate, decay)));
  const denominator = op.add(op.div(op.sqrt(second), op.sqrt(correction(beta2))), eps);
  const size = op.div(rate, correction(beta1));
  return { params: op.sub(shrunk, op.mul(op.div(first, denominator), size)), exp_avg: first, exp_avg_sq: second };
}

/**
 * 1 − βᵗ without cancellation: with x = t·ln β, −x·(1 + x/2·(1 + x/3·(1 + x/4·(1 + x/5)))) where |x| < 1/8, else 1 − eˣ.
 * In float32 the plain difference loses 5 digits at β = 0.999, t = 1.
 */
function biasCorrection(op: OpBuilder, beta: number, time: Value): Value {
  if (beta === 0) return op.scalar("float32", 1);
  const x = op.mul(time, Math.log(beta));
  let series = op.add(op.mul(x, 1 / 6), 1);
  for (const n of [5, 4, 3, 2]) series = op.add(op.mul(op.mul(x, 1 / n), series), 1);
  const small = op.neg(op.mul(x, series));
  return op.where(op.less(op.abs(x), 0.125), small, op.sub(1, op.exp(x)));
}

/**
 * @param groups slices of the flat vectors in order, covering them
 * @returns every state tensor after the step, and the norm of the gradient
 */
export function optimizerStep(op: OpBuilder, settings: OptimizerSettings, groups: readonly UpdateGroup[], inputs: UpdateInputs): UpdateOutputs {
  const gradientNorm = op.sqrt(inputs.squares);
  // torch.nn.utils.clip_grad_norm_: the factor is max_norm/(norm + 1e-6), at most 1.
  const factor = settings.clipNorm > 0 ? op.min(op.div(op.scalar("float32", settings.clipNorm), op.add(gradientNorm, 1e-6)), 1) : undefined;
  // True wherever the gradient is finite: it makes the norm come first, and what that is made of is free during the update.
  const finite = op.and(inputs.finite, op.greaterOrEqual(gradientNorm, 0));
  return { state: nextState(op, settings, groups, { ...inputs, finite }, factor), gradientNorm };
}

/** @param factor of the gradient, where it is clipped */
function nextState(op: OpBuilder, settings: OptimizerSettings, groups: readonly UpdateGroup[], inputs: UpdateInputs, factor: Value | undefined): State {
  const names = Object.keys(inputs.state);
  const before = names.map((name) => inputs.state[name] as Value);
  const after = (at: OpBuilder) => {
    const updated = inSegments(at, settings, groups, inputs, factor);
    return names.map((name) => updated[name] ?? bug(`no ${name}.next`));
  };
  const named = (values: readonly Value[]): State => Object.fromEntries(names.map((name, i) => [name, values[i] as Value]));
  if (op.provider !== "cpu") return named(after(op).map((next, i) => op.where(inputs.finite, next, before[i] as Value)));
  // On the CPU a Where of long vectors takes as long as the whole update; elsewhere an If would wait for the device.
  const types = before.map(({ dtype, shape }) => ({ dtype, shape }));
  return named(conditional(op, inputs.finite, types, { name: "taken", build: after }, { name: "skipped", build: () => before }));
}

/** Elements that a segment gathers of small parts: they stay in the cache on their way. */
const gathered = 1 << 20;

/** Elements from which on vectors are updated in segments, and parts are cut into such of half as many. */
const long = 1 << 23;

/** A run of elements of one group. */
interface Segment {
  readonly group: UpdateGroup;
  readonly begin: number;
  length: number;
  /** Vectors that make up its gradient. */
  readonly gradient: Value[];
}

/** Vectors cut where a group ends, and long ones into runs that are not. */
function pieces(op: OpBuilder, groups: readonly UpdateGroup[], vectors: readonly Value[], total: number): readonly Segment[] {
  const all: Segment[] = [];
  const rest = groups.map((group) => ({ group, left: group.length ?? total }));
  let begin = 0;
  for (const vector of vectors) {
    const [size] = vector.shape as readonly [number];
    for (let from = 0; from < size; ) {
      const current = rest[0] ?? bug("a gradient with more elements than the groups");
      const length = Math.min(size - from, current.left, size > long ? long / 2 : size);
      all.push({ group: current.group, begin: begin + from, length, gradient: [length === size ? vector : sliceOf(op, vector, from, from + length)] });
      from += length;
      current.left -= length;
      if (current.left === 0) rest.shift();
    }
    begin += size;
  }
  return all;
}

/** The pieces, small ones of a group together. */
function segmentsOf(op: OpBuilder, groups: readonly UpdateGroup[], vectors: readonly Value[], total: number): readonly Segment[] {
  const segments: Segment[] = [];
  for (const piece of pieces(op, groups, vectors, total)) {
    const last = segments.at(-1);
    if (last === undefined || last.group !== piece.group || last.length + piece.length > gathered) segments.push(piece);
    else {
      last.length += piece.length;
      last.gradient.push(...piece.gradient);
    }
  }
  return segments;
}

const sliceOf = (op: OpBuilder, vector: Value, begin: number, end: number) => op.emit("Slice", [vector, op.ints([begin]), op.ints([end])]);

/** A gradient given as one vector, and one rate and decay for all: nothing stands in the way of long vectors, and to cut them would take time. */
const isPlain = (settings: OptimizerSettings, groups: readonly UpdateGroup[], parts: readonly Value[]) =>
  settings.kind === "sgd" &&
  parts.length === 1 &&
  groups.every(({ learningRateFactor, weightDecay }) => learningRateFactor === groups[0]?.learningRateFactor && weightDecay === groups[0]?.weightDecay);

/**
 * Long vectors segment by segment: the gradient, and what the update makes on its way, then fit between what the backward pass
 * has left behind, where whole vectors would each take memory of their own.
 */
function inSegments(
  op: OpBuilder,
  settings: OptimizerSettings,
  groups: readonly UpdateGroup[],
  inputs: UpdateInputs,
  factor: Value | undefined,
): Record<string, Value> {
  const [total] = inputs.state["params"]?.shape ?? [];
  const clipped = (gradient: Value) => (factor === undefined ? gradient : op.mul(gradient, factor));
  if (typeof total !== "number" || total <= long || isPlain(settings, groups, inputs.gradient)) {
    return updatedState(op, settings, groups, { ...inputs, gradient: clipped(joined(op, inputs.gradient)) });
  }
  const parts = segmentsOf(op, groups, inputs.gradient, total).map(({ group, begin, length, gradient }) => {
    const cut = (vector: Value) => (vector.shape?.[0] === total ? sliceOf(op, vector, begin, begin + length) : vector);
    const state = Object.fromEntries(Object.entries(inputs.state).map(([name, vector]) => [name, cut(vector)]));
    return updatedState(op, settings, [group], { ...inputs, gradient: clipped(joined(op, gradient)), state });
  });
  const whole = ([name, first]: [string, Value]) =>
    name === "step"
      ? first
      : op.concat(
          parts.map((part) => part[name] ?? bug(`no ${name}`)),
          0,
        );
  return Object.fromEntries(Object.entries(parts[0] ?? bug("an optimizer without parameters")).map((entry) => [entry[0], whole(entry)]));
}

function updatedState(op: OpBuilder, settings: OptimizerSettings, groups: readonly UpdateGroup[], inputs: Elements): Record<string, Value> {
  const updated = settings.kind === "sgd" ? sgd(op, settings, groups, inputs) : adamw(op, settings, groups, inputs);
  if (settings.ema > 0) {
    const average = inputs.state["ema"] ?? bug("no ema");
    updated["ema"] = op.add(op.mul(average, settings.ema), op.mul(updated["params"] as Value, 1 - settings.ema));
  }
  updated["step"] = op.add(inputs.state["step"] ?? bug("no step"), 1);
  return updated;
}
