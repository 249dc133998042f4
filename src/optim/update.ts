/**
 * One optimizer step on flat vectors, a dozen nodes whatever the model. A step whose `finite` is false leaves every
 * state tensor as it was.
 */

import type { Value } from "../ir/graph.ts";
import { tensorNumbers, tensorOf } from "../ir/tensor.ts";
import type { OpBuilder } from "../ops/builder.ts";
import { conditional } from "../ops/conditional.ts";
import { bug } from "../support/errors.ts";
import type { AdamWOptions, OptimizerSettings, ParameterGroup, SgdOptions } from "./options.ts";

/** What an update needs to know of a group; the length only where there are several. */
export type UpdateGroup = Pick<ParameterGroup, "learningRateFactor" | "weightDecay"> & { readonly length?: number };

/** State tensors by name: `params`, the moments, `step` int64 `[1]`, `ema`. */
export type State = Readonly<Record<string, Value>>;

export interface UpdateInputs {
  /** float32 `[P]` */
  readonly gradient: Value;
  /** Its sum of squares, float32 scalar. */
  readonly squares: Value;
  /** float32 scalar */
  readonly learningRate: Value;
  readonly state: State;
  /** bool scalar: whether the step is taken */
  readonly finite: Value;
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
function sgd(op: OpBuilder, settings: SgdOptions, groups: readonly UpdateGroup[], { gradient, learningRate, state }: UpdateInputs): Record<string, Value> {
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
function adamw(op: OpBuilder, settings: AdamWOptions, groups: readonly UpdateGroup[], inputs: UpdateInputs): Record<string, Value> {
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
  let gradient = inputs.gradient;
  if (settings.clipNorm > 0) {
    // torch.nn.utils.clip_grad_norm_: the factor is max_norm/(norm + 1e-6), at most 1.
    const factor = op.min(op.div(op.scalar("float32", settings.clipNorm), op.add(gradientNorm, 1e-6)), 1);
    gradient = op.mul(gradient, factor);
  }
  // True wherever the gradient is finite: it makes the norm come first, and what that is made of is free during the update.
  const finite = op.and(inputs.finite, op.greaterOrEqual(gradientNorm, 0));
  return { state: nextState(op, settings, groups, { ...inputs, gradient, finite }), gradientNorm };
}

function nextState(op: OpBuilder, settings: OptimizerSettings, groups: readonly UpdateGroup[], inputs: UpdateInputs): State {
  const names = Object.keys(inputs.state);
  const before = names.map((name) => inputs.state[name] as Value);
  const after = (at: OpBuilder) => {
    const updated = inSegments(at, settings, groups, inputs);
    return names.map((name) => updated[name] ?? bug(`no ${name}.next`));
  };
  const named = (values: readonly Value[]): State => Object.fromEntries(names.map((name, i) => [name, values[i] as Value]));
  if (op.provider !== "cpu") return named(after(op).map((next, i) => op.where(inputs.finite, next, before[i] as Value)));
  // On the CPU a Where of long vectors takes as long as the whole update; elsewhere an If would wait for the device.
  const types = before.map(({ dtype, shape }) => ({ dtype, shape }));
  return named(conditional(op, inputs.finite, types, { name: "taken", build: after }, { name: "skipped", build: () => before }));
}

/** Elements of long vectors that are updated together. */
const segmentLength = 1 << 22;

/**
 * SGD with one rate and decay for all makes one vector on its way, which fits where the copy of the gradient for its norm
 * was: cutting and joining pieces would take as long again. AdamW on 40 M parameters peaks a quarter lower in pieces.
 */
const isPlain = (settings: OptimizerSettings, groups: readonly UpdateGroup[]) =>
  settings.kind === "sgd" &&
  groups.every(({ learningRateFactor, weightDecay }) => learningRateFactor === groups[0]?.learningRateFactor && weightDecay === groups[0]?.weightDecay);

/**
 * Long vectors piece by piece: what the update makes on its way then fits between what the backward pass has left behind,
 * where whole vectors would each take memory of their own.
 */
function inSegments(op: OpBuilder, settings: OptimizerSettings, groups: readonly UpdateGroup[], inputs: UpdateInputs): Record<string, Value> {
  const total = inputs.gradient.shape?.[0];
  if (typeof total !== "number" || total <= 2 * segmentLength || isPlain(settings, groups)) return updatedState(op, settings, groups, inputs);
  const cut = (vector: Value, begin: number, end: number) =>
    vector.shape?.[0] === total ? op.emit("Slice", [vector, op.ints([begin]), op.ints([end])]) : vector;
  const parts: Record<string, Value>[] = [];
  let begin = 0;
  for (const group of groups) {
    const last = begin + (group.length ?? total);
    while (begin < last) {
      const [from, to] = [begin, Math.min(begin + segmentLength, last)];
      const state = Object.fromEntries(Object.entries(inputs.state).map(([name, vector]) => [name, cut(vector, from, to)]));
      parts.push(updatedState(op, settings, [group], { ...inputs, gradient: cut(inputs.gradient, from, to), state }));
      begin = to;
    }
  }
  const whole = ([name, first]: [string, Value]) =>
    name === "step"
      ? first
      : op.concat(
          parts.map((part) => part[name] ?? bug(`no ${name}`)),
          0,
        );
  return Object.fromEntries(Object.entries(parts[0] ?? bug("an optimizer without parameters")).map((entry) => [entry[0], whole(entry)]));
}

function updatedState(op: OpBuilder, settings: OptimizerSettings, groups: readonly UpdateGroup[], inputs: UpdateInputs): Record<string, Value> {
  const updated = settings.kind === "sgd" ? sgd(op, settings, groups, inputs) : adamw(op, settings, groups, inputs);
  if (settings.ema > 0) {
    const average = inputs.state["ema"] ?? bug("no ema");
    updated["ema"] = op.add(op.mul(average, settings.ema), op.mul(updated["params"] as Value, 1 - settings.ema));
  }
  updated["step"] = op.add(inputs.state["step"] ?? bug("no step"), 1);
  return updated;
}
