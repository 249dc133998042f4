/**
 * Tests that compare with Python packages (torch, onnx): skipped, with a note, where no interpreter has them;
 * an error instead where OHEMGEN_REQUIRE_ALL is set.
 */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

const scripts = fileURLToPath(new URL("python", import.meta.url));
const environment = fileURLToPath(new URL("../.venv/bin/python", import.meta.url));

function interpreter(): string | undefined {
  const named = process.env["OHEMGEN_PYTHON"];
  const candidate = named ?? (existsSync(environment) ? environment : undefined);
  if (candidate === undefined) return undefined;
  try {
    execFileSync(candidate, ["-c", "import onnx, onnxruntime, torch"], { stdio: "ignore" });
    return candidate;
  } catch {
    return undefined;
  }
}

const found = interpreter();

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
