/** Reads the arrays beside the reference models: version 1 headers, C order, float32 or uint8. */

import { readFileSync } from "node:fs";

export interface NpyArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint8Array;
}

export function readNpy(path: string): NpyArray {
  const file = readFileSync(path);
  const start = 10 + file.readUInt16LE(8);
  const header = file.toString("latin1", 10, start);
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((part) => part.trim() !== "")
    .map(Number);
  const type = /'descr': '([^']*)'/.exec(header)?.[1];
  const bytes = Uint8Array.from(file.subarray(start));
  if (type === "<f4") return { shape, data: new Float32Array(bytes.buffer) };
  if (type === "|u1") return { shape, data: bytes };
  throw new Error(`${path}: ${type} arrays are not read`);
}
