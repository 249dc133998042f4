/** Learning rate by step: a linear warm-up, then constant, polynomial or cosine; a pure function of the step. */

export const scheduleNames = ["constant", "poly", "cosine"] as const;

export interface Schedule {
  readonly kind: (typeof scheduleNames)[number];
  /** Learning rate at the end of the warm-up. */
  readonly rate: number;
  readonly steps: number;
  /** Steps in which the rate rises to `rate`. */
  readonly warmup: number;
}

/** DeepLab's exponent (arXiv:1606.00915). */
const polyPower = 0.9;

/** Rate of the update with index `step`, 0 ≤ step < steps. */
export function learningRate({ kind, rate, steps, warmup }: Schedule, step: number): number {
  if (step < warmup) return (rate * (step + 1)) / (warmup + 1);
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  switch (kind) {
    case "constant":
      return rate;
    case "poly":
      return rate * (1 - progress) ** polyPower;
    case "cosine":
      return (rate * (1 + Math.cos(Math.PI * progress))) / 2;
  }
}
