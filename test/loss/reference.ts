/** The loss in float64, from the definitions: sorts, textbook differences of the Jaccard loss, loops over pixels. */

import { parseFraction } from "../../src/loss/fraction.ts";
import type { ResolvedLossOptions } from "../../src/loss/options.ts";
import type { Array4 } from "./harness.ts";

export interface ReferenceLoss {
  readonly loss: number;
  readonly ce: number;
  readonly lovasz: number;
  readonly valid: number;
  readonly kept: number;
  readonly threshold: readonly number[];
  readonly gradient: Float64Array;
}

interface Pixel {
  readonly image: number;
  /** Logits at label size. */
  readonly z: readonly number[];
  readonly p: readonly number[];
  readonly y: number;
  readonly valid: boolean;
  readonly g: number[];
}

/** Weights of the source pixels for each target pixel of an axis. */
function interpolation(from: number, to: number, mode: string): number[][] {
  return Array.from({ length: to }, (_, i) => {
    const place = mode === "half_pixel" ? ((i + 0.5) * from) / to - 0.5 : to === 1 ? 0 : (i * (from - 1)) / (to - 1);
    const x = Math.min(Math.max(place, 0), from - 1);
    return Array.from({ length: from }, (_, j) => Math.max(0, 1 - Math.abs(x - j)));
  });
}

export function lossReference(options: ResolvedLossOptions, logits: Array4, labels: Array4): ReferenceLoss {
  const [n, c, h, w] = logits.shape as [number, number, number, number];
  const [, height, width] = labels.shape as [number, number, number];
  const rows = h === height ? undefined : interpolation(h, height, options.upsample);
  const columns = w === width ? undefined : interpolation(w, width, options.upsample);
  const one = (at: number) => [[at, 1]] as const;
  const sparse = (line: number[]) => line.flatMap((value, at) => (value === 0 ? [] : [[at, value] as const]));
  const weightsAt = (row: number, column: number): [number, number][] =>
    (rows ? sparse(rows[row] as number[]) : one(row)).flatMap(([i, a]) =>
      (columns ? sparse(columns[column] as number[]) : one(column)).map(([j, b]): [number, number] => [i * w + j, a * b]),
    );
  const pixels: Pixel[] = [];
  for (let image = 0; image < n; image++) {
    for (let at = 0; at < height * width; at++) {
      const weights = weightsAt(Math.floor(at / width), at % width);
      const z = Array.from({ length: c }, (_, k) => weights.reduce((sum, [i, a]) => sum + a * (logits.data[(image * c + k) * h * w + i] as number), 0));
      const y = labels.data[image * height * width + at] as number;
      const valid = y >= 0 && y < Math.max(2, c) && y !== options.ignoreIndex;
      pixels.push({ image, z, p: probabilities(z), y: valid ? y : -1, valid, g: z.map(() => 0) });
    }
  }
  const ce = options.ce.weight === 0 ? { value: 0, kept: 0, threshold: [] } : crossEntropy(options.ce, pixels, n);
  const lovasz = options.lovasz.weight === 0 ? 0 : lovaszTerm(options.lovasz, pixels, n);
  const gradient = new Float64Array(n * c * h * w);
  pixels.forEach((pixel, index) => {
    const at = index % (height * width);
    for (const [i, a] of weightsAt(Math.floor(at / width), at % width)) {
      pixel.g.forEach((value, k) => {
        const to = (pixel.image * c + k) * h * w + i;
        gradient[to] = (gradient[to] as number) + a * value;
      });
    }
  });
  const loss = options.ce.weight * ce.value + options.lovasz.weight * lovasz;
  return { loss, ce: ce.value, lovasz, valid: pixels.filter(({ valid }) => valid).length, kept: ce.kept, threshold: ce.threshold, gradient };
}

/** Softmax; the sigmoid and its complement, as classes 1 and 0, for one channel. */
function probabilities(z: readonly number[]): number[] {
  const all = z.length === 1 ? [0, z[0] as number] : z;
  const top = Math.max(...all);
  const e = all.map((value) => Math.exp(value - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((value) => value / sum);
}

function logProbabilities(z: readonly number[]): number[] {
  const all = z.length === 1 ? [0, z[0] as number] : z;
  const top = Math.max(...all);
  const log = top + Math.log(all.reduce((sum, value) => sum + Math.exp(value - top), 0));
  return all.map((value) => value - log);
}

/** Adds a gradient over the class probabilities' logits; one channel keeps that of the class 1. */
function push(pixel: Pixel, perClass: readonly number[]): void {
  if (pixel.g.length === 1) pixel.g[0] = (pixel.g[0] as number) + (perClass[1] as number);
  else perClass.forEach((value, k) => (pixel.g[k] = (pixel.g[k] as number) + value));
}

function crossEntropy(options: ResolvedLossOptions["ce"], pixels: readonly Pixel[], images: number) {
  const t = Math.fround(options.threshold);
  const byLoss = options.hardness === "loss";
  const limit = byLoss ? (t === 0 ? 3.4028234663852886e38 : -Math.log(t)) : t;
  const weight = (k: number) => options.classWeights?.[k] ?? 1;
  const score = (x: Pixel) => (byLoss ? -weight(x.y) * (logProbabilities(x.z)[x.y] as number) : (x.p[x.y] as number));
  const groups = options.budget === "image" ? Array.from({ length: images }, (_, i) => pixels.filter(({ image }) => image === i)) : [pixels];
  const kept = new Set<Pixel>();
  const threshold = groups.map((group) => {
    const valid = group.filter(({ valid: is }) => is);
    if (options.mining === "off" || valid.length === 0) {
      for (const x of valid) kept.add(x);
      return limit;
    }
    const sorted = valid.map(score).sort((a, b) => (byLoss ? b - a : a - b));
    const k = Math.max(1, minKept(options, group.length, valid.length, images));
    const exclude = options.atCut === "exclude";
    const cut = sorted[exclude ? Math.min(k, valid.length - 1) : Math.min(k, valid.length) - 1] as number;
    const tau = byLoss ? Math.min(limit, cut) : Math.max(limit, cut);
    for (const x of valid) {
      const gap = byLoss ? score(x) - tau : tau - score(x);
      if (gap > 0 || (gap === 0 && !exclude)) kept.add(x);
    }
    return tau;
  });
  const list = [...kept];
  const classes = pixels[0]?.p.length ?? 1;
  const epsilon = options.labelSmoothing;
  const targets = (x: Pixel) => x.p.map((_, k) => (k === x.y ? 1 - epsilon : 0) + epsilon / classes);
  const divisor = {
    kept: () => list.length,
    weights: () => list.reduce((sum, x) => sum + weight(x.y), 0),
    valid: () => pixels.filter(({ valid }) => valid).length,
    all: () => pixels.length,
  }[options.normalizer]();
  if (divisor === 0) return { value: 0, kept: list.length, threshold };
  let value = 0;
  for (const x of list) {
    const log = logProbabilities(x.z);
    const q = targets(x);
    value -= q.reduce((sum, target, k) => sum + weight(k) * target * (log[k] as number), 0) / divisor;
    const total = q.reduce((sum, target, k) => sum + weight(k) * target, 0);
    push(
      x,
      x.p.map((p, k) => (options.weight * (p * total - weight(k) * (q[k] as number))) / divisor),
    );
  }
  return { value, kept: list.length, threshold };
}

function minKept(options: ResolvedLossOptions["ce"], pixels: number, valid: number, images: number): number {
  const { minKept: given, budget } = options;
  if (typeof given === "number") return given;
  if ("perImage" in given) return given.perImage * (budget === "image" ? 1 : images);
  const { numerator, denominator } = parseFraction(given.fraction);
  return Number((BigInt(given.of === "valid" ? valid : pixels) * numerator) / denominator);
}

function lovaszTerm(options: ResolvedLossOptions["lovasz"], pixels: readonly Pixel[], images: number): number {
  const sets = options.perImage ? Array.from({ length: images }, (_, i) => pixels.filter(({ image }) => image === i)) : [pixels];
  const classes = pixels[0]?.p.length ?? 1;
  const binary = pixels[0]?.z.length === 1;
  return sets.reduce((sum, set) => {
    const counted = options.ignore === "none" ? set : set.filter(({ valid }) => valid);
    if (!set.some(({ valid }) => valid)) return sum;
    const candidates = binary ? [1] : typeof options.classes === "string" ? Array.from({ length: classes }, (_, k) => k) : options.classes;
    const averaged = options.classes === "present" ? candidates.filter((k) => counted.some(({ y }) => y === k)) : candidates;
    return averaged.reduce((total, k) => {
      const weight = (binary ? options.classWeights?.at(-1) : options.classWeights?.[k]) ?? 1;
      const share = weight / averaged.length / sets.length;
      return total + share * classLoss(options, counted, k, share * options.weight);
    }, sum);
  }, 0);
}

function classLoss(options: ResolvedLossOptions["lovasz"], pixels: readonly Pixel[], k: number, share: number): number {
  const hinge = pixels[0]?.z.length === 1 && options.binary !== "sigmoid";
  const ranked = pixels.map((x) => {
    const fg = x.y === k;
    const error = hinge ? 1 - (fg ? 1 : -1) * (x.z[0] as number) : Math.abs((fg ? 1 : 0) - (x.p[k] as number));
    return { x, fg, error };
  });
  ranked.sort((a, b) => b.error - a.error);
  const weights = options.method === "exact" || hinge ? exactWeights(ranked) : histogramWeights(ranked, options.bins);
  let loss = 0;
  ranked.forEach(({ x, fg, error }, r) => {
    const delta = weights[r] as number;
    const sign = fg ? -1 : 1;
    if (hinge) {
      const elu = options.binary === "hinge-elu";
      loss += delta * (elu ? (error > 0 ? error + 1 : Math.exp(error)) : Math.max(error, 0));
      const slope = error > 0 ? 1 : elu ? Math.exp(error) : 0;
      x.g[0] = (x.g[0] as number) + share * delta * sign * slope;
      return;
    }
    loss += delta * error;
    const p = x.p[k] as number;
    push(
      x,
      x.p.map((q, j) => share * delta * sign * ((j === k ? p : 0) - p * q)),
    );
  });
  return loss;
}

function exactWeights(ranked: readonly { fg: boolean }[]): number[] {
  const total = ranked.filter(({ fg }) => fg).length;
  let [foreground, background, last] = [0, 0, 0];
  return ranked.map(({ fg }) => {
    if (fg) foreground += 1;
    else background += 1;
    const jaccard = 1 - (total - foreground) / (total + background);
    const delta = jaccard - last;
    last = jaccard;
    return delta;
  });
}

function histogramWeights(ranked: readonly { fg: boolean; error: number }[], bins: number): number[] {
  const binOf = (error: number) => Math.min(bins - 1, Math.floor(Math.fround(Math.fround(error) * bins)));
  const total = ranked.filter(({ fg }) => fg).length;
  const weights = new Array<number>(ranked.length).fill(0);
  let [intersection, union] = [total, total];
  let first = true;
  for (let bin = bins - 1; bin >= 0; bin--) {
    const members = ranked.flatMap((x, i) => (binOf(x.error) === bin ? [i] : []));
    if (members.length === 0) continue;
    const f = members.filter((i) => ranked[i]?.fg).length;
    const h = members.length - f;
    const [i1, u1] = [intersection - f, union + h];
    for (const i of members) {
      if (total === 0) weights[i] = first ? 1 / h : 0;
      else weights[i] = ranked[i]?.fg ? (1 / union + 1 / u1) / 2 : (intersection + i1) / 2 / (union * u1);
    }
    [intersection, union, first] = [i1, u1, false];
  }
  return weights;
}
