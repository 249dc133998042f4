/** Declared to have no gradient: random numbers, quantization, positions. */

import { defineGradients, nonDifferentiable } from "../registry.ts";

export const declared = defineGradients({
  EyeLike: nonDifferentiable,
  Bernoulli: nonDifferentiable,
  RandomNormal: nonDifferentiable,
  RandomNormalLike: nonDifferentiable,
  RandomUniform: nonDifferentiable,
  RandomUniformLike: nonDifferentiable,
  QuantizeLinear: nonDifferentiable,
  NonMaxSuppression: nonDifferentiable,
});
