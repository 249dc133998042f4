/**
 * A folder of target `ort-training` on the Python engine (onnxruntime-training-cpu 1.19.2): trained there as the stock
 * graphs train, and what it saves, exported, predicts what that engine does.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Manifest } from "../../src/attach/manifest.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import { attachFile } from "../../src/cli/attach-file.ts";
import { exportFile } from "../../src/cli/export-file.ts";
import { tensorNumbers } from "../../src/ir/tensor.ts";
import { loadModel } from "../../src/proto/load.ts";
import { decodeSafetensors } from "../../src/proto/safetensors.ts";
import { modelDir } from "../models.ts";
import { trainingPython, trainWithPython } from "../python.ts";
import { type Feeds, floats, number, openSession, toRuntime } from "../run-graph.ts";
import { batchOf } from "./reference.ts";

const steps = 5;
const engine = trainingPython();

interface Trained {
  readonly version: string;
  readonly losses: readonly number[];
  readonly loss: number;
  readonly prediction: readonly number[];
}

/** Losses, and the parameters after the steps, of the stock graphs. */
async function trainedHere(
  dir: string,
  options: AttachOptions,
  rate: number,
): Promise<{ losses: number[]; params: Float32Array; parameters: Manifest["parameters"] }> {
  const { graphs, state: initial, manifest } = attach(loadModel(readFileSync(`${dir}/model.onnx`)), options);
  const session = await openSession(graphs.train_step);
  let state: Feeds = Object.fromEntries([...initial].map(([name, tensor]) => [name, toRuntime(tensor)]));
  const batch = batchOf(dir, graphs.train_step.graph.inputs[0]?.name ?? "");
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const out = await session.run({ ...batch, learning_rate: new ort.Tensor("float32", [rate], []), ...state });
    state = Object.fromEntries(Object.keys(state).map((name) => [name, out[`${name}.next`] as ort.Tensor]));
    losses.push(number(out["loss"]));
  }
  return { losses, params: floats(state["params"]), parameters: manifest.parameters };
}

describe.skipIf(engine === undefined)("trained with the Python API", () => {
  // The decay is large, so that a tensor decayed by mistake lies far outside of what is allowed.
  test.each([
    ["erfnet_bn", 1e-5, { batchNorm: "batch" }],
    ["linknet_softmax_argmax", 1e-6, { optimizer: { kind: "adamw", weightDecay: 1000 } }],
  ] as const satisfies readonly (readonly [string, number, AttachOptions])[])("%s, rate %d, %j", async (name, rate, options) => {
    const dir = modelDir(name);
    const place = mkdtempSync(join(tmpdir(), "ohemgen-ort-"));
    try {
      const folder = join(place, "folder");
      const saved = join(place, "saved");
      attachFile(`${dir}/model.onnx`, { out: folder, force: false, dryRun: false, options: { ...options, target: "ort-training" } });
      const args = [folder, `${dir}/input.npy`, `${dir}/label.npy`, `${rate}`, `${steps}`, saved];
      const trained = trainWithPython<Trained>(engine ?? "", "on_device_training.py", args);
      expect(trained.version).toBe("1.19.2");
      const here = await trainedHere(dir, options, rate);
      trained.losses.forEach((loss, i) => {
        // Rounding of two engines.
        expect(Math.abs(loss / (here.losses[i] as number) - 1)).toBeLessThan(1e-4);
      });

      exportFile(folder, { checkpoint: saved, out: join(place, "trained.safetensors"), force: false });
      const { tensors } = decodeSafetensors(readFileSync(join(place, "trained.safetensors")));
      for (const { name: parameter, offset, length } of here.parameters) {
        const found = tensorNumbers(tensors.get(parameter) ?? { dtype: "float32", dims: [0], bytes: new Uint8Array() }) as Float32Array;
        const wanted = here.params.subarray(offset, offset + length);
        expect(found.length).toBe(length);
        const largest = Math.max(...wanted.map((value, i) => Math.abs(value - (found[i] as number))));
        // How far steps of Adam can be apart where a gradient is nothing but rounding; measured: 1.5e-6.
        expect(largest, parameter).toBeLessThan(2 * steps * rate);
      }

      exportFile(folder, { checkpoint: saved, out: join(place, "trained.onnx"), force: false });
      const exported = attach(loadModel(readFileSync(join(place, "trained.onnx"))));
      const session = await openSession(exported.graphs.eval_step);
      const feeds = Object.fromEntries(
        [...exported.state].filter(([key]) => session.inputNames.includes(key)).map(([key, tensor]) => [key, toRuntime(tensor)]),
      );
      const out = await session.run({ ...batchOf(dir, session.inputNames[0] ?? ""), ...feeds });
      // Rounding again; measured: 3e-7.
      expect(Math.abs(trained.loss / number(out["loss"]) - 1)).toBeLessThan(1e-5);
      const prediction = Array.from(out["prediction"]?.data as Uint8Array, Number);
      const other = prediction.filter((value, i) => value !== trained.prediction[i]).length;
      // Pixels between two classes, of which there were none.
      expect(other / prediction.length).toBeLessThan(1e-3);
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});
