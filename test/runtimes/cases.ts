/** Graphs and inputs that runtimes are compared on. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import type { Tensor } from "../../src/ir/tensor.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { attachReference, nudgedBy, readModel, readReference } from "../attach/reference.ts";
import { root } from "../cli/command.ts";
import { labelTensor } from "../loss/harness.ts";
import { makeInput, numbers } from "../loss/inputs.ts";
import { modelDir } from "../models.ts";
import { type Feeds, floats, openSession, toRuntime } from "../run-graph.ts";
import { difference, outcome } from "./runtimes.ts";

export interface RuntimeCase {
  readonly name: string;
  readonly model: Uint8Array;
  readonly feeds: Feeds;
}

/** A float32 tensor. */
export const float = (values: ArrayLike<number>, shape: readonly number[]) => new ort.Tensor("float32", Float32Array.from(values), [...shape]);

function lossFeeds(name: string): Feeds {
  const classes = name.includes("binary") ? 1 : 5;
  const [height, width] = name.includes("upsampled") ? [12, 16] : [24, 32];
  const { logits, labels } = makeInput(7, 2, classes, height as number, width as number, 2, [24, 32]);
  return { logits: float(logits.data, logits.shape), labels: labelTensor("uint8", labels) };
}

/** A tenth step: 1000 parameters. */
function updateFeeds(name: string): Feeds {
  const next = numbers(7);
  const vector = (scale: number, low = -1) =>
    float(
      Float32Array.from({ length: 1000 }, () => scale * (low + (1 - low) * next())),
      [1000],
    );
  const moments: Feeds = name === "sgd" ? { momentum: vector(1) } : { exp_avg: vector(0.1), exp_avg_sq: vector(0.01, 0) };
  const step = new ort.Tensor("int64", [9n], [1]);
  return { "params.grad": vector(1), learning_rate: float([0.01], []), params: vector(1), ...moments, step };
}

/** Every graph of graphs/. */
export function graphCases(): RuntimeCase[] {
  const files = readdirSync(join(root, "graphs")).filter((file) => file.endsWith(".onnx"));
  return files.sort().map((file) => {
    const name = file.replace(".onnx", "");
    const feeds = name === "sgd" || name === "adamw" ? updateFeeds(name) : lossFeeds(name);
    return { name, model: readFileSync(join(root, "graphs", file)), feeds };
  });
}

/** Every element moved by up to 2 units in the last place: what another order of summation makes of an activation. */
const nudge = 2 ** -22;
const nudges = 4;
/** What such a nudge does to a gradient without a kink: 1e-5 of its largest element was measured. With a kink it was 2e-4 and more. */
const smooth = 5e-5;

/** The largest change of the outputs where picture and weights are nudged; one above `smooth` is enough. */
async function sensitivity(session: ort.InferenceSession, feeds: Feeds, moved: readonly string[]): Promise<number> {
  const want = await outcome(session, feeds);
  let worst = 0;
  for (let seed = 1; seed <= nudges && worst < smooth; seed++) {
    const changed = moved.map((name, i) => {
      const tensor = feeds[name] as ort.Tensor;
      return [name, float(nudgedBy(floats(tensor), 2 * seed + i, nudge), tensor.dims)];
    });
    worst = Math.max(worst, difference(await outcome(session, { ...feeds, ...Object.fromEntries(changed) }), want));
  }
  return worst;
}

/** Networks of test/models: ReLU and HardSwish, folded and open normalization, transposed convolutions, pooling, resizing. */
export const gradientModels = readdirSync(join(root, "test/models")).sort();
/** Small, so that pictures without an activation on a kink are not rare. */
const pictureShape = [1, 3, 32, 32] as const;

/**
 * `gradient.onnx` of a model on the first random picture without an activation, or a rank, within rounding of a kink: where
 * there is one, two right runtimes give different gradients. Told by ONNX Runtime alone, from gradients at nudged inputs.
 */
export async function gradientCase(name: string): Promise<RuntimeCase> {
  const dir = modelDir(name);
  const input = readModel(dir).graph.inputs[0]?.name ?? "";
  const { graphs, state, manifest } = attachReference(dir, readReference(dir), { inputShapes: { [input]: pictureShape } });
  const model = encodeModel(graphs.gradient);
  // A single channel tells two classes apart.
  const classes = Math.max(2, manifest.heads[0]?.classes ?? 0);
  const session = await openSession(model);
  for (let seed = 1; seed <= 50; seed++) {
    const next = numbers(seed);
    const picture = float(
      Float32Array.from({ length: 3 * 32 * 32 }, () => 4 * next() - 2),
      pictureShape,
    );
    const labels = Uint8Array.from({ length: 32 * 32 }, () => (next() < 0.1 ? 255 : Math.floor(next() * classes)));
    const feeds = { [input]: picture, labels: new ort.Tensor("uint8", labels, [1, 32, 32]), params: toRuntime(state.get("params") as Tensor) };
    if ((await sensitivity(session, feeds, [input, "params"])) < smooth) return { name: `gradient of ${name}, picture ${seed}`, model, feeds };
  }
  throw new Error(`${name}: every picture has an activation on a kink`);
}
