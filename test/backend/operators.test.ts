/**
 * The operator test models of the ONNX package: `ohemgen grad` of every float output with respect to every float input
 * agrees with differences in float64 (test/python/operator_models.py), or is refused with a code. One model per operator,
 * all of them with OHEMGEN_LONG.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { long } from "../long.ts";
import { pythonTest } from "../python.ts";
import { countsPage, outcomeOf } from "./outcome.ts";

const page = fileURLToPath(new URL("README.md", import.meta.url));

pythonTest("gradients of the ONNX package's operator models", { timeout: 1_800_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-operators-"));
  try {
    const outcome = outcomeOf(folder, long);
    expect(outcome.checked.flatMap(({ name, failed }) => (failed === undefined ? [] : [`${name}: ${failed}`]))).toEqual([]);
    // A refusal says what is missing; anything else would be a fault.
    expect(outcome.refused.filter(({ code }) => !/^E(13[0-3]|20[12]|24[0-9])$/.test(code))).toEqual([]);
    expect(outcome.checked.filter(({ pairs }) => pairs > 0).length).toBeGreaterThanOrEqual(long ? 1_300 : 125);
    if (long && process.env["OHEMGEN_EMIT"]) writeFileSync(page, countsPage(outcome));
    // `npm run emit-operators` brings it up to date.
    const written = readFileSync(page, "utf8");
    if (long) expect(written).toBe(countsPage(outcome));
    else for (const { name } of outcome.refused) expect(written).toContain(`\`${name}\``);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
