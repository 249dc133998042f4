/** Settings of the optimizers, with the defaults of torch.optim. */

import { usageError } from "../support/errors.ts";

/** Tensors whose learning rate factor and decay are the same: one slice of the flat vectors. */
export interface ParameterGroup {
  readonly offset: number;
  readonly length: number;
  readonly learningRateFactor: number;
  readonly weightDecay: number;
}

interface Common {
  /** Largest L2 norm of the gradient; 0: no clipping. */
  readonly clipNorm: number;
  /** Decay of the moving average of the parameters; 0: none is kept. */
  readonly ema: number;
}

export interface SgdOptions extends Common {
  readonly kind: "sgd";
  readonly momentum: number;
  readonly nesterov: boolean;
}

export interface AdamWOptions extends Common {
  readonly kind: "adamw";
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

export type OptimizerSettings = SgdOptions | AdamWOptions;

export interface OptimizerArguments {
  readonly kind?: "sgd" | "adamw";
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly clipNorm?: number;
  readonly ema?: number;
}

function inRange(name: string, value: number, low: number, high: number): number {
  if (Number.isFinite(value) && value >= low && value < high) return value;
  throw usageError(`${name} is ${value}; it must be at least ${low}${Number.isFinite(high) ? ` and below ${high}` : ""}`);
}

/** @throws OhemgenError on values outside what the algorithms are defined for, or settings of the other optimizer */
export function resolveOptimizer(given: OptimizerArguments = {}): OptimizerSettings {
  const { kind = "sgd" } = given;
  if (kind !== "sgd" && kind !== "adamw") throw usageError(`optimizer ${String(kind)} is not known`, "Use sgd or adamw.");
  const foreign = (kind === "sgd" ? (["beta1", "beta2", "eps"] as const) : (["momentum", "nesterov"] as const)).find((name) => given[name] !== undefined);
  if (foreign !== undefined)
    throw usageError(`${foreign} is not a setting of ${kind}`, `Choose --optimizer ${kind === "sgd" ? "adamw" : "sgd"}, or leave it out.`);
  const common = {
    clipNorm: inRange("clip norm", given.clipNorm ?? 0, 0, Number.POSITIVE_INFINITY),
    ema: inRange("EMA decay", given.ema ?? 0, 0, 1),
  };
  if (kind === "adamw") {
    return {
      kind,
      beta1: inRange("beta1", given.beta1 ?? 0.9, 0, 1),
      beta2: inRange("beta2", given.beta2 ?? 0.999, 0, 1),
      eps: inRange("eps", given.eps ?? 1e-8, 0, Number.POSITIVE_INFINITY),
      ...common,
    };
  }
  const momentum = inRange("momentum", given.momentum ?? 0.9, 0, Number.POSITIVE_INFINITY);
  if (given.nesterov === true && momentum === 0) throw usageError("Nesterov needs a momentum above 0");
  return { kind, momentum, nesterov: given.nesterov ?? false, ...common };
}

/** Weight decay where none is given, as in torch.optim. */
export function defaultWeightDecay(kind: "sgd" | "adamw"): number {
  return kind === "adamw" ? 0.01 : 0;
}

/** @throws OhemgenError where it is not a number of at least 0 */
export function checkedWeightDecay(weightDecay: number): number {
  return inRange("weight decay", weightDecay, 0, Number.POSITIVE_INFINITY);
}

/** Names of the flat state vectors besides `params`, in input order. */
export function stateNames(settings: OptimizerSettings): readonly string[] {
  const own = settings.kind === "sgd" ? (settings.momentum > 0 ? ["momentum"] : []) : ["exp_avg", "exp_avg_sq"];
  return [...own, "step", ...(settings.ema > 0 ? ["ema"] : [])];
}
