/** Made-up runs for tests of what is written about them. */

import type { EndEvent, StartEvent, StepEvent, ValidationEvent } from "../../src/train/journal.ts";

const time = (minute: number): string => new Date(Date.UTC(2026, 0, 31, 12, minute)).toISOString();

export function start(step = 0, rest: Partial<StartEvent> = {}): StartEvent {
  return { event: "start", step, epoch: 0, steps: 100, images: 48, batch: 8, accumulate: 1, resumed: step > 0, time: time(step), ...rest };
}

export function step(number: number, rest: Partial<StepEvent> = {}): StepEvent {
  const loss = 3 / (1 + number / 20);
  const speed = { images_per_second: 20, waited: 0.02 };
  return {
    event: "step",
    step: number,
    epoch: number / 6,
    loss,
    ce: loss / 2,
    lovasz: loss / 2,
    kept: 0.4,
    lr: 0.01,
    grad_norm: 2,
    finite: true,
    ...speed,
    ...rest,
  };
}

/** Class `c` is right in a share of 1 − 1/(c + 2) of its pixels, and taken for the next one otherwise. */
export function validation(number: number, classes: number, rest: Partial<ValidationEvent> = {}): ValidationEvent {
  const pixels = Array.from({ length: classes }, (_, c) => 1000 * (c + 1));
  const confusion = pixels.map((all, label) =>
    Array.from({ length: classes }, (_, predicted) => {
      const wrong = Math.round(all / (label + 2));
      if (predicted === label) return classes === 1 ? all : all - wrong;
      return predicted === (label + 1) % classes ? wrong : 0;
    }),
  );
  const column = (c: number): number => confusion.reduce((sum, row) => sum + (row[c] ?? 0), 0);
  const iou = pixels.map((all, c) => (confusion[c]?.[c] ?? 0) / (all + column(c) - (confusion[c]?.[c] ?? 0)));
  const miou = iou.reduce((sum, value) => sum + value, 0) / classes;
  const scores = { loss: 2 / (1 + number / 20), ce: 0.5, lovasz: 0.4, miou, pixel_accuracy: 0.8, iou, pixels, confusion };
  return { event: "val", step: number, epoch: number / 6, ...scores, images: 16, best: true, seconds: 2, ...rest };
}

export function end(number: number, rest: Partial<EndEvent> = {}): EndEvent {
  return {
    event: "end",
    step: number,
    epoch: number / 6,
    reason: "done",
    best: { step: number, miou: 0.7 },
    skipped_steps: 0,
    skipped_images: 0,
    time: time(30),
    ...rest,
  };
}
