/** `metrics.jsonl`: NaN is null, a line cut off is dropped, and a run that is taken up has every step once. */

import { expect, test } from "vitest";
import { type JournalEvent, journalLine, journalUpTo, readJournal } from "../../src/train/journal.ts";

const step = (number: number, loss = 1): JournalEvent =>
  ({
    event: "step",
    step: number,
    epoch: 0,
    loss,
    ce: null,
    lovasz: null,
    kept: null,
    lr: 0,
    grad_norm: null,
    finite: true,
    images_per_second: 1,
    waited: 0,
  }) as const;

test("numbers that are not finite are null", () => {
  const [event] = readJournal(journalLine(step(1, Number.NaN)));
  expect(event).toMatchObject({ event: "step", loss: null });
});

test("lines beyond the checkpoint and a last line cut off are dropped", () => {
  const text = `${[1, 2, 3, 4].map((number) => journalLine(step(number))).join("")}{"event":"step","st`;
  expect(readJournal(text).map((event) => event.step)).toEqual([1, 2, 3, 4]);
  expect(journalUpTo(text, 2)).toBe(journalLine(step(1)) + journalLine(step(2)));
  expect(journalUpTo("", 3)).toBe("");
});
