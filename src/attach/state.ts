/** Layout of the flat state vectors: order of the tensors, groups of equal learning rate factor and decay. */

import { elementCount } from "../ir/dims.ts";
import { checkedWeightDecay, defaultWeightDecay, type ParameterGroup } from "../optim/options.ts";
import { OhemgenError, usageError } from "../support/errors.ts";
import { matches } from "./glob.ts";
import type { OptimizerOptions } from "./options.ts";
import type { StoredTensor } from "./trainable.ts";

export interface PlacedTensor extends StoredTensor {
  readonly offset: number;
  readonly length: number;
  readonly group: number;
  readonly decay: boolean;
}

export interface StateLayout {
  /** In the order of the flat vectors. */
  readonly tensors: readonly PlacedTensor[];
  readonly groups: readonly ParameterGroup[];
  /** Elements of a flat vector. */
  readonly length: number;
}

function checked(flag: string, patterns: readonly string[], tensors: readonly StoredTensor[]): void {
  for (const pattern of patterns) {
    if (pattern === "" || tensors.some(({ value }) => matches(pattern, value.name))) continue;
    throw new OhemgenError(`${flag} ${pattern} matches no trained tensor`, {
      code: "E212",
      where: `${flag} ${pattern}`,
      hint: `Names look like: ${tensors
        .slice(0, 4)
        .map(({ value }) => value.name)
        .join(", ")}.`,
      exitCode: 2,
    });
  }
}

/** Ordered by learning rate factor, then decay, then as in the file (sorting is stable), so that a group is one slice. */
export function layOut(tensors: readonly StoredTensor[], options: OptimizerOptions, kind: "sgd" | "adamw"): StateLayout {
  const factors = options.learningRateFactors ?? [];
  checked(
    "--lr-mult",
    factors.map(({ pattern }) => pattern),
    tensors,
  );
  checked("--decay-exclude", options.decayExclude ?? [], tensors);
  const weightDecay = checkedWeightDecay(options.weightDecay ?? defaultWeightDecay(kind));
  const excluded = options.decayExclude;
  const keyed = tensors.map((stored) => {
    const { name } = stored.value;
    const factor = factors.filter(({ pattern }) => matches(pattern, name)).at(-1)?.factor ?? 1;
    if (!(Number.isFinite(factor) && factor >= 0)) throw usageError(`--lr-mult: the factor ${factor} is not a number of at least 0`);
    const decay = excluded === undefined ? stored.tensor.dims.length !== 1 : !excluded.some((pattern) => matches(pattern, name));
    return { stored, factor, decay };
  });
  const sorted = keyed.sort((a, b) => a.factor - b.factor || Number(a.decay) - Number(b.decay));
  const placed: PlacedTensor[] = [];
  const groups: { -readonly [K in keyof ParameterGroup]: ParameterGroup[K] }[] = [];
  let offset = 0;
  let last: { factor: number; decay: boolean } | undefined;
  for (const { stored, factor, decay } of sorted) {
    const length = elementCount(stored.tensor.dims);
    if (last?.factor !== factor || last.decay !== decay) groups.push({ offset, length: 0, learningRateFactor: factor, weightDecay: decay ? weightDecay : 0 });
    (groups.at(-1) as { length: number }).length += length;
    last = { factor, decay };
    placed.push({ ...stored, offset, length, group: groups.length - 1, decay });
    offset += length;
  }
  return { tensors: placed, groups, length: offset };
}
