/** How good a state is on a folder: the loss, and the confusion of all labelled pixels, by the evaluation graph. */

import { type Batch, type Dataset, evaluationBatches } from "./dataset.ts";
import { addConfusion, type Confusion, confusionRows, emptyConfusion, type Scores, scoresOf } from "./metrics.ts";
import { type RuntimeTensor, runtimeTensor, type Session, scalarOf, type Tensors } from "./session.ts";

export interface Evaluation extends Scores {
  /** Means over the labelled pixels; null without one. */
  readonly loss: number | null;
  readonly ce: number | null;
  readonly lovasz: number | null;
  readonly confusion: readonly (readonly number[])[];
}

export interface EvaluationOptions {
  /** Images per run where the graph leaves it open. */
  readonly batch: number;
  readonly onProgress?: (images: number) => void;
}

const lossNames = ["loss", "ce", "lovasz"] as const;

/** Evaluates `state` on every image; images larger than a graph of fixed size are evaluated in tiles. */
export async function evaluate(session: Session, state: Tensors, dataset: Dataset, options: EvaluationOptions): Promise<Evaluation> {
  const confusion = emptyConfusion(dataset.layout.classes);
  const sums: Record<(typeof lossNames)[number], number> = { loss: 0, ce: 0, lovasz: 0 };
  const outputs = [...lossNames, "valid", "confusion"].filter((name) => session.outputs.includes(name));
  let valid = 0;
  let done = 0;
  for (const { batch, tiles } of evaluationBatches(dataset, dataset.layout.batch ?? options.batch)) {
    const feeds = await batchFeeds(batch, dataset, session, state);
    const result = await session.run(feeds, outputs);
    const pixels = scalarOf(result, "valid");
    // A batch without a labelled pixel has no loss to count.
    if (pixels > 0) for (const name of lossNames) if (result.has(name)) sums[name] += scalarOf(result, name) * pixels;
    valid += pixels;
    addConfusion(confusion, countsOf(result));
    done += new Set(tiles.map(({ sample }) => sample)).size;
    options.onProgress?.(Math.min(done, dataset.size));
  }
  const mean = (name: (typeof lossNames)[number]): number | null => (valid === 0 ? null : sums[name] / valid);
  return { loss: mean("loss"), ce: mean("ce"), lovasz: mean("lovasz"), ...evaluationOf(confusion) };
}

export function evaluationOf(confusion: Confusion): Scores & { readonly confusion: readonly (readonly number[])[] } {
  return { ...scoresOf(confusion), confusion: confusionRows(confusion) };
}

function countsOf(result: Tensors): ArrayLike<bigint> {
  return (result.get("confusion") as RuntimeTensor).data as BigInt64Array;
}

/** Inputs of a graph for a batch: the pictures, the labels and as much of the state as the graph reads. */
export async function batchFeeds(batch: Batch, { layout }: Dataset, session: Session, state: Tensors): Promise<Map<string, RuntimeTensor>> {
  const feeds = new Map<string, RuntimeTensor>();
  feeds.set(layout.imageInput, await runtimeTensor(batch.images, batch.imageDims));
  feeds.set("labels", await runtimeTensor(batch.labels, batch.labelDims));
  for (const [name, tensor] of state) if (session.inputs.includes(name)) feeds.set(name, tensor);
  return feeds;
}
