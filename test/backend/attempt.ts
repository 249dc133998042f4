/** `ohemgen grad` on an operator test model: every float output with respect to every float input and stored tensor. */

import { readFileSync, writeFileSync } from "node:fs";
import { type GradientResult, gradientModel } from "../../src/attach/gradient-model.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { OhemgenError } from "../../src/support/errors.ts";

/** As test/python/operator_models.py describes a model. */
export interface Described {
  readonly name: string;
  readonly file: string;
  readonly operators: readonly string[];
  readonly opset: number;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface Differentiated {
  readonly of: string;
  readonly file: string;
  readonly wrt: readonly { readonly name: string; readonly zero: boolean }[];
}

export type Attempt =
  | { readonly kind: "made"; readonly outputs: readonly Differentiated[] }
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  | { readonly kind: "no float" };

/** @throws what is no OhemgenError: a fault of the program */
export function attempt({ file, inputs, outputs }: Described): Attempt {
  if (inputs.length === 0 || outputs.length === 0) return { kind: "no float" };
  try {
    const model = loadModel(new Uint8Array(readFileSync(file)));
    return {
      kind: "made",
      outputs: outputs.map((of, i) => {
        const result: GradientResult = gradientModel(model, { of, wrt: inputs });
        const path = file.replace(/\.onnx$/, `.${i}.gradient.onnx`);
        writeFileSync(path, encodeModel(result.model));
        return { of, file: path, wrt: result.wrt.map(({ name, zero }) => ({ name, zero })) };
      }),
    };
  } catch (error) {
    if (!(error instanceof OhemgenError)) throw error;
    return { kind: "refused", code: error.code, message: error.message };
  }
}
