/** Convolutions; how each gradient is computed is chosen by shape in `ops/lowerings`. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { staticKernel } from "../../ops/catalog/network.ts";
import { convGeometry } from "../../ops/lowerings/conv-geometry.ts";
import { convInputGradient } from "../../ops/lowerings/conv-input-gradient.ts";
import { convWeightGradient } from "../../ops/lowerings/conv-weight-gradient.ts";
import { convolve } from "../../ops/lowerings/convolution.ts";
import { bug } from "../../support/errors.ts";
import { defineGradients } from "../registry.ts";

const spatialAndBatch = (rank: number) => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)];

/**
 * A zero that the weight of dx waits for, until its own gradient and the bias's are done: what they take in shifted copies, and
 * dy, is free when dx is made.
 */
function zeroAfter(w: Value, gradients: readonly (Value | undefined)[], after: (...gradients: readonly Value[]) => Value): Value | undefined {
  const done = gradients.filter((gradient) => gradient !== undefined);
  return done.length === 0 || w.dtype !== "float32" ? undefined : after(...done);
}

const biasGradient = (op: OpBuilder, dy: Value) => op.reduceSum(dy, spatialAndBatch(dimsOf(dy).length));

export const convolution = defineGradients({
  Conv({ op, x: [x, w], dy, attrs, needs, after }) {
    const geometry = convGeometry(attrs, staticKernel(attrs, w.shape) ?? bug("a convolution with a kernel of unknown size"));
    const dw = needs(1) ? convWeightGradient(op, geometry, { x, w, dy }) : undefined;
    const db = needs(2) ? biasGradient(op, dy) : undefined;
    return [needs(0) ? convInputGradient(op, geometry, { x, w, dy }, { zero: zeroAfter(w, [dw, db], after) }) : undefined, dw, db];
  },
  // The transpose of a convolution from dy to x with the same weight.
  ConvTranspose({ op, x: [x, w], dy, attrs, needs, after }) {
    const geometry = convGeometry(attrs, staticKernel(attrs, w.shape) ?? bug("a convolution with a kernel of unknown size"));
    const dw = needs(1) ? convWeightGradient(op, geometry, { x: dy, w, dy: x }) : undefined;
    const db = needs(2) ? biasGradient(op, dy) : undefined;
    return [needs(0) ? convolve(op, geometry, dy, { w, zero: zeroAfter(w, [dw, db], after) }) : undefined, dw, db];
  },
});
