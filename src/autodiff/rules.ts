/** The registry: every operator with a gradient rule, and those declared to have none. */

import type { Gradients } from "./registry.ts";
import { activation } from "./rules/activation.ts";
import { arithmetic } from "./rules/arithmetic.ts";
import { convolution } from "./rules/convolution.ts";
import { declared } from "./rules/declared.ts";
import { linear } from "./rules/linear.ts";
import { movement } from "./rules/movement.ts";
import { normalization } from "./rules/normalization.ts";
import { padding } from "./rules/padding.ts";
import { pooling } from "./rules/pooling.ts";
import { reduction } from "./rules/reduction.ts";
import { sampling } from "./rules/sampling.ts";
import { selection } from "./rules/selection.ts";

/** By the name of the file that holds the rules. */
export const families: Readonly<Record<string, Gradients>> = {
  arithmetic,
  activation,
  movement,
  selection,
  padding,
  reduction,
  linear,
  convolution,
  pooling,
  normalization,
  sampling,
  declared,
};

export const gradients: Gradients = Object.assign({}, ...Object.values(families));
