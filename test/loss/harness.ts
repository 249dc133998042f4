/** Runs loss graphs on the stock runtime and reads the reference cases. */

import { readdirSync, readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import type { Dim } from "../../src/ir/dims.ts";
import type { Model } from "../../src/ir/graph.ts";
import { type LossKind, lossModel } from "../../src/loss/graph.ts";
import { type LossOptions, resolveLossOptions } from "../../src/loss/options.ts";
import type { Provider } from "../../src/ops/provider.ts";
import { encodeModel } from "../../src/proto/encode.ts";

export interface Array4 {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface LossRun {
  readonly loss: number;
  readonly ce: number;
  readonly lovasz: number;
  readonly valid: number;
  readonly kept: number;
  readonly invalidLabels: number;
  readonly threshold: readonly number[];
  readonly thresholdShape: readonly number[];
  readonly finite: boolean;
  readonly gradient: Float32Array;
}

export type LabelType = "uint8" | "int32" | "int64";

export async function openModel(model: Model): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(encodeModel(model), { enableMemPattern: false, intraOpNumThreads: 1, logSeverityLevel: 3 });
}

export function labelTensor(type: LabelType, { shape, data }: Array4): ort.Tensor {
  const values = Array.from(data);
  if (type === "uint8") return new ort.Tensor("uint8", Uint8Array.from(values), shape);
  if (type === "int32") return new ort.Tensor("int32", Int32Array.from(values), shape);
  return new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
}

export interface LossSetup {
  readonly options?: LossOptions;
  readonly preset?: string;
  readonly kind?: LossKind;
  readonly labelType?: LabelType;
  /** All sizes but the classes are names. */
  readonly dynamic?: boolean;
  readonly provider?: Provider;
}

export function modelFor(setup: LossSetup, logits: readonly number[], labels: readonly number[]): Model {
  const [n, c, h, w] = logits as [number, number, number, number];
  const [, height, width] = labels as [number, number, number];
  const options = resolveLossOptions(setup.options ?? {}, setup.preset);
  const logitsShape: Dim[] = setup.dynamic ? ["N", c, "h", "w"] : [n, c, h, w];
  const labelSize: [Dim, Dim] = setup.dynamic ? ["H", "W"] : [height, width];
  return lossModel(setup.kind ?? "ohem-lovasz", { logitsShape, labelSize, labelType: setup.labelType ?? "int32", options, provider: setup.provider ?? "any" });
}

export async function runLoss(session: ort.InferenceSession, logits: Array4, labels: Array4, labelType: LabelType = "int32"): Promise<LossRun> {
  const feeds = { logits: new ort.Tensor("float32", Float32Array.from(logits.data), logits.shape), labels: labelTensor(labelType, labels) };
  const out = await session.run(feeds);
  const number = (name: string): number => Number((out[name] as ort.Tensor).data[0]);
  const threshold = out["threshold"] as ort.Tensor;
  return {
    loss: number("loss"),
    ce: number("ce"),
    lovasz: number("lovasz"),
    valid: number("valid"),
    kept: number("kept"),
    invalidLabels: number("invalid_labels"),
    threshold: Array.from(threshold.data as Float32Array),
    thresholdShape: threshold.dims,
    finite: number("finite") === 1,
    gradient: (out["logits.grad"] as ort.Tensor).data as Float32Array,
  };
}

export async function evaluate(setup: LossSetup, logits: Array4, labels: Array4): Promise<LossRun> {
  const session = await openModel(modelFor(setup, logits.shape, labels.shape));
  try {
    return await runLoss(session, logits, labels, setup.labelType);
  } finally {
    await session.release();
  }
}

export interface LossCase {
  readonly name: string;
  readonly options: LossOptions;
  readonly preset?: string;
  readonly presetOverrides?: LossOptions;
  readonly tolerance: number;
  readonly generator?: { readonly seed: number; readonly void: number; readonly boost: number; readonly bias: number };
  readonly logits: { readonly shape: readonly number[]; readonly data?: readonly (number | string)[] };
  readonly labels: { readonly shape: readonly number[]; readonly data?: readonly number[] };
  readonly expect: Readonly<Record<string, unknown>> & { readonly gradient: { readonly data: readonly number[] } | null };
}

const folder = new URL("../loss-cases/", import.meta.url);

export function readCases(): LossCase[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return files.sort().map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")) as LossCase);
}

/** Input of a case: what it lists, or the stream its generator makes. */
export function inputsOf({ generator, logits, labels }: LossCase): { logits: Array4; labels: Array4 } {
  if (generator === undefined) {
    return { logits: { shape: logits.shape, data: (logits.data ?? []).map(Number) }, labels: { shape: labels.shape, data: labels.data ?? [] } };
  }
  const [images, classes, height, width] = logits.shape as [number, number, number, number];
  const area = height * width;
  let state = generator.seed;
  const next = (): number => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state;
  };
  const label = Float64Array.from({ length: images * area }, () => {
    const v = Math.floor(next() / 2 ** 24);
    return v < generator.void ? 255 : Math.floor((v * v * classes) / 65536);
  });
  const values = Float32Array.from({ length: images * classes * area }, (_, at) => {
    const channel = Math.floor(at / area) % classes;
    const pixel = Math.floor(at / (area * classes)) * area + (at % area);
    const base = (Math.floor(next() / 256) - 8388608) / 2097152;
    return base + (label[pixel] === channel ? generator.boost : 0) + (channel === 0 ? generator.bias : 0);
  });
  return { logits: { shape: logits.shape, data: values }, labels: { shape: labels.shape, data: label } };
}
