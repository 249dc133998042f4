/**
 * `metrics.jsonl`, the diary of a run: one JSON object per line, told apart by `event`. Lines are in the order of
 * the steps; what a run that was killed wrote beyond its checkpoint is dropped when it is taken up again, so every
 * step and every validation is there once. A number that is not finite, or does not exist, is `null`.
 *
 *     {"event":"start","step":0,"epoch":0,"steps":500,"images":2975,"batch":8,"accumulate":1,"resumed":false,"time":"2026-01-31T12:00:00.000Z"}
 *     {"event":"step","step":1,"epoch":0.0027,"loss":1.9,"ce":1.1,"lovasz":0.8,"kept":0.31,"lr":0.0004,"grad_norm":3.1,"finite":true,"images_per_second":21.4,"waited":0.01}
 *     {"event":"val","step":50,"epoch":0.13,"loss":1.2,"ce":0.7,"lovasz":0.5,"miou":0.41,"pixel_accuracy":0.83,"iou":[0.9,null],"pixels":[812,0],"confusion":[[800,12],[0,0]],"images":500,"best":true,"seconds":12.5}
 *     {"event":"end","step":500,"epoch":1.3,"reason":"done","best":{"step":450,"miou":0.71},"skipped_steps":0,"skipped_images":0,"time":"2026-01-31T14:00:00.000Z"}
 *
 * `start` and `end` are there once per start of the command; a run that was killed has a `start` without `end`.
 */

/** A run begins, or is taken up again (`resumed`) after `step` updates. */
export interface StartEvent {
  readonly event: "start";
  /** Updates done so far. */
  readonly step: number;
  /** Passes over the images so far. */
  readonly epoch: number;
  /** Updates of the whole run. */
  readonly steps: number;
  /** Training images. */
  readonly images: number;
  /** Images per run of the graph, and runs per update. */
  readonly batch: number;
  readonly accumulate: number;
  readonly resumed: boolean;
  /** ISO 8601, UTC. */
  readonly time: string;
}

/** One update. */
export interface StepEvent {
  readonly event: "step";
  /** 1 for the first update. */
  readonly step: number;
  /** Passes over the images after this step. */
  readonly epoch: number;
  readonly loss: number | null;
  /** The terms of the loss before their weights. */
  readonly ce: number | null;
  readonly lovasz: number | null;
  /** Share of the labelled pixels that were hard, 0 to 1; `null` without a labelled pixel. */
  readonly kept: number | null;
  /** Learning rate of this update. */
  readonly lr: number;
  /** L2 norm of the gradient before clipping. */
  readonly grad_norm: number | null;
  /** False: a number was not finite, and the update was left out. */
  readonly finite: boolean;
  readonly images_per_second: number;
  /** Share of the step's time spent waiting for pictures, 0 to 1. */
  readonly waited: number;
}

/** A validation of the state after `step` updates. */
export interface ValidationEvent {
  readonly event: "val";
  readonly step: number;
  readonly epoch: number;
  readonly loss: number | null;
  readonly ce: number | null;
  readonly lovasz: number | null;
  readonly miou: number | null;
  readonly pixel_accuracy: number | null;
  /** By class index; `null` for a class that is neither in the labels nor predicted. */
  readonly iou: readonly (number | null)[];
  /** Labelled pixels by class. */
  readonly pixels: readonly number[];
  /** Row = label, column = prediction, in pixels. */
  readonly confusion: readonly (readonly number[])[];
  /** Images evaluated. */
  readonly images: number;
  /** The best mIoU of the run so far. */
  readonly best: boolean;
  readonly seconds: number;
}

/** The command ends: all steps done, no better mIoU for `--patience` validations, a signal, or an error. */
export interface EndEvent {
  readonly event: "end";
  readonly step: number;
  readonly epoch: number;
  readonly reason: "done" | "patience" | "interrupted" | "failed";
  /** Step and mIoU of the best validation; `null` without one. */
  readonly best: { readonly step: number; readonly miou: number } | null;
  /** Updates left out because a number was not finite. */
  readonly skipped_steps: number;
  /** Samples left out because their files could not be used. */
  readonly skipped_images: number;
  readonly time: string;
}

export type JournalEvent = StartEvent | StepEvent | ValidationEvent | EndEvent;

/** A line of the file, with its end. JSON has no NaN: it becomes `null`. */
export function journalLine(event: JournalEvent): string {
  return `${JSON.stringify(event)}\n`;
}

/** The events of a file; a last line that was cut off, or one of another kind, is left out. */
export function readJournal(text: string): JournalEvent[] {
  return text.split("\n").flatMap((line) => {
    try {
      const event = JSON.parse(line) as JournalEvent;
      return knownEvents.has(event.event) ? [event] : [];
    } catch {
      return [];
    }
  });
}

const knownEvents: ReadonlySet<string> = new Set<JournalEvent["event"]>(["start", "step", "val", "end"]);

/** What remains of a file when its run is taken up again after `step` updates: nothing from beyond. */
export function journalUpTo(text: string, step: number): string {
  return readJournal(text)
    .filter((event) => event.step <= step)
    .map(journalLine)
    .join("");
}
