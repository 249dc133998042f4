/**
 * Tests that compare with Python packages (torch, onnx; the on-device training API, whose package is another onnxruntime):
 * skipped, with a note, where no interpreter has them; an error instead where OHEMGEN_REQUIRE_ALL is set.
 */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

const scripts = fileURLToPath(new URL("python", import.meta.url));

function interpreter(named: string | undefined, environment: string, imports: string): string | undefined {
  const own = fileURLToPath(new URL(`../${environment}/bin/python`, import.meta.url));
  const candidate = named ?? (existsSync(own) ? own : undefined);
  if (candidate === undefined) return undefined;
  try {
    execFileSync(candidate, ["-c", imports], { stdio: "ignore" });
    return candidate;
  } catch {
    return undefined;
  }
}

const found = interpreter(process.env["OHEMGEN_PYTHON"], ".venv", "import onnx, onnxruntime, torch");

export function havePython(): boolean {
  if (found === undefined && process.env["OHEMGEN_REQUIRE_ALL"]) {
    throw new Error("OHEMGEN_REQUIRE_ALL is set, but no Python with onnx, onnxruntime and torch: set OHEMGEN_PYTHON");
  }
  return found !== undefined;
}

/** A test that needs Python. */
export const pythonTest = test.skipIf(!havePython());

/** The interpreter itself, inside a `pythonTest`. */
export function pythonPath(): string {
  if (found === undefined) throw new Error("no Python: use pythonTest");
  return found;
}

/** Output of a script in test/python. */
export function python(script: string, args: readonly string[] = [], input = ""): string {
  return execFileSync(pythonPath(), [`${scripts}/${script}`, ...args], { input, encoding: "utf8", maxBuffer: 1 << 28 });
}

/** A script that takes a JSON document and prints one. */
export function pythonJson<T>(script: string, input: unknown): T {
  return JSON.parse(python(script, [], JSON.stringify(input))) as T;
}

/** The interpreter with the on-device training API; found when first asked for, as that takes seconds. */
export function trainingPython(): string | undefined {
  const path = interpreter(process.env["OHEMGEN_TRAINING_PYTHON"], ".venv-training", "import onnxruntime.training.api");
  if (path === undefined && process.env["OHEMGEN_REQUIRE_ALL"]) {
    throw new Error("OHEMGEN_REQUIRE_ALL is set, but no Python with onnxruntime-training-cpu: set OHEMGEN_TRAINING_PYTHON");
  }
  return path;
}

/** Output of a script in test/python, run with that interpreter. */
export function trainWithPython<T>(path: string, script: string, args: readonly string[]): T {
  const output = execFileSync(path, [`${scripts}/${script}`, ...args], { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] });
  return JSON.parse(output.slice(output.indexOf("{"))) as T;
}
