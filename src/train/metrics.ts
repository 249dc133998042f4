/**
 * Segmentation metrics from a confusion matrix (row = label, column = prediction). A class that occurs neither as
 * label nor as prediction has no IoU and does not count.
 */

/** Row-major, classes × classes. */
export interface Confusion {
  readonly classes: number;
  readonly counts: Float64Array;
}

export interface Scores {
  /** Mean over the classes that have an IoU; null where none has. */
  readonly miou: number | null;
  /** Share of the labelled pixels that are right; null without one. */
  readonly pixelAccuracy: number | null;
  readonly iou: readonly (number | null)[];
  /** Labelled pixels per class. */
  readonly pixels: readonly number[];
}

export function emptyConfusion(classes: number): Confusion {
  return { classes, counts: new Float64Array(classes * classes) };
}

/** Adds counts such as the output `confusion` of an evaluation graph. */
export function addConfusion(confusion: Confusion, counts: ArrayLike<number | bigint>): void {
  for (let i = 0; i < confusion.counts.length; i++) confusion.counts[i] = (confusion.counts[i] as number) + Number(counts[i]);
}

/** Counts pixels whose label is a class; any other label is ignored. */
export function countPixels(confusion: Confusion, labels: ArrayLike<number>, prediction: ArrayLike<number>): void {
  const { classes, counts } = confusion;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    if (label < 0 || label >= classes) continue;
    const at = label * classes + (prediction[i] as number);
    counts[at] = (counts[at] as number) + 1;
  }
}

export function scoresOf({ classes, counts }: Confusion): Scores {
  const rows = new Array<number>(classes).fill(0);
  const columns = new Array<number>(classes).fill(0);
  let right = 0;
  for (let label = 0; label < classes; label++) {
    for (let prediction = 0; prediction < classes; prediction++) {
      const count = counts[label * classes + prediction] as number;
      rows[label] = (rows[label] as number) + count;
      columns[prediction] = (columns[prediction] as number) + count;
      if (label === prediction) right += count;
    }
  }
  const iou = rows.map((row, i) => {
    const both = counts[i * classes + i] as number;
    const union = row + (columns[i] as number) - both;
    return union === 0 ? null : both / union;
  });
  const known = iou.filter((value) => value !== null);
  const total = rows.reduce((sum, row) => sum + row, 0);
  return {
    miou: known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length,
    pixelAccuracy: total === 0 ? null : right / total,
    iou,
    pixels: rows,
  };
}

export function confusionRows({ classes, counts }: Confusion): number[][] {
  return Array.from({ length: classes }, (_, i) => [...counts.subarray(i * classes, (i + 1) * classes)]);
}
