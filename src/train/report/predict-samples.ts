/** What the state at hand makes of a few validation pictures, by the evaluation graph itself. */

import { joinedBatch, pictureTiles } from "../batches.ts";
import type { Dataset } from "../dataset.ts";
import { batchFeeds } from "../evaluate.ts";
import type { Mask } from "../masks.ts";
import type { RuntimeTensor, Session, Tensors } from "../runtime.ts";
import { tilesOf } from "../tiles.ts";
import type { Sample } from "./pictures.ts";

/** Up to `most` numbers below `size`, evenly apart and the same every time. */
export function sampleIndices(size: number, most = 6): readonly number[] {
  const number = Math.min(size, most);
  return Array.from({ length: number }, (_, i) => Math.floor(((i + 0.5) * size) / number));
}

/**
 * @param multiple as in `EvaluationData`
 * @returns undefined where the picture cannot be used any more
 */
export async function predictSample(
  session: Session,
  state: Tensors,
  dataset: Dataset,
  index: number,
  multiple: number,
): Promise<Omit<Sample, "step"> | undefined> {
  const { layout } = dataset;
  const batches = await pictureTiles(dataset, index, multiple);
  if ("code" in batches) return undefined;
  const { pair, picture, mask } = await dataset.sample(index);
  const { width, height } = picture;
  const labels = new Int32Array(width * height);
  for (const [i, { window, top, left, bottom, right }] of tilesOf(picture, { ...layout, multiple }).entries()) {
    const batch = joinedBatch(batches.slice(i, i + 1), layout.batch ?? 1, layout);
    const { data, dims } = (await session.run(batchFeeds(batch, layout, session, state), ["prediction"])).get("prediction") as RuntimeTensor;
    const [, rows = 0, columns = 0] = dims;
    for (let y = top; y < bottom; y++) {
      const row = Math.floor(((y - window.top) * rows) / window.height);
      for (let x = left; x < right; x++) {
        const column = Math.floor(((x - window.left) * columns) / window.width);
        labels[y * width + x] = (data as Int32Array)[row * columns + column] as number;
      }
    }
  }
  const prediction: Mask = { width, height, labels };
  return { name: pair.stem, picture, label: mask, prediction };
}
