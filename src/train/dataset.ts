/**
 * Samples and batches of a folder. A training batch is a function of (seed, step) alone, so that a run can be taken
 * up at any step; every label is a class or the ignored one.
 */

import { readFileSync } from "node:fs";
import { OhemgenError } from "../support/errors.ts";
import { randomStream, shuffled } from "../support/random.ts";
import { type Augmentation, copyLabels, copyPixels, plainWindow, randomWindow, type Window } from "./augment.ts";
import { decodeMask, decodePicture, type Mask, type Picture } from "./images.ts";
import type { LabelType, Layout } from "./layout.ts";
import type { Pair } from "./pairing.ts";

export interface Sample {
  readonly pair: Pair;
  readonly picture: Picture;
  readonly mask: Mask;
}

export type Labels = Uint8Array | Int32Array | BigInt64Array;

export interface Batch {
  readonly images: Float32Array;
  readonly imageDims: readonly [batch: number, channels: number, height: number, width: number];
  readonly labels: Labels;
  readonly labelDims: readonly [batch: number, height: number, width: number];
}

/** Decoded pictures are kept up to this many bytes. */
const cacheLimit = 256 * 2 ** 20;

/** Pictures of a folder, decoded when first needed. */
export class Dataset {
  readonly pairs: readonly Pair[];
  readonly layout: Layout;
  readonly #cache = new Map<number, Sample>();
  #cached = 0;
  /** Order of the epoch that is being read. */
  #order: { readonly seed: number; readonly epoch: number; readonly indices: readonly number[] } | undefined;

  constructor(pairs: readonly Pair[], layout: Layout) {
    this.pairs = pairs;
    this.layout = layout;
  }

  get size(): number {
    return this.pairs.length;
  }

  /** Which picture is the sample at `position`, counted through all epochs. */
  indexAt(seed: number, position: number): number {
    const epoch = Math.floor(position / this.size);
    if (this.#order?.seed !== seed || this.#order.epoch !== epoch) {
      this.#order = { seed, epoch, indices: shuffled(this.size, randomStream(seed, 1, epoch)) };
    }
    return this.#order.indices[position % this.size] as number;
  }

  /** @throws OhemgenError E412 (unreadable), E413 (image and mask differ in size), E414 (a label that is no class). */
  sample(index: number): Sample {
    const known = this.#cache.get(index);
    if (known !== undefined) return known;
    const pair = this.pairs[index] as Pair;
    const picture = decodePicture(readPicture(pair.image), pair.image);
    const mask = decodeMask(readPicture(pair.mask), pair.mask);
    const sample = { pair, picture, mask };
    checkSample(sample, this.layout);
    const bytes = picture.rgb.byteLength + mask.labels.byteLength;
    if (this.#cached + bytes <= cacheLimit) {
      this.#cache.set(index, sample);
      this.#cached += bytes;
    }
    return sample;
  }
}

function readPicture(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OhemgenError(`${path} cannot be read: ${reason}`, { code: "E412", where: path, cause });
  }
}

function checkSample({ pair, picture, mask }: Sample, { classes, ignoreIndex }: Layout): void {
  if (picture.width !== mask.width || picture.height !== mask.height) {
    const [image, label] = [picture, mask].map(({ width, height }) => `${width} × ${height}`);
    throw new OhemgenError(`image and mask differ in size: ${pair.image} is ${image}, ${pair.mask} is ${label} pixels`, {
      code: "E413",
      where: pair.mask,
      hint: "Make both the same size; scale masks without smoothing.",
    });
  }
  const foreign = mask.labels.find((label) => label >= classes && label !== ignoreIndex);
  if (foreign !== undefined) {
    throw new OhemgenError(`${pair.mask} has the label ${foreign}, but the model has ${classes} classes (0 to ${classes - 1})`, {
      code: "E414",
      where: pair.mask,
      hint: `Pixels to leave out have the label ${ignoreIndex} (--ignore-index of \`ohemgen attach\`).`,
    });
  }
}

export interface TrainingPlan {
  readonly seed: number;
  readonly batch: number;
  readonly size: readonly [height: number, width: number];
  readonly augmentation: Augmentation;
}

/** The batch of step `step`: samples follow one another through epochs, each in an order of its own. */
export function trainingBatch(dataset: Dataset, { seed, batch, size, augmentation }: TrainingPlan, step: number): Batch {
  const result = emptyBatch(dataset.layout, batch, size);
  for (let i = 0; i < batch; i++) {
    const position = step * batch + i;
    const sample = dataset.sample(dataset.indexAt(seed, position));
    const window = randomWindow(sample.picture, size, augmentation, randomStream(seed, 2, position));
    fillSample(result, i, sample, window, dataset.layout);
  }
  return result;
}

/** Part of an image that is evaluated in one go. */
export interface Tile {
  readonly sample: Sample;
  readonly window: Window;
}

/** Images in tiles of the graph's size, or whole where the graph takes any size. */
export function* tilesOf(dataset: Dataset): Generator<Tile> {
  for (let index = 0; index < dataset.size; index++) {
    const sample = dataset.sample(index);
    for (const window of tileWindows(sample.picture, dataset.layout)) yield { sample, window };
  }
}

export function tileWindows(picture: { readonly width: number; readonly height: number }, layout: Pick<Layout, "height" | "width">): Window[] {
  const [height, width] = [layout.height ?? picture.height, layout.width ?? picture.width];
  const windows: Window[] = [];
  for (let top = 0; top < picture.height; top += height) {
    for (let left = 0; left < picture.width; left += width) windows.push(plainWindow(height, width, top, left));
  }
  return windows;
}

/** Batches of tiles of one size; a batch that is not full is padded with ignored pixels to a fixed batch size. */
export function* evaluationBatches(dataset: Dataset, batch: number): Generator<{ readonly batch: Batch; readonly tiles: readonly Tile[] }> {
  let waiting: Tile[] = [];
  const flush = (): { batch: Batch; tiles: readonly Tile[] } => {
    const tiles = waiting;
    waiting = [];
    return { batch: tileBatch(tiles, dataset.layout), tiles };
  };
  for (const tile of tilesOf(dataset)) {
    const first = waiting[0]?.window;
    const fits = first === undefined || (first.height === tile.window.height && first.width === tile.window.width);
    if (!fits) yield flush();
    waiting.push(tile);
    if (waiting.length === batch) yield flush();
  }
  if (waiting.length > 0) yield flush();
}

function tileBatch(tiles: readonly Tile[], layout: Layout): Batch {
  const { height, width } = (tiles[0] as Tile).window;
  const result = emptyBatch(layout, layout.batch ?? tiles.length, [height, width]);
  tiles.forEach(({ sample, window }, i) => fillSample(result, i, sample, window, layout));
  return result;
}

/** Mean-coloured images with ignored labels. */
function emptyBatch(layout: Layout, batch: number, [height, width]: readonly [number, number]): Batch {
  const [labelHeight, labelWidth] = layout.labelSize ?? [height, width];
  return {
    images: new Float32Array(batch * layout.channels * height * width),
    imageDims: [batch, layout.channels, height, width],
    labels: ignoredLabels(layout.labelType, batch * labelHeight * labelWidth, layout.ignoreIndex),
    labelDims: [batch, labelHeight, labelWidth],
  };
}

function ignoredLabels(type: LabelType, count: number, ignoreIndex: number): Labels {
  if (type === "int64") return new BigInt64Array(count).fill(BigInt(ignoreIndex));
  return (type === "uint8" ? new Uint8Array(count) : new Int32Array(count)).fill(ignoreIndex);
}

function fillSample(batch: Batch, index: number, { picture, mask }: Sample, window: Window, layout: Layout): void {
  const [, channels, height, width] = batch.imageDims;
  const [, labelHeight, labelWidth] = batch.labelDims;
  copyPixels(picture, window, batch.images, index * channels * height * width, { channels, ...layout.preprocessing });
  const at = index * labelHeight * labelWidth;
  const size = [labelHeight, labelWidth] as const;
  if (!(batch.labels instanceof BigInt64Array)) {
    copyLabels(mask, window, size, batch.labels, at, layout.ignoreIndex);
    return;
  }
  const labels = new Int32Array(labelHeight * labelWidth);
  copyLabels(mask, window, size, labels, 0, layout.ignoreIndex);
  batch.labels.set(BigInt64Array.from(labels, BigInt), at);
}
