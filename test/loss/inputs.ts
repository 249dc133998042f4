/** Random logits and labels from a seed, and parts of them. */

import type { Array4 } from "./harness.ts";

export interface Input {
  readonly logits: Array4;
  readonly labels: Array4;
}

/** A generator of numbers from a seed: fast-check shrinks the seed and the sizes, not each of a thousand logits. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    // The low bits of such a generator repeat; mixed, all are good.
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
    x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  };
}

export function makeInput(
  seed: number,
  n: number,
  c: number,
  h: number,
  w: number,
  scale: number,
  size: readonly [number, number] = [h, w],
  voids = 0.1,
): Input {
  const next = numbers(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const logits = Float32Array.from({ length: n * c * h * w }, () => scale * normal());
  const labels = Array.from({ length: n * size[0] * size[1] }, () => (next() < voids ? 255 : Math.floor(next() ** 2 * Math.max(2, c))));
  return { logits: { shape: [n, c, h, w], data: logits }, labels: { shape: [n, ...size], data: labels } };
}

/** Sure of nearly every pixel: margins up to 24, so that foreground errors reach 2⁻²⁴ and exact zeros. */
export function trainedInput(images: number, classes: number, height: number, width: number, margin: number): { logits: Array4; labels: Array4 } {
  let state = 9;
  const next = (): number => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const area = height * width;
  const labels = Float64Array.from({ length: images * area }, () => (next() < 0.05 ? 255 : Math.floor(next() * next() * classes)));
  const data = Float32Array.from({ length: images * classes * area }, () => next() * 2 - 1);
  labels.forEach((label, pixel) => {
    const believed = label === 255 || next() < 0.03 ? Math.floor(next() * classes) : label;
    const at = (Math.floor(pixel / area) * classes + believed) * area + (pixel % area);
    data[at] = (data[at] as number) + margin * next();
  });
  return { logits: { shape: [images, classes, height, width], data }, labels: { shape: [images, height, width], data: labels } };
}
