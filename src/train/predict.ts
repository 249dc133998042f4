/** Classes per pixel from plain inference with an exported model: no loss, no state, the file as anyone would run it. */

import type { Preprocessing } from "../attach/manifest.ts";
import { OhemgenError } from "../support/errors.ts";
import { copyPixels, type Window } from "./augment.ts";
import type { Mask, Picture } from "./masks.ts";
import type { RuntimeTensor, Session } from "./runtime.ts";
import { tilesOf } from "./tiles.ts";

/** How a model is fed and its output read. */
export interface InferenceModel {
  readonly session: Session;
  readonly input: string;
  /** `null`: any size. */
  readonly batch: number | null;
  readonly channels: number;
  readonly height: number | null;
  readonly width: number | null;
  /** What sizes must be multiples of where they are not fixed. */
  readonly multiple: number;
  readonly output: string;
  /** A one-channel output above this is class 1: 0 for logits, 0.5 after a sigmoid. */
  readonly threshold: number;
  readonly preprocessing: Preprocessing;
  readonly upsample: "half_pixel" | "align_corners";
}

/** Classes of a picture, at its own size; one that is larger than the model's input is taken in tiles. */
export async function predictPicture(model: InferenceModel, picture: Picture): Promise<Mask> {
  const { width, height } = picture;
  const labels = new Uint8Array(width * height);
  for (const { window, top, left, bottom, right } of tilesOf(picture, model)) {
    const part = await predictWindow(model, picture, window);
    for (let y = top; y < bottom; y++) {
      const from = (y - window.top) * window.width - window.left;
      labels.set(part.labels.subarray(from + left, from + right), y * width + left);
    }
  }
  return { width, height, labels };
}

async function predictWindow(model: InferenceModel, picture: Picture, tile: Window): Promise<Mask> {
  const { height, width } = tile;
  const batch = model.batch ?? 1;
  const images = new Float32Array(batch * model.channels * height * width);
  copyPixels(picture, tile, images, 0, { channels: model.channels, ...model.preprocessing });
  const feeds = new Map([[model.input, model.session.tensor(images, [batch, model.channels, height, width])]]);
  const output = (await model.session.run(feeds, [model.output])).get(model.output) as RuntimeTensor;
  return { width, height, labels: classesOf(output, height, width, model) };
}

/** The first image of the batch. */
function classesOf(output: RuntimeTensor, height: number, width: number, { threshold, upsample, output: name }: InferenceModel): Uint8Array {
  const { dims, type } = output;
  const data = output.data as ArrayLike<number | bigint>;
  const [h = 0, w = 0] = dims.slice(-2);
  if (type !== "float32") {
    const labels = Uint8Array.from({ length: h * w }, (_, i) => Number(data[i]));
    return nearest(labels, [h, w], [height, width]);
  }
  if (dims.length < 3 || dims.length > 4) throw unreadable(name, output);
  const channels = dims.length === 4 ? (dims[1] as number) : 1;
  const planes = Array.from({ length: channels }, (_, c) =>
    resizedPlane((data as Float32Array).subarray(c * h * w, (c + 1) * h * w), [h, w], [height, width], upsample),
  );
  const labels = new Uint8Array(height * width);
  for (let i = 0; i < labels.length; i++) labels[i] = channels === 1 ? Number((planes[0]?.[i] as number) > threshold) : largest(planes, i);
  return labels;
}

function unreadable(name: string, { type, dims }: RuntimeTensor): OhemgenError {
  return new OhemgenError(`output "${name}" is ${type}[${dims}], not a picture of classes or scores`, { code: "E416", where: name });
}

function largest(planes: readonly Float32Array[], i: number): number {
  let best = 0;
  for (let c = 1; c < planes.length; c++) {
    if (((planes[c] as Float32Array)[i] as number) > ((planes[best] as Float32Array)[i] as number)) best = c;
  }
  return best;
}

function nearest(labels: Uint8Array, [h, w]: readonly [number, number], [height, width]: readonly [number, number]): Uint8Array {
  if (h === height && w === width) return labels;
  const result = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) result[y * width + x] = labels[Math.floor((y * h) / height) * w + Math.floor((x * w) / width)] as number;
  }
  return result;
}

/** Bilinear, as the loss upsamples logits. */
export function resizedPlane(
  plane: Float32Array,
  [h, w]: readonly [number, number],
  [height, width]: readonly [number, number],
  mode: "half_pixel" | "align_corners",
): Float32Array {
  if (h === height && w === width) return plane;
  const rows = linearAxis(h, height, mode);
  const columns = linearAxis(w, width, mode);
  const result = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const [y0, y1, fy] = rows[y] as LinearStep;
    for (let x = 0; x < width; x++) {
      const [x0, x1, fx] = columns[x] as LinearStep;
      const upper = (plane[y0 * w + x0] as number) * (1 - fx) + (plane[y0 * w + x1] as number) * fx;
      const lower = (plane[y1 * w + x0] as number) * (1 - fx) + (plane[y1 * w + x1] as number) * fx;
      result[y * width + x] = upper * (1 - fy) + lower * fy;
    }
  }
  return result;
}

type LinearStep = readonly [lower: number, upper: number, share: number];

function linearAxis(from: number, to: number, mode: "half_pixel" | "align_corners"): LinearStep[] {
  return Array.from({ length: to }, (_, i) => {
    const exact = mode === "align_corners" ? (to === 1 ? 0 : (i * (from - 1)) / (to - 1)) : ((i + 0.5) * from) / to - 0.5;
    const position = Math.min(Math.max(exact, 0), from - 1);
    const lower = Math.floor(position);
    return [lower, Math.min(lower + 1, from - 1), position - lower];
  });
}
