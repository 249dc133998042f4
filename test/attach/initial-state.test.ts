/** The initial state in pieces: the same numbers as whole, views of the model's bytes, and growth of `attach` with the model. */

import { expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { tensorNumbers } from "../../src/ir/tensor.ts";
import { decodeSafetensors, encodeSafetensors, safetensorsPieces } from "../../src/proto/safetensors.ts";
import { modelDir } from "../models.ts";
import { readModel } from "./reference.ts";

test("pieces are the file of the whole, and views of the weights", () => {
  const model = readModel(modelDir("erfnet_bn"));
  const result = attach(model, { batchNorm: "batch", optimizer: { kind: "adamw", ema: 0.9 } });
  expect([...result.stateInPieces.keys()]).toEqual(["params", "exp_avg", "exp_avg_sq", "step", "ema", "running_stats"]);
  const written = Buffer.concat([...safetensorsPieces(result.stateInPieces)]);
  expect(Buffer.compare(written, encodeSafetensors(result.state))).toBe(0);
  const { tensors } = decodeSafetensors(new Uint8Array(written));
  const params = tensorNumbers(tensors.get("params") as NonNullable<ReturnType<typeof tensors.get>>);
  const weights = new Map(model.graph.initializers.map((value) => [value.name, value.constant]));
  for (const { name, offset, length } of result.manifest.parameters) {
    const weight = weights.get(name);
    if (weight === undefined) continue;
    const numbers = tensorNumbers(weight);
    expect([params[offset], params[offset + length - 1]], name).toEqual([numbers[0], numbers[length - 1]]);
  }
  const own = new Set([...weights.values()].map((tensor) => tensor?.bytes));
  expect([...(result.stateInPieces.get("params")?.pieces() ?? [])].every((piece) => own.has(piece))).toBe(true);
});
