/** IoU, mIoU and accuracy from counts, absent classes included. */

import { describe, expect, test } from "vitest";
import { addConfusion, confusionRows, countPixels, emptyConfusion, scoresOf } from "../../src/train/metrics.ts";

describe("metrics", () => {
  test("counts pixels by label and prediction, ignored ones not", () => {
    const confusion = emptyConfusion(3);
    countPixels(confusion, Uint8Array.of(0, 0, 1, 255, 2), Uint8Array.of(0, 1, 1, 1, 0));
    expect(confusionRows(confusion)).toEqual([
      [1, 1, 0],
      [0, 1, 0],
      [1, 0, 0],
    ]);
    const { iou, miou, pixelAccuracy, pixels } = scoresOf(confusion);
    expect(iou).toEqual([1 / 3, 1 / 2, 0]);
    expect(miou).toBeCloseTo((1 / 3 + 1 / 2) / 3, 12);
    expect(pixelAccuracy).toBe(0.5);
    expect(pixels).toEqual([2, 1, 1]);
  });

  test("a class that is nowhere has no IoU and does not count", () => {
    const confusion = emptyConfusion(3);
    addConfusion(confusion, [4n, 0n, 0n, 0n, 4n, 0n, 0n, 0n, 0n]);
    expect(scoresOf(confusion)).toMatchObject({ iou: [1, 1, null], miou: 1, pixelAccuracy: 1 });
  });

  test("a class that is only predicted counts as wrong", () => {
    const confusion = emptyConfusion(2);
    countPixels(confusion, [0, 0], [0, 1]);
    expect(scoresOf(confusion)).toMatchObject({ iou: [0.5, 0], miou: 0.25 });
  });

  test("nothing labelled: nothing to say", () => {
    expect(scoresOf(emptyConfusion(2))).toEqual({ miou: null, pixelAccuracy: null, iou: [null, null], pixels: [0, 0] });
  });
});
