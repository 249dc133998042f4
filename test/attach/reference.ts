/** The reference values beside each model (float64 PyTorch), and how far a result may lie from them. */

import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { type AttachResult, attach } from "../../src/attach/attach.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import type { Model } from "../../src/ir/graph.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { modelFromProto } from "../../src/proto/decode.ts";
import { readNpy } from "../npy.ts";
import { type Feeds, floats, number, toRuntime } from "../run-graph.ts";

export interface ReferenceParameter {
  readonly shape: readonly number[];
  readonly l2: number;
  readonly sum: number;
  readonly probes: readonly (readonly [number, number])[];
  readonly float32_rel: number;
  readonly zero?: boolean;
}

export interface Reference {
  readonly logits: string;
  readonly loss: {
    readonly ce: number;
    readonly lovasz: number;
    readonly total: number;
    readonly n_kept: number;
    readonly n_valid: number;
    readonly confusion: readonly (readonly number[])[];
  };
  readonly parameters: Readonly<Record<string, ReferenceParameter>>;
  readonly steps: Readonly<
    Record<"sgd" | "adamw", { readonly hyper: { readonly lr: number }; readonly losses: readonly number[]; readonly float32_losses: readonly number[] }>
  >;
  readonly bn_updates?: Readonly<
    Record<
      string,
      {
        readonly l2?: number;
        readonly unbiased_l2?: number;
        readonly probes?: readonly (readonly [number, number])[];
        readonly unbiased_probes?: readonly (readonly [number, number])[];
      }
    >
  >;
}

export function readReference(dir: string, file = "ref.json"): Reference {
  return JSON.parse(readFileSync(`${dir}/${file}`, "utf8")) as Reference;
}

export function readModel(dir: string): Model {
  return modelFromProto(decodeProto(readFileSync(`${dir}/model.onnx`)));
}

/** Picture and labels of a model, under the names of its graph inputs. */
export function batchOf(dir: string, input: string): Feeds {
  const image = readNpy(`${dir}/input.npy`);
  const label = readNpy(`${dir}/label.npy`);
  return {
    [input]: new ort.Tensor("float32", image.data as Float32Array, [...image.shape]),
    labels: new ort.Tensor("uint8", label.data as Uint8Array, [...label.shape]),
  };
}

export function attachReference(dir: string, reference: Reference, options: AttachOptions = {}): AttachResult {
  const model = readModel(dir);
  const many = model.graph.outputs.length > 1;
  return attach(model, {
    ...(many ? { logits: reference.logits } : {}),
    // The reference trains every float tensor that influences the logits, so they are all named.
    train: Object.keys(reference.parameters),
    loss: { ce: { threshold: 0.7 } },
    ...options,
  });
}

/** Relative L2 error against the reference, estimated from the probed elements, and from the norms. */
export function gradientError(gradient: Float32Array | Float64Array, { l2, probes }: ReferenceParameter): number {
  let squares = 0;
  for (const value of gradient) squares += value * value;
  const norm = Math.abs(Math.sqrt(squares) - l2) / l2;
  let error = 0;
  for (const [at, want] of probes) error += ((gradient[at] ?? Number.NaN) - want) ** 2;
  return Math.max(norm, Math.sqrt((error / probes.length) * gradient.length) / l2);
}

/**
 * Every parameter's error in units of what it may be in float32: four times what PyTorch's float32 missed by where the
 * reference was made, or 2e-4. Of a gradient that is zero in exact arithmetic only rounding is left, far below every real
 * gradient: 1e-5 of the largest norm. What is not trained is infinitely wrong.
 */
export function errorsInBounds({ manifest }: AttachResult, { parameters }: Reference, flat: Float32Array): ReadonlyMap<string, number> {
  const largest = Math.max(...Object.values(parameters).map(({ l2 }) => l2));
  const placed = new Map(manifest.parameters.map((parameter) => [parameter.name, parameter]));
  const errors = Object.entries(parameters).map(([name, want]) => {
    const place = placed.get(name);
    if (place === undefined) return [name, Number.POSITIVE_INFINITY] as const;
    const gradient = flat.subarray(place.offset, place.offset + place.length);
    const noise = (): number => gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / largest / 1e-5;
    return [name, want.zero === true ? noise() : gradientError(gradient, want) / Math.max(2e-4, 4 * want.float32_rel)] as const;
  });
  return new Map(errors);
}

/** `values` with every element moved by a random part of `size` relative to it, the same for the same seed. */
export function nudgedBy(values: Float32Array, seed: number, size: number): Float32Array {
  let state = seed;
  return values.map((value) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return value * (1 + (state / 2 ** 31 - 1) * size);
  });
}

/**
 * Picture, labels and weights as they are for attempt 0; then by turns the picture and the weights nudged by rounding
 * errors of 1 to 8 units in the last place. Deep ReLU networks have activations closer to 0 than float32 can tell: which
 * side rounding puts one on changes gradients by up to 4 % in a jump. A wrong gradient is wrong in every attempt, a kink
 * only in some. PyTorch's float32 jumps likewise (float32.md).
 */
export function feedsOf(dir: string, result: AttachResult, attempt: number): Feeds {
  const input = result.graphs.gradient.graph.inputs[0]?.name ?? "";
  const feeds: Feeds = { ...batchOf(dir, input), params: toRuntime(result.state.get("params") as Tensor) };
  const moved = attempt === 0 ? undefined : attempt % 2 === 1 ? input : "params";
  const tensor = moved === undefined ? undefined : feeds[moved];
  if (moved !== undefined && tensor !== undefined)
    feeds[moved] = new ort.Tensor("float32", nudgedBy(floats(tensor), attempt, 2 ** (-23 + ((attempt >> 1) % 4))), [...tensor.dims]);
  return feeds;
}

/** Loss before each of `count` steps and after the last. */
export async function lossesOf(session: ort.InferenceSession, result: AttachResult, feeds: Feeds, rate: number, count: number): Promise<number[]> {
  const names = result.manifest.state.map(({ name }) => name);
  let state: Feeds = Object.fromEntries(names.map((name) => [name, feeds[name] ?? toRuntime(result.state.get(name) as Tensor)]));
  const losses: number[] = [];
  for (let i = 0; i <= count; i++) {
    const out = await session.run({ ...feeds, ...state, learning_rate: new ort.Tensor("float32", new Float32Array([rate]), []) });
    losses.push(number(out["loss"]));
    state = Object.fromEntries(names.map((name) => [name, out[`${name}.next`] as ort.Tensor]));
  }
  return losses;
}
