/**
 * Which sizes of pictures a network takes where its graph leaves them open. One that halves its maps and joins them
 * again fails where a half is not whole; no shape says so, so a small run asks.
 */

import { OhemgenError } from "../support/errors.ts";
import { ignoredBatch } from "./batches.ts";
import { batchFeeds } from "./evaluate.ts";
import type { Layout } from "./layout.ts";
import type { Session, Tensors } from "./runtime.ts";
import { sizeMultiple, type TileSize } from "./tiles.ts";

/** Odd, and so are its halves, however often it is halved. */
const oddSize = 2 * sizeMultiple + 1;

/**
 * 1 for a network that takes every size, else 32, which divides by every usual stride.
 * @param run runs the network on a picture of this size  @throws what `run` throws, but for E403
 */
export async function sizeMultipleOf({ height, width }: TileSize, run: (height: number, width: number) => Promise<unknown>): Promise<number> {
  if (height !== null && width !== null) return 1;
  try {
    await run(height ?? oddSize, width ?? oddSize);
    return 1;
  } catch (error) {
    if (error instanceof OhemgenError && error.code === "E403") return sizeMultiple;
    throw error;
  }
}

/** The same for an evaluation graph. */
export function evaluationMultiple(session: Session, state: Tensors, layout: Layout): Promise<number> {
  return sizeMultipleOf(layout, async (height, width) => {
    const batch = ignoredBatch(layout, layout.batch ?? 1, [height, width]);
    await session.run(await batchFeeds(batch, layout, session, state), ["prediction"]);
  });
}

/** For a person to read. */
export const paddedNote = `the network does not take every size: pictures are filled up to multiples of ${sizeMultiple} pixels`;
