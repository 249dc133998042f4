/** How long graphs take on the CPU, by turns in one process, so that what else the machine does meets all of them alike. */

import { elementCount, isStatic } from "../ir/dims.ts";
import type { Model } from "../ir/graph.ts";
import { encodeModel } from "../proto/encode.ts";
import { bug } from "../support/errors.ts";
import { randomStream } from "../support/random.ts";
import type { RuntimeTensor, Session } from "./runtime.ts";
import { openSession, runtimeTensor } from "./session.ts";

const rounds = 7;
/** Milliseconds after which fewer rounds do. */
const enough = 600;
const fewest = 3;

/** Relative to the norm: rounding of long sums stays below 1e-5, a kernel that reads other channels is off by about 1. */
const tolerance = 1e-4;

function agree(a: ReadonlyMap<string, RuntimeTensor>, b: ReadonlyMap<string, RuntimeTensor>, names: Iterable<string>): boolean {
  return [...names].every((name) => {
    const [one, other] = [a.get(name)?.data as Float32Array, b.get(name)?.data as Float32Array];
    let [difference, norm] = [0, 0];
    one.forEach((value, i) => {
      difference += (value - (other[i] as number)) ** 2;
      norm += value ** 2;
    });
    return difference <= tolerance ** 2 * norm;
  });
}

async function feedsOf({ graph }: Model, given: ReadonlyMap<string, RuntimeTensor>): Promise<Map<string, RuntimeTensor>> {
  const random = randomStream(1, 0);
  const feeds = new Map<string, RuntimeTensor>();
  for (const { name, shape } of graph.inputs) {
    const dims = isStatic(shape) ? shape : bug(`a measurement of ${name} of unknown size`);
    const data = () => Float32Array.from({ length: elementCount(dims) }, () => 2 * random.next() - 1);
    feeds.set(name, given.get(name) ?? (await runtimeTensor(data(), dims)));
  }
  return feeds;
}

export interface MeasureOptions {
  readonly threads: number;
  /** Inputs that are not random float32. */
  readonly feeds?: ReadonlyMap<string, RuntimeTensor>;
  /** Outputs that have to be equal; default all. */
  readonly compared?: readonly string[];
}

/**
 * The fastest of some runs of each graph, in milliseconds. A graph that the runtime refuses, or whose results differ
 * from the first one's by more than rounding, has none.
 * @throws OhemgenError E401 without the runtime
 */
export async function measureGraphs(
  models: readonly Model[],
  { threads, feeds: given = new Map(), compared }: MeasureOptions,
): Promise<(number | undefined)[]> {
  const [first] = models;
  if (first === undefined) return [];
  const feeds = await feedsOf(first, given);
  const sessions: (Session | undefined)[] = [];
  let expected: ReadonlyMap<string, RuntimeTensor> | undefined;
  for (const model of models) {
    const session = await openSession(encodeModel(model), { threads }).catch((error: unknown) => (expected === undefined ? Promise.reject(error) : undefined));
    const found = await session?.run(feeds).catch(() => undefined);
    expected ??= found;
    const right = found !== undefined && expected !== undefined && agree(expected, found, compared ?? expected.keys());
    if (!right) await session?.close();
    sessions.push(right ? session : undefined);
  }
  const best = sessions.map(() => Number.POSITIVE_INFINITY);
  const start = performance.now();
  for (let round = 0; round < rounds && (round < fewest || performance.now() - start < enough); round++) {
    for (const [i, session] of sessions.entries()) {
      if (session === undefined) continue;
      const before = performance.now();
      await session.run(feeds);
      best[i] = Math.min(best[i] as number, performance.now() - before);
    }
  }
  for (const session of sessions) await session?.close();
  return best.map((time) => (Number.isFinite(time) ? time : undefined));
}
