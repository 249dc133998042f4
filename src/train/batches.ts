/**
 * Batches as the graphs take them. A training batch is a function of (seed, index) alone, so that a run can be taken
 * up at any step; a sample that cannot be used is a picture of ignored pixels.
 */

import { randomStream } from "../support/random.ts";
import { type Augmentation, copyLabels, copyPixels, randomWindow, type Window } from "./augment.ts";
import { type ColourMap, randomColours } from "./colour-jitter.ts";
import { type Dataset, failureOf, type Sample, type SampleFailure } from "./dataset.ts";
import type { LabelType, Layout } from "./layout.ts";
import { type Tile, tilesOf } from "./tiles.ts";

export type Labels = Uint8Array | Int32Array | BigInt64Array;

export interface Batch {
  readonly images: Float32Array;
  readonly imageDims: readonly [batch: number, channels: number, height: number, width: number];
  readonly labels: Labels;
  readonly labelDims: readonly [batch: number, height: number, width: number];
}

export interface TrainingPlan {
  readonly seed: number;
  readonly batch: number;
  readonly size: readonly [height: number, width: number];
  readonly augmentation: Augmentation;
}

export interface LoadedBatch {
  readonly batch: Batch;
  readonly failures: readonly SampleFailure[];
}

/** Memory of an earlier batch of the same sizes, to be written over. */
export type Buffers = Pick<Batch, "images" | "labels">;

/** Batch `index`: samples `index · batch` and following of the sequence through all epochs. */
export async function trainingBatch(dataset: Dataset, plan: TrainingPlan, index: number, buffers?: Buffers): Promise<LoadedBatch> {
  const { seed, size, augmentation } = plan;
  const batch = ignoredBatch(dataset.layout, plan.batch, size, buffers);
  const failures: SampleFailure[] = [];
  const load = (i: number): Promise<Sample | SampleFailure> => sampleOrFailure(dataset, dataset.indexAt(seed, index * plan.batch + i));
  let next = load(0);
  for (let i = 0; i < plan.batch; i++) {
    const sample = await next;
    // The next one is decoded while this one is resampled.
    if (i + 1 < plan.batch) next = load(i + 1);
    if ("code" in sample) {
      failures.push(sample);
      clearSample(batch, i, dataset.layout);
      continue;
    }
    const position = index * plan.batch + i;
    const window = randomWindow(sample.picture, size, augmentation, randomStream(seed, 2, position));
    const jitter = randomColours(augmentation.color, randomStream(seed, 3, position));
    fillSample(batch, i, sample, window, dataset.layout, jitter);
  }
  return { batch, failures };
}

async function sampleOrFailure(dataset: Dataset, index: number): Promise<Sample | SampleFailure> {
  try {
    return await dataset.sample(index);
  } catch (error) {
    return failureOf(error, dataset.pairs[index] as Dataset["pairs"][number]);
  }
}

/**
 * The tiles of picture `index`, each a batch of one; every labelled pixel is in one of them.
 * @param multiple what sizes must be multiples of, where the graph takes several
 */
export async function pictureTiles(dataset: Dataset, index: number, multiple: number): Promise<Batch[] | SampleFailure> {
  const sample = await sampleOrFailure(dataset, index);
  if ("code" in sample) return sample;
  return tilesOf(sample.picture, { ...dataset.layout, multiple }).map((tile) => {
    const { height, width } = tile.window;
    const batch = ignoredBatch(dataset.layout, 1, [height, width]);
    fillSample(batch, 0, ownPixels(sample, tile, dataset.layout), tile.window, dataset.layout);
    return batch;
  });
}

/** Labels of another tile are ignored in this one. */
function ownPixels(sample: Sample, { window, top, left, bottom, right }: Tile, { ignoreIndex }: Layout): Sample {
  const { width, height, labels } = sample.mask;
  const whole = top === Math.max(0, window.top) && left === Math.max(0, window.left);
  if (whole) return sample;
  const own = ignoreIndex >= 0 && ignoreIndex < 65536 ? new Uint16Array(width * height) : new Int32Array(width * height);
  own.fill(ignoreIndex);
  for (let y = top; y < bottom; y++) own.set(labels.subarray(y * width + left, y * width + right), y * width + left);
  return { ...sample, mask: { width, height, labels: own } };
}

/** One batch from several of equal sizes; `count` above their number adds pictures of ignored pixels. */
export function joinedBatch(parts: readonly Batch[], count: number, layout: Layout): Batch {
  const [, , height, width] = (parts[0] as Batch).imageDims;
  const batch = ignoredBatch(layout, count, [height, width]);
  parts.forEach((part, i) => {
    batch.images.set(part.images, i * part.images.length);
    if (batch.labels instanceof BigInt64Array) batch.labels.set(part.labels as BigInt64Array, i * part.labels.length);
    else batch.labels.set(part.labels as Uint8Array, i * part.labels.length);
  });
  return batch;
}

/** Mean-coloured pictures with ignored labels; what is in `buffers` stays. */
export function ignoredBatch(layout: Layout, batch: number, [height, width]: readonly [number, number], buffers?: Buffers): Batch {
  const [labelHeight, labelWidth] = layout.labelSize ?? [height, width];
  const images = batch * layout.channels * height * width;
  const labels = batch * labelHeight * labelWidth;
  return {
    images: buffers?.images.length === images ? buffers.images : new Float32Array(images),
    imageDims: [batch, layout.channels, height, width],
    labels: buffers?.labels.length === labels ? buffers.labels : ignoredLabels(layout.labelType, labels, layout.ignoreIndex),
    labelDims: [batch, labelHeight, labelWidth],
  };
}

function ignoredLabels(type: LabelType, count: number, ignoreIndex: number): Labels {
  if (type === "int64") return new BigInt64Array(count).fill(BigInt(ignoreIndex));
  return (type === "uint8" ? new Uint8Array(count) : new Int32Array(count)).fill(ignoreIndex);
}

function clearSample({ images, labels, imageDims: [batch] }: Batch, index: number, { ignoreIndex }: Layout): void {
  const [pixels, count] = [images.length / batch, labels.length / batch];
  images.fill(0, index * pixels, (index + 1) * pixels);
  if (labels instanceof BigInt64Array) labels.fill(BigInt(ignoreIndex), index * count, (index + 1) * count);
  else labels.fill(ignoreIndex, index * count, (index + 1) * count);
}

function fillSample(batch: Batch, index: number, { picture, mask }: Sample, window: Window, layout: Layout, jitter?: ColourMap): void {
  const [, channels, height, width] = batch.imageDims;
  const [, labelHeight, labelWidth] = batch.labelDims;
  copyPixels(picture, window, batch.images, index * channels * height * width, { channels, ...layout.preprocessing }, jitter);
  const at = index * labelHeight * labelWidth;
  const size = [labelHeight, labelWidth] as const;
  if (!(batch.labels instanceof BigInt64Array)) {
    copyLabels(mask, window, size, batch.labels, at, layout.ignoreIndex);
    return;
  }
  const labels = new Int32Array(labelHeight * labelWidth);
  copyLabels(mask, window, size, labels, 0, layout.ignoreIndex);
  for (let i = 0; i < labels.length; i++) batch.labels[at + i] = BigInt(labels[i] as number);
}
