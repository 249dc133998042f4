import { describe, expect, test } from "vitest";
import { RunHistory, smoothed } from "../../src/train/report/history.ts";
import { end, start, step, validation } from "./journals.ts";

function told(...events: readonly Parameters<RunHistory["add"]>[0][]): RunHistory {
  const history = new RunHistory();
  for (const event of events) history.add(event);
  return history;
}

describe("a run as columns", () => {
  test("few steps stay as they are, with gaps where there was no number", () => {
    const { steps, columns } = told(start(), step(1, { loss: 2 }), step(2, { loss: null, finite: false }), step(3, { loss: 1 })).curve(10);
    expect(steps).toEqual([1, 2, 3]);
    expect(columns.loss).toEqual([2, null, 1]);
  });

  test("many are means of neighbours; gaps do not count", () => {
    const losses = [4, 2, null, null, 8, null, 1];
    const history = told(...losses.map((loss, i) => step(i + 1, { loss })));
    const { steps, columns } = history.curve(4);
    expect(steps).toEqual([2, 4, 6, 7]);
    expect(columns.loss).toEqual([3, null, 8, 1]);
    expect(history.mean("loss")).toBe(15 / 4);
  });

  test("the best validation, the state, what was left out", () => {
    const history = told(start(), step(1, { finite: false }), validation(1, 3), validation(2, 3, { best: false }), end(2));
    expect([history.best?.step, history.lastStep, history.skipped, history.end?.reason]).toEqual([1, 1, 1, "done"]);
    history.add(start(2));
    expect(history.end).toBeUndefined();
  });

  test("smoothing starts at the first number and keeps a constant", () => {
    expect(smoothed([null, 5, null, 5], 4)).toEqual([null, 5, 5, 5]);
    const [first, second] = smoothed([0, 1], 2);
    // Weights ½·½ and ½, divided by their sum.
    expect([first, second]).toEqual([0, 0.5 / 0.75]);
  });
});
