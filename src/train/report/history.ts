/** What a run has told so far, in columns; long runs are thinned when they are drawn, not when they are kept. */

import type { EndEvent, JournalEvent, StartEvent, StepEvent, ValidationEvent } from "../journal.ts";

const columnNames = ["loss", "ce", "lovasz", "lr", "kept", "grad_norm", "images_per_second", "waited"] as const;
export type ColumnName = (typeof columnNames)[number];

/** One row per point; a number that does not exist is `null`. */
export interface Curve {
  readonly steps: readonly number[];
  readonly columns: Readonly<Record<ColumnName, readonly (number | null)[]>>;
}

export class RunHistory {
  readonly #steps: number[] = [];
  readonly #columns = Object.fromEntries(columnNames.map((name) => [name, []])) as unknown as Record<ColumnName, (number | null)[]>;
  readonly validations: ValidationEvent[] = [];
  /** The first start of the run, and the last one if it was taken up again. */
  readonly starts: StartEvent[] = [];
  end: EndEvent | undefined;
  skipped = 0;

  add(event: JournalEvent): void {
    if (event.event === "step") this.#addStep(event);
    else if (event.event === "val") this.validations.push(event);
    else if (event.event === "end") this.end = event;
    else {
      this.starts.push(event);
      this.end = undefined;
    }
  }

  #addStep(event: StepEvent): void {
    this.#steps.push(event.step);
    for (const name of columnNames) this.#columns[name].push(event[name]);
    if (!event.finite) this.skipped += 1;
  }

  get lastStep(): number {
    return this.#steps.at(-1) ?? this.validations.at(-1)?.step ?? 0;
  }

  /** The validation whose weights are in `best.onnx`; the last one where none has a score. */
  get best(): ValidationEvent | undefined {
    return this.validations.findLast(({ best }) => best) ?? this.validations.at(-1);
  }

  mean(name: ColumnName): number | null {
    return meanOf(this.#columns[name]);
  }

  /** At most `points` rows: each the mean of as many neighbours as needed. */
  curve(points: number): Curve {
    const width = Math.max(1, Math.ceil(this.#steps.length / points));
    const count = Math.ceil(this.#steps.length / width);
    const part = <T>(list: readonly T[], i: number): readonly T[] => list.slice(i * width, (i + 1) * width);
    return {
      steps: Array.from({ length: count }, (_, i) => part(this.#steps, i).at(-1) as number),
      columns: Object.fromEntries(
        columnNames.map((name) => [name, Array.from({ length: count }, (_, i) => meanOf(part(this.#columns[name], i)))]),
      ) as unknown as Curve["columns"],
    };
  }
}

function meanOf(numbers: readonly (number | null)[]): number | null {
  const known = numbers.filter((number) => number !== null);
  return known.length === 0 ? null : known.reduce((sum, number) => sum + number, 0) / known.length;
}

/** Exponentially weighted mean over about `window` points, corrected for its start as in Adam (Kingma and Ba 2015). */
export function smoothed(numbers: readonly (number | null)[], window: number): (number | null)[] {
  const decay = 1 - 1 / Math.max(1, window);
  let sum = 0;
  let weight = 0;
  return numbers.map((number) => {
    if (number !== null) {
      sum = decay * sum + (1 - decay) * number;
      weight = decay * weight + (1 - decay);
    }
    return weight === 0 ? null : sum / weight;
  });
}
