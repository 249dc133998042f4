/** Bad files: found before a run where that is cheap, left out and counted within it. */

import { OhemgenError } from "../support/errors.ts";
import { type DatasetSpec, errorOf, type SampleFailure } from "./dataset.ts";
import type { SetName } from "./decode-jobs.ts";
import type { DecodePool } from "./decode-pool.ts";

/** So many pictures of a folder are decoded before a run; a small folder is checked whole. */
const checkedSamples = 64;

/**
 * Checks samples spread over the folder. Returns the size of the first good one.
 * @param strict false: bad samples are passed over, as long as one is good
 * @throws OhemgenError E412, E413, E414 of the first bad sample
 */
export async function checkSamples(pool: DecodePool, set: SetName, { pairs }: DatasetSpec, strict: boolean): Promise<{ width: number; height: number }> {
  const count = Math.min(checkedSamples, pairs.length);
  const indices = Array.from({ length: count }, (_, i) => Math.floor((i * pairs.length) / count));
  let size: { width: number; height: number } | undefined;
  let failure: SampleFailure | undefined;
  // A few at a time: all at once would hold all of them in memory.
  for (let i = 0; i < count; i += 8) {
    const results = await Promise.all(indices.slice(i, i + 8).map((index) => pool.run({ kind: "check", set, index })));
    for (const result of results) {
      if (!("code" in result)) size ??= result;
      else if (strict) throw errorOf(result);
      else failure ??= result;
    }
  }
  if (size === undefined) throw failure === undefined ? new OhemgenError("there are no samples", { code: "E410" }) : errorOf(failure);
  return size;
}

/** So many bad files are told one by one. */
const told = 10;

/** Counts files that are left out; a run goes on with a few. */
export class FailureCount {
  readonly #limit: number;
  readonly #warn: (text: string) => void;
  readonly #seen = new Map<string, SampleFailure>();

  /** @param images of all folders together */
  constructor(images: number, warn: (text: string) => void) {
    // A twentieth, and ten in any case: more than that is no accident.
    this.#limit = Math.max(10, Math.floor(images / 20));
    this.#warn = warn;
  }

  /** Every file counts and is told once. */
  add(failure: SampleFailure): void {
    const key = failure.where ?? failure.message;
    if (this.#seen.has(key)) return;
    this.#seen.set(key, failure);
    if (this.#seen.size <= told) this.#warn(`${failure.message}  [${failure.code}]; left out`);
    if (this.#seen.size === told) this.#warn("further files that are left out are only counted");
  }

  get tooMany(): boolean {
    return this.#seen.size > this.#limit;
  }

  error(): OhemgenError {
    const [first] = this.#seen.values();
    return new OhemgenError(`${this.#seen.size} samples cannot be used; the first: ${first?.message}`, {
      code: "E415",
      ...(first?.where === null || first === undefined ? {} : { where: first.where }),
      hint: "The run is saved. Repair the files, or take images and masks out together, and go on with --resume.",
    });
  }
}
