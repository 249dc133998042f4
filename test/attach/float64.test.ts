/**
 * The gradient graphs evaluated in float64 by an independent implementation of their operators: without float32
 * rounding no activation falls on the other side of a kink, so every gradient must agree to many digits.
 */

import { describe, expect } from "vitest";
import { encodeModel } from "../../src/proto/encode.ts";
import { availableModels } from "../models.ts";
import { pythonTest } from "../python.ts";
import { evaluateFloat64 } from "./evaluate-float64.ts";
import { attachReference, batchOf, feedsOf, gradientError, readModel, readReference } from "./reference.ts";

describe.each(availableModels())("$name", ({ dir }) => {
  pythonTest.each(["any", "cpu"] as const)("gradients in float64, for %s", (provider) => {
    const reference = readReference(dir);
    const [image] = readModel(dir).graph.inputs;
    const sizes = batchOf(dir, image?.name ?? "")[image?.name ?? ""]?.dims ?? [];
    // Sizes that are known let lowerings be chosen that need them.
    const result = attachReference(dir, reference, provider === "any" ? {} : { provider, inputShapes: { [image?.name ?? ""]: sizes } });
    const out = evaluateFloat64(encodeModel(result.graphs.gradient), feedsOf(dir, result, 0), ["loss", "kept", "params.grad"]);
    // What differs still: attributes are float32 (a slope of 1/6 is off by 3e-8), and references have 12 digits.
    expect(Math.abs((out.get("loss")?.[0] ?? 0) - reference.loss.total) / reference.loss.total).toBeLessThan(1e-7);
    expect(out.get("kept")?.[0]).toBe(reference.loss.n_kept);
    const flat = out.get("params.grad") as Float64Array;
    let worst = 0;
    for (const { name, offset, length } of result.manifest.parameters) {
      const want = reference.parameters[name];
      if (want === undefined || want.zero === true) continue;
      worst = Math.max(worst, gradientError(flat.subarray(offset, offset + length), want));
    }
    console.log(`${dir.split("/").at(-1)}, ${provider}: worst relative gradient error in float64 ${worst.toExponential(1)}`);
    expect(worst).toBeLessThan(1e-6);
  });
});
