/** Two hundred random graphs: gradients agree with PyTorch's autograd in float64 (test/python/random_graphs.py). */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { gradientModel } from "../../src/attach/gradient-model.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { python, pythonTest } from "../python.ts";

const count = 200;

interface Described {
  readonly name: string;
  readonly of: string;
  readonly wrt: readonly string[];
}

interface Checked {
  readonly name: string;
  readonly worst: number;
  readonly failed: string | null;
  /** Gradients that are not 0 everywhere. */
  readonly nonzero: number;
  readonly empty: boolean;
  readonly reused: boolean;
}

pythonTest("gradients of random graphs", { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-random-"));
  try {
    const described = JSON.parse(python("random_graphs.py", ["write", folder, String(count)])) as Described[];
    for (const { name, of, wrt } of described) {
      const model = loadModel(new Uint8Array(readFileSync(join(folder, `${name}.onnx`))));
      writeFileSync(join(folder, `${name}.grad.onnx`), encodeModel(gradientModel(model, { of, wrt }).model));
    }
    const checked = JSON.parse(python("random_graphs.py", ["check", folder], JSON.stringify(described.map(({ name }) => name)))) as Checked[];
    expect(checked.length).toBe(count);
    // Both sides are float64 but for constants of the graph that are float32 and exact: what is left is rounding of sums.
    expect(checked.filter(({ failed, worst }) => failed !== null || !(worst < 1e-12))).toEqual([]);
    // The drawing keeps what it is for.
    expect(checked.filter(({ nonzero }) => nonzero > 0).length).toBeGreaterThan(count / 2);
    expect(checked.filter(({ empty }) => empty).length).toBeGreaterThan(10);
    expect(checked.filter(({ reused }) => reused).length).toBeGreaterThan(count / 2);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
