/** How good a state is on a folder: the loss, and the confusion of all labelled pixels, by the evaluation graph. */

import { type Batch, joinedBatch } from "./batches.ts";
import type { SampleFailure } from "./dataset.ts";
import type { DecodePool } from "./decode-pool.ts";
import type { Layout } from "./layout.ts";
import { addConfusion, type Confusion, confusionRows, emptyConfusion, type Scores, scoresOf } from "./metrics.ts";
import { type RuntimeTensor, type Session, scalarOf, type Tensors } from "./runtime.ts";

export interface Evaluation extends Scores {
  /** Means over the labelled pixels; null without one. */
  readonly loss: number | null;
  readonly ce: number | null;
  readonly lovasz: number | null;
  readonly confusion: readonly (readonly number[])[];
  /** Images that were evaluated. */
  readonly images: number;
}

/** The folder's pictures, decoded by a pool whose evaluation set they are. */
export interface EvaluationData {
  readonly pool: DecodePool;
  readonly layout: Layout;
  readonly size: number;
  /** What sizes of pictures must be multiples of: see `sizeMultipleOf`. */
  readonly multiple: number;
}

export interface EvaluationOptions {
  /** Most images per run where the graph leaves it open. */
  readonly batch: number;
  /** Most pixels of such a run; one image may have more. */
  readonly pixels?: number;
  readonly onProgress?: (images: number) => void;
  /** A picture that cannot be used is left out; throw to end the evaluation instead. */
  readonly onFailure: (failure: SampleFailure) => void;
  /** Asked between runs; true ends the evaluation without a result. */
  readonly stopping?: () => boolean;
}

const lossNames = ["loss", "ce", "lovasz"] as const;

/**
 * Evaluates `state` on every image; images larger than a graph of fixed size are evaluated in tiles.
 * @returns undefined where it was stopped
 */
export async function evaluate(session: Session, state: Tensors, data: EvaluationData, options: EvaluationOptions): Promise<Evaluation | undefined> {
  const { layout } = data;
  const confusion = emptyConfusion(layout.classes);
  const sums: Record<(typeof lossNames)[number], number> = { loss: 0, ce: 0, lovasz: 0 };
  const outputs = [...lossNames, "valid", "confusion"].filter((name) => session.outputs.includes(name));
  let valid = 0;
  let images = 0;
  const collector = new TileCollector(layout, options);
  const runBatch = async (batch: Batch): Promise<void> => {
    const result = await session.run(batchFeeds(batch, layout, session, state), outputs);
    const pixels = scalarOf(result, "valid");
    // A batch without a labelled pixel has no loss to count.
    if (pixels > 0) for (const name of lossNames) if (result.has(name)) sums[name] += scalarOf(result, name) * pixels;
    valid += pixels;
    addConfusion(confusion, (result.get("confusion") as RuntimeTensor).data as BigInt64Array);
  };
  let done = 0;
  for await (const tiles of decodedTiles(data)) {
    if ("code" in tiles) options.onFailure(tiles);
    else {
      images++;
      for (const batch of collector.add(tiles)) {
        if (options.stopping?.()) return undefined;
        await runBatch(batch);
      }
    }
    options.onProgress?.(++done);
  }
  if (options.stopping?.()) return undefined;
  for (const batch of collector.rest()) await runBatch(batch);
  const mean = (name: (typeof lossNames)[number]): number | null => (valid === 0 ? null : sums[name] / valid);
  return { loss: mean("loss"), ce: mean("ce"), lovasz: mean("lovasz"), ...evaluationOf(confusion), images };
}

/** Tiles of one picture after the other, the next ones being decoded meanwhile. */
async function* decodedTiles({ pool, size, multiple }: EvaluationData): AsyncGenerator<readonly Batch[] | SampleFailure> {
  const waiting: Promise<readonly Batch[] | SampleFailure>[] = [];
  for (let asked = 0, done = 0; done < size; done++) {
    for (; asked < size && waiting.length <= pool.workers; asked++) {
      const tiles = pool.run({ kind: "tiles", index: asked, multiple });
      tiles.catch(() => {}); // Thrown where it is awaited.
      waiting.push(tiles);
    }
    yield await (waiting.shift() as Promise<readonly Batch[] | SampleFailure>);
  }
}

/** Makes full batches of tiles of one size; the last one is padded with ignored pixels to a fixed batch size. */
class TileCollector {
  readonly #layout: Layout;
  readonly #options: EvaluationOptions;
  #waiting: Batch[] = [];

  constructor(layout: Layout, options: EvaluationOptions) {
    this.#layout = layout;
    this.#options = options;
  }

  #mostOf({ imageDims: [, , height, width] }: Batch): number {
    const { batch, pixels = Number.POSITIVE_INFINITY } = this.#options;
    return this.#layout.batch ?? Math.max(1, Math.min(batch, Math.floor(pixels / (height * width))));
  }

  *add(tiles: readonly Batch[]): Generator<Batch> {
    for (const tile of tiles) {
      const [first] = this.#waiting;
      const fits = first === undefined || first.imageDims.join() === tile.imageDims.join();
      if (!fits) yield* this.rest();
      this.#waiting.push(tile);
      if (this.#waiting.length === this.#mostOf(tile)) yield* this.rest();
    }
  }

  *rest(): Generator<Batch> {
    const tiles = this.#waiting;
    this.#waiting = [];
    if (tiles.length > 0) yield joinedBatch(tiles, this.#layout.batch ?? tiles.length, this.#layout);
  }
}

export function evaluationOf(confusion: Confusion): Scores & { readonly confusion: readonly (readonly number[])[] } {
  return { ...scoresOf(confusion), confusion: confusionRows(confusion) };
}

/** Inputs of a graph for a batch: the pictures, the labels and as much of the state as the graph reads. */
export function batchFeeds(batch: Batch, layout: Layout, session: Session, state: Tensors): Map<string, RuntimeTensor> {
  const feeds = new Map<string, RuntimeTensor>();
  feeds.set(layout.imageInput, session.tensor(batch.images, batch.imageDims));
  feeds.set("labels", session.tensor(batch.labels, batch.labelDims));
  for (const [name, tensor] of state) if (session.inputs.includes(name)) feeds.set(name, tensor);
  return feeds;
}
