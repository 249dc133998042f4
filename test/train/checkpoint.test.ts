/** Checkpoints: what was saved comes back exactly; another model's is refused. */

import { describe, expect, test } from "vitest";
import type { Manifest } from "../../src/attach/manifest.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { encodeSafetensors } from "../../src/proto/safetensors.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/train/checkpoint.ts";

const state = new Map([
  ["params", tensorOf("float32", [3], [1, -2, 0.1])],
  ["step", tensorOf("int64", [1], [7])],
]);
const manifest = {
  fingerprint: "f",
  state: [
    { name: "params", role: "state", type: "float32", shape: [3] },
    { name: "step", role: "state", type: "int64", shape: [1] },
  ],
} as unknown as Manifest;
const progress = { step: 7, epoch: 1.4, position: 56, seed: 3, best: { step: 4, miou: 0.5 }, validated: 6, stale: 1, skipped: 1, skippedImages: 2 };

function bytesOf(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}

describe("checkpoint", () => {
  const bytes = bytesOf(encodeCheckpoint({ fingerprint: "f", progress, state }));

  test("comes back as it was, and equal ones are equal files", () => {
    const read = decodeCheckpoint(bytes, "c", manifest);
    expect(read.progress).toEqual(progress);
    expect([...read.state.keys()]).toEqual(["params", "step"]);
    expect(read.state.get("params")?.bytes).toEqual(state.get("params")?.bytes);
    expect(bytesOf(encodeCheckpoint({ fingerprint: "f", progress, state: read.state }))).toEqual(bytes);
  });

  test("a bare state file is a checkpoint at step 0", () => {
    expect(decodeCheckpoint(encodeSafetensors(state), "s", manifest).progress.step).toBe(0);
  });

  test("another fingerprint, a missing tensor or another shape is refused", () => {
    const other = bytesOf(encodeCheckpoint({ fingerprint: "g", progress, state }));
    expect(() => decodeCheckpoint(other, "c", manifest)).toThrow(expect.objectContaining({ code: "E420" }));
    const short = encodeSafetensors(new Map([["params", tensorOf("float32", [2], [1, 2])]]));
    expect(() => decodeCheckpoint(short, "c", manifest)).toThrow(/"params" is \[2\] there and \[3\] here/);
    const none = encodeSafetensors(new Map([...state].slice(0, 1)));
    expect(() => decodeCheckpoint(none, "c", manifest)).toThrow(/no tensor "step"/);
  });

  test("a file cut off is refused", () => {
    expect(() => decodeCheckpoint(bytes.subarray(0, bytes.length - 1), "c", manifest)).toThrow(expect.objectContaining({ code: "E105" }));
  });
});
