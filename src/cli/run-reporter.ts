/** What a run tells: lines in `metrics.jsonl`, and progress for a person or, with --json, the same events on stderr. */

import type { Progress } from "../train/checkpoint.ts";
import type { Evaluation } from "../train/evaluate.ts";
import { type EndEvent, type JournalEvent, journalLine, type StartEvent } from "../train/journal.ts";
import type { StepMetrics } from "../train/loop.ts";
import type { Output } from "./output.ts";
import { decimals, duration, percent } from "./table.ts";

export class RunReporter {
  readonly #output: Output;
  readonly #steps: number;
  readonly #append: (line: string) => void;
  readonly #observe: (event: JournalEvent) => void;
  #validation: Evaluation | null = null;
  /** Seconds per step, averaged over the last steps: the first ones warm up. */
  #pace = 0;
  #images = 0;
  #before = performance.now();

  constructor(output: Output, steps: number, append: (line: string) => void, observe: (event: JournalEvent) => void) {
    this.#output = output;
    this.#steps = steps;
    this.#append = append;
    this.#observe = observe;
  }

  /** Of the last validation in this start of the command. */
  get validation(): Evaluation | null {
    return this.#validation;
  }

  start(event: Omit<StartEvent, "event" | "time">): void {
    this.#event({ event: "start", ...event, time: now() });
    this.#before = performance.now();
  }

  step(metrics: StepMetrics): void {
    const { step, epoch, loss, ce, lovasz, kept, learningRate, gradNorm, finite, imagesPerSecond, waited } = metrics;
    const rest = { lr: learningRate, grad_norm: gradNorm, finite, images_per_second: imagesPerSecond, waited };
    this.#event({ event: "step", step, epoch, loss, ce, lovasz, kept, ...rest });
    const seconds = (performance.now() - this.#before) / 1000;
    this.resume();
    this.#pace = averaged(this.#pace, seconds);
    this.#images = averaged(this.#images, imagesPerSecond);
    if (!this.#output.json) this.#output.progress(this.#line(metrics), { last: step === this.#steps });
  }

  /** The time from here on counts for the next step. */
  resume(): void {
    this.#before = performance.now();
  }

  #line({ step, loss, kept, finite, waited }: StepMetrics): string {
    const parts = [`step ${step}/${this.#steps}`, `${this.#images.toFixed(1)} images/s`, `${duration((this.#steps - step) * this.#pace)} left`];
    parts.push(finite ? `loss ${loss.toFixed(4)}` : "not finite, skipped");
    if (kept !== null) parts.push(`kept ${percent(kept)}`);
    if (this.#validation !== null) parts.push(`mIoU ${decimals(this.#validation.miou)}`);
    if (waited > 0.05) parts.push(`waited ${percent(waited, 0)}`);
    return parts.join("  ");
  }

  validated({ step, epoch }: Progress, evaluation: Evaluation, best: boolean, seconds: number): void {
    this.#validation = evaluation;
    const { loss, ce, lovasz, miou, pixelAccuracy, iou, pixels, confusion, images } = evaluation;
    const scores = { loss, ce, lovasz, miou, pixel_accuracy: pixelAccuracy, iou, pixels, confusion };
    this.#event({ event: "val", step, epoch, ...scores, images, best, seconds });
    const text = `step ${step}: validation loss ${decimals(loss)}, mIoU ${decimals(miou)}${best ? ", the best so far" : ""}, pixel accuracy ${decimals(pixelAccuracy)}`;
    this.note(text);
    this.resume();
  }

  end(reason: EndEvent["reason"], { step, epoch, best, skipped, skippedImages }: Progress): void {
    this.#event({ event: "end", step, epoch, reason, best, skipped_steps: skipped, skipped_images: skippedImages, time: now() });
  }

  note(text: string): void {
    if (!this.#output.json) this.#output.note(text);
  }

  /** A passing state such as a validation under way. */
  progress(text: string): void {
    if (!this.#output.json) this.#output.progress(text);
  }

  warn(text: string): void {
    if (this.#output.json) this.#output.event({ event: "warning", message: text });
    else this.#output.warn(text);
  }

  #event(event: JournalEvent): void {
    this.#append(journalLine(event));
    this.#observe(event);
    this.#output.event(event);
  }
}

function averaged(before: number, value: number): number {
  return before === 0 ? value : 0.9 * before + 0.1 * value;
}

function now(): string {
  return new Date().toISOString();
}
