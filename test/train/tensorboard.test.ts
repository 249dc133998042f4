/** Event files: the frame by its own definition, the content as TensorBoard itself reads it. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { JournalEvent } from "../../src/train/journal.ts";
import { boardRecords, eventFileHead, eventFileName, record } from "../../src/train/tensorboard.ts";
import { python, pythonTest } from "../python.ts";
import { end, start, step, validation } from "./journals.ts";

const names = ["road", "sky", "tree"];

function fileOf(events: readonly JournalEvent[], from = 1_000_000): Buffer {
  return Buffer.concat([eventFileHead(from), ...events.map((event, i) => boardRecords(event, from + i + 1, names))]);
}

/** What TensorBoard reads: [step, value, seconds] by tag. */
function read(files: Readonly<Record<string, Buffer>>): Record<string, [number, number, number][]> {
  const dir = mkdtempSync(join(tmpdir(), "ohemgen-board-"));
  try {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(dir, name), bytes);
    return JSON.parse(python("read_events.py", [dir]));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe("records", () => {
  test("length, data and their masked checksums", () => {
    const bytes = record(new Uint8Array(32));
    const view = new DataView(bytes.buffer);
    expect(bytes).toHaveLength(48);
    expect(view.getBigUint64(0, true)).toBe(32n);
    // CRC-32C of 32 zeros is 0x8a9136aa (RFC 3720, B.4).
    const rotated = ((0x8a9136aa >>> 15) | (0x8a9136aa << 17)) >>> 0;
    expect(view.getUint32(44, true)).toBe((rotated + 0xa282ead8) >>> 0);
  });

  test("a name that is not taken, in the order of time", () => {
    const taken = new Set(["events.out.tfevents.1700000000.ohemgen.0"]);
    expect(eventFileName(1_700_000_000.9, (name) => taken.has(name))).toBe("events.out.tfevents.1700000000.ohemgen.1");
    expect(boardRecords(end(3), 1, names)).toHaveLength(0);
    expect(
      boardRecords(step(1, { loss: null, ce: null, lovasz: null, kept: null, grad_norm: null, lr: 0, images_per_second: 0 }), 1, []).length,
    ).toBeGreaterThan(0);
  });
});

describe("TensorBoard reads", () => {
  pythonTest("every number of steps and validations, none where there was none", () => {
    const events = [start(), step(1, { loss: 2.5, kept: null }), step(2, { loss: null }), validation(2, 3, { iou: [0.5, null, 0.25] }), end(2)];
    const scalars = read({ "events.out.tfevents.1.ohemgen.0": fileOf(events) });
    expect(scalars["train/loss"]).toEqual([[1, 2.5, 1_000_002]]);
    expect(scalars["train/kept"]?.map(([at]) => at)).toEqual([2]);
    expect(scalars["val/miou"]?.[0]?.[0]).toBe(2);
    expect(scalars["val/miou"]?.[0]?.[1]).toBeCloseTo(validation(2, 3).miou as number, 6);
    expect(Object.keys(scalars).filter((tag) => tag.startsWith("iou/"))).toEqual(["iou/road", "iou/tree"]);
    expect(scalars["iou/tree"]).toEqual([[2, 0.25, 1_000_004]]);
  });

  pythonTest("of a run that was taken up again, each step once", () => {
    const first = [start(), ...[1, 2, 3, 4].map((number) => step(number, { loss: number }))];
    const second = [start(2), ...[3, 4, 5].map((number) => step(number, { loss: 10 * number }))];
    const scalars = read({ "events.out.tfevents.1000000.ohemgen.0": fileOf(first), "events.out.tfevents.2000000.ohemgen.0": fileOf(second, 2_000_000) });
    expect(scalars["train/loss"]?.map(([at, value]) => [at, value])).toEqual([
      [1, 1],
      [2, 2],
      [3, 30],
      [4, 40],
      [5, 50],
    ]);
  });
});
