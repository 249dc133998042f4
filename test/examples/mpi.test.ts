/** Several processes train as one does with the whole batch, where the loss is a mean over labelled pixels or over all. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { decodeSafetensors } from "../../src/proto/safetensors.ts";
import { demo, demoModel, root, workplace } from "../cli/command.ts";
import { havePython, pythonPath } from "../python.ts";

const mpiexec = havePython() ? join(dirname(pythonPath()), "mpiexec") : "";
if (!existsSync(mpiexec) && process.env["OHEMGEN_REQUIRE_ALL"]) throw new Error("OHEMGEN_REQUIRE_ALL is set, but no mpiexec: test/requirements.txt");

function paramsOf(path: string): Float32Array {
  const bytes = decodeSafetensors(readFileSync(path)).tensors.get("params")?.bytes;
  return new Float32Array(Uint8Array.from(bytes ?? []).buffer);
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? Number.NaN)) ** 2, 0));
}

test.skipIf(!existsSync(mpiexec)).each(["valid", "all"])("1, 2 and 4 processes, normalizer %s", (normalizer) => {
  const place = workplace();
  try {
    const loss = ["--mining", "off", "--normalizer", normalizer, "--lovasz", "0"];
    expect(place.run("attach", demoModel, "-o", "model.train", ...loss).code).toBe(0);
    const trained = [1, 2, 4].map((count) => {
      const data = [join(demo, "images"), join(demo, "masks"), `${count}.safetensors`, "3", "8", normalizer === "all" ? "images" : "valid"];
      const args = ["-n", `${count}`, pythonPath(), join(root, "examples/mpi_loop.py"), "model.train", ...data];
      expect(execFileSync(mpiexec, args, { cwd: place.dir, encoding: "utf8" }).match(/loss [\d.]+/g)).toHaveLength(3);
      return paramsOf(place.path(`${count}.safetensors`));
    });
    const [one, ...others] = trained as [Float32Array, Float32Array, Float32Array];
    const moved = distance(one, paramsOf(place.path("model.train/state.safetensors")));
    expect(moved).toBeGreaterThan(0);
    // Sums in another order: 1e-6 of the way was measured with eight pictures. With four it was 3e-4 for two processes, 1e-5 for four: why is not known.
    for (const params of others) expect(distance(params, one)).toBeLessThan(1e-4 * moved);
  } finally {
    place.remove();
  }
});
