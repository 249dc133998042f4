/** Pictures and masks of a folder as samples: read when needed, checked, every label a class or the ignored one. */

import type { ErrorCode } from "../support/error-codes.ts";
import { OhemgenError } from "../support/errors.ts";
import { randomStream, shuffled } from "../support/random.ts";
import { type LabelMap, mappedMask } from "./label-map.ts";
import type { Layout } from "./layout.ts";
import { type Mask, numbersOf, type Picture, type RawMask } from "./masks.ts";
import type { Pair } from "./pairing.ts";

export interface Sample {
  readonly pair: Pair;
  readonly picture: Picture;
  readonly mask: Mask;
}

/** Everything a dataset is made from; plain data that can be sent to another thread. */
export interface DatasetSpec {
  readonly pairs: readonly Pair[];
  readonly layout: Layout;
  /** `null`: a mask's numbers are the classes. */
  readonly labelMap: LabelMap | null;
}

/** Where pictures come from: folders, or what was dropped on a page. @throws OhemgenError E412 */
export interface PictureSource {
  picture(path: string): Promise<Picture>;
  mask(path: string): Promise<RawMask>;
}

/** Decoded pictures are kept up to this many bytes, so that a small folder is decoded once. */
const defaultCacheLimit = 256 * 2 ** 20;

export class Dataset {
  readonly pairs: readonly Pair[];
  readonly layout: Layout;
  readonly #labelMap: LabelMap | null;
  readonly #source: PictureSource;
  readonly #cacheLimit: number;
  readonly #cache = new Map<number, Sample>();
  #cached = 0;
  /** Order of the epoch that is being read. */
  #order: { readonly seed: number; readonly epoch: number; readonly indices: readonly number[] } | undefined;

  constructor({ pairs, layout, labelMap }: DatasetSpec, source: PictureSource, cacheLimit = defaultCacheLimit) {
    this.pairs = pairs;
    this.layout = layout;
    this.#labelMap = labelMap;
    this.#source = source;
    this.#cacheLimit = cacheLimit;
  }

  get size(): number {
    return this.pairs.length;
  }

  /** Which picture is the sample at `position`, counted through all epochs, each in an order of its own. */
  indexAt(seed: number, position: number): number {
    const epoch = Math.floor(position / this.size);
    if (this.#order?.seed !== seed || this.#order.epoch !== epoch) {
      this.#order = { seed, epoch, indices: shuffled(this.size, randomStream(seed, 1, epoch)) };
    }
    return this.#order.indices[position % this.size] as number;
  }

  /** @throws OhemgenError E412 (unreadable), E413 (image and mask differ in size), E414 (a label that is no class). */
  async sample(index: number): Promise<Sample> {
    const known = this.#cache.get(index);
    if (known !== undefined) return known;
    const pair = this.pairs[index] as Pair;
    const [picture, mask] = await Promise.all([this.#source.picture(pair.image), this.#mask(pair)]);
    const sample = { pair, picture, mask };
    checkSample(sample, this.layout);
    const bytes = picture.rgb.byteLength + mask.labels.byteLength;
    if (this.#cached + bytes <= this.#cacheLimit) {
      this.#cache.set(index, sample);
      this.#cached += bytes;
    }
    return sample;
  }

  async #mask({ mask: path }: Pair): Promise<Mask> {
    const mask = await this.#source.mask(path);
    return this.#labelMap === null ? numbersOf(mask, path) : mappedMask(mask, this.#labelMap, this.layout.ignoreIndex, path);
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
  const { labels } = mask;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    if (label >= classes && label !== ignoreIndex) {
      throw new OhemgenError(`${pair.mask} has the label ${label}, but the model has ${classes} classes (0 to ${classes - 1})`, {
        code: "E414",
        where: pair.mask,
        hint: `Pixels to leave out have the label ${ignoreIndex} (--ignore-index of \`ohemgen attach\`). --label-map turns other labels into classes.`,
      });
    }
  }
}

/** A sample that cannot be used, and why. */
export interface SampleFailure {
  readonly stem: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly where: string | null;
  readonly hint: string | null;
}

/** Faults of single files, as opposed to those of the machine or of ohemgen. */
const sampleCodes: ReadonlySet<string> = new Set(["E412", "E413", "E414"]);

/** @throws the error itself where it is not about the sample's files. */
export function failureOf(error: unknown, { stem }: Pair): SampleFailure {
  if (!(error instanceof OhemgenError) || !sampleCodes.has(error.code)) throw error;
  const { code, message, where = null, hint = null } = error;
  return { stem, code, message, where, hint };
}

export function errorOf({ code, message, where, hint }: SampleFailure): OhemgenError {
  return new OhemgenError(message, { code, ...(where === null ? {} : { where }), ...(hint === null ? {} : { hint }) });
}
