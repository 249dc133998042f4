/**
 * The operator test models of the ONNX package: `ohemgen grad` of every float output with respect to every float input
 * agrees with differences in float64 (test/python/operator_models.py), or is refused with a code. One model per operator,
 * all of them with OHEMGEN_LONG.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { python, pythonTest } from "../python.ts";
import { attempt, type Described } from "./attempt.ts";

const long = process.env["OHEMGEN_LONG"] !== undefined;

/** As operator_models.py reports it. */
interface Checked {
  readonly name: string;
  /** Gradients compared. */
  readonly pairs: number;
  /** Gradients that differences cannot tell anything about: no derivative near the inputs. */
  readonly kinks: readonly string[];
  readonly failed?: string;
  readonly unchecked?: string;
}

interface Outcome {
  readonly refused: ReadonlyMap<string, readonly string[]>;
  readonly checked: readonly Checked[];
}

function outcomeOf(folder: string): Outcome {
  const described = JSON.parse(python("operator_models.py", ["write", folder, ...(long ? [] : ["--one-per-operator"])])) as Described[];
  const refused = new Map<string, string[]>();
  const made: { name: string; outputs: unknown }[] = [];
  for (const model of described) {
    const result = attempt(model);
    if (result.kind === "made") made.push({ name: model.name, outputs: result.outputs });
    else if (result.kind === "refused") refused.set(result.code, [...(refused.get(result.code) ?? []), model.name]);
  }
  const lines = python("operator_models.py", ["check", folder], JSON.stringify(made)).trim().split("\n");
  return { refused, checked: lines.map((line) => JSON.parse(line) as Checked) };
}

pythonTest("gradients of the ONNX package's operator models", { timeout: 1_800_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-operators-"));
  try {
    const outcome = outcomeOf(folder);
    expect(outcome.checked.flatMap(({ name, failed }) => (failed === undefined ? [] : [`${name}: ${failed}`]))).toEqual([]);
    // A refusal says what is missing; anything else would be a fault.
    expect([...outcome.refused.keys()].filter((code) => !/^E(13[0-3]|20[12]|24[0-9]|120)$/.test(code))).toEqual([]);
    const compared = outcome.checked.filter(({ pairs }) => pairs > 0);
    expect(compared.length).toBeGreaterThanOrEqual(125);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
