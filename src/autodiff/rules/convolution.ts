/** Convolutions; how each gradient is computed is chosen by shape in `ops/lowerings`. */

import { dimsOf } from "../../ops/builder.ts";
import { staticKernel } from "../../ops/catalog/network.ts";
import { convGeometry, convolve } from "../../ops/lowerings/conv-geometry.ts";
import { convInputGradient } from "../../ops/lowerings/conv-input-gradient.ts";
import { convWeightGradient } from "../../ops/lowerings/conv-weight-gradient.ts";
import { bug } from "../../support/errors.ts";
import { defineGradients } from "../registry.ts";

const spatialAndBatch = (rank: number) => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)];

export const convolution = defineGradients({
  Conv({ op, x: [x, w], dy, attrs, needs }) {
    const geometry = convGeometry(attrs, staticKernel(attrs, w.shape) ?? bug("a convolution with a kernel of unknown size"));
    return [
      needs(0) ? convInputGradient(op, geometry, { x, w, dy }) : undefined,
      needs(1) ? convWeightGradient(op, geometry, { x, w, dy }) : undefined,
      needs(2) ? op.reduceSum(dy, spatialAndBatch(dimsOf(dy).length)) : undefined,
    ];
  },
  // The transpose of a convolution from dy to x with the same weight.
  ConvTranspose({ op, x: [x, w], dy, attrs, needs }) {
    const geometry = convGeometry(attrs, staticKernel(attrs, w.shape) ?? bug("a convolution with a kernel of unknown size"));
    return [
      needs(0) ? convolve(op, geometry, dy, w) : undefined,
      needs(1) ? convWeightGradient(op, geometry, { x: dy, w, dy: x }) : undefined,
      needs(2) ? op.reduceSum(dy, spatialAndBatch(dimsOf(dy).length)) : undefined,
    ];
  },
});
