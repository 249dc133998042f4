/** The written graphs as files: valid for the ONNX checker, quiet in the runtime, equal bytes for equal input. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type AttachResult, attach } from "../../src/attach/attach.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { encodeSafetensors } from "../../src/proto/safetensors.ts";
import { availableModels } from "../models.ts";
import { python, pythonTest } from "../python.ts";
import { readModel, readReference } from "./reference.ts";

function attached(dir: string, options: AttachOptions = {}): AttachResult {
  const model = readModel(dir);
  const { logits } = readReference(dir);
  return attach(model, model.graph.outputs.length > 1 ? { logits, ...options } : options);
}

/** All graphs of several attachments in a folder that is removed afterwards. */
function inFolder<T>(results: readonly AttachResult[], use: (files: readonly string[]) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-graphs-"));
  try {
    const files = results.flatMap(({ graphs }, i) =>
      Object.entries(graphs).map(([name, graph]) => {
        const file = join(folder, `${i}-${name}.onnx`);
        writeFileSync(file, encodeModel(graph));
        return file;
      }),
    );
    return use(files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const everything: AttachOptions = { optimizer: { kind: "adamw", clipNorm: 1, ema: 0.99 }, batchNorm: "batch" };

/** The defaults; for the small models also what else adds nodes of other kinds. */
function variants(dir: string): AttachResult[] {
  const small = dir.includes("test/models");
  return [attached(dir), ...(small ? [attached(dir, everything)] : [])];
}

describe.each(availableModels())("$name", ({ dir }) => {
  pythonTest("passes the checker with full shape inference", () => {
    expect(inFolder(variants(dir), (files) => python("check_graphs.py", files))).toBe("");
  });

  test("loads without warnings", () => {
    const script = fileURLToPath(new URL("load-graphs.mjs", import.meta.url));
    const run = inFolder(variants(dir), (files) => spawnSync(process.execPath, [script, ...files], { encoding: "utf8" }));
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
  });

  test("the same input gives the same bytes", () => {
    const [a, b] = [attached(dir), attached(dir)];
    for (const name of ["train_step", "gradient", "update", "eval_step"] as const) {
      expect(Buffer.compare(encodeModel(a.graphs[name]), encodeModel(b.graphs[name])), name).toBe(0);
    }
    expect(Buffer.compare(encodeSafetensors(a.state), encodeSafetensors(b.state))).toBe(0);
    expect(a.manifest).toEqual(b.manifest);
  });
});
