/** All gradient cases, by family as the rules are. */

import type { Case } from "./case.ts";
import { activation } from "./cases/activation.ts";
import { arithmetic } from "./cases/arithmetic.ts";
import { convolution } from "./cases/convolution.ts";
import { decoders } from "./cases/decoders.ts";
import { linear } from "./cases/linear.ts";
import { movement } from "./cases/movement.ts";
import { normalization } from "./cases/normalization.ts";
import { pooling } from "./cases/pooling.ts";
import { recurrent } from "./cases/recurrent.ts";
import { reduction } from "./cases/reduction.ts";
import { sampling } from "./cases/sampling.ts";

export const families: Readonly<Record<string, readonly Case[]>> = {
  arithmetic,
  activation,
  movement,
  reduction,
  linear,
  convolution,
  pooling,
  normalization,
  sampling,
  recurrent,
  decoders,
};
