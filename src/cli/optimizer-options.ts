/** The settings of the optimizers as flags, shared by `attach` and `emit`. */

import type { OptimizerArguments } from "../optim/options.ts";
import type { OptionSpecs, Values } from "./command.ts";
import { given } from "./loss-options.ts";

const group = "Optimizer";

export const optimizerFlags = {
  momentum: { kind: "number", group, describe: "SGD", preset: "0.9" },
  nesterov: { kind: "flag", group, describe: "SGD" },
  beta1: { kind: "number", group, describe: "AdamW", preset: "0.9" },
  beta2: { kind: "number", group, describe: "AdamW", preset: "0.999" },
  eps: { kind: "number", group, describe: "AdamW", preset: "1e-8" },
  "weight-decay": { kind: "number", group, describe: "decay of the weights", preset: "0, AdamW 0.01" },
  "clip-norm": { kind: "number", group, describe: "largest norm of the gradient" },
  ema: { kind: "number", group, describe: "decay of a moving average of the weights" },
} as const satisfies OptionSpecs;

export type OptimizerFlags = OptimizerArguments & { readonly weightDecay?: number };

/** Only what was given. */
export function optimizerSettingsFromFlags(values: Values<typeof optimizerFlags>): Omit<OptimizerFlags, "kind"> {
  return given({
    momentum: values.momentum,
    nesterov: values.nesterov,
    beta1: values.beta1,
    beta2: values.beta2,
    eps: values.eps,
    weightDecay: values["weight-decay"],
    clipNorm: values["clip-norm"],
    ema: values.ema,
  });
}
