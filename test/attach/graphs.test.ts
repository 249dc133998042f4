/**
 * The written graphs as files: valid for the ONNX checker, quiet in the runtime, equal bytes for equal input. Of most models
 * the step alone, which has the nodes of the other graphs too; with OHEMGEN_LONG all graphs of all.
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttachResult, attach } from "../../src/attach/attach.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { encodeSafetensors } from "../../src/proto/safetensors.ts";
import { long } from "../long.ts";
import { availableModels, sampledModels } from "../models.ts";
import { python, pythonTest } from "../python.ts";
import { readModel, readReference } from "./reference.ts";

function attached(dir: string, options: AttachOptions = {}): AttachResult {
  const model = readModel(dir);
  const { logits } = readReference(dir);
  return attach(model, model.graph.outputs.length > 1 ? { logits, ...options } : options);
}

const everything: AttachOptions = { optimizer: { kind: "adamw", clipNorm: 1, ema: 0.99 }, batchNorm: "batch" };

const graphNames = ["train_step", "gradient", "update", "eval_step"] as const;

const sampled = new Set(sampledModels().map(({ name }) => name));

describe.each(availableModels())("$name", ({ name: model, dir }) => {
  const all = long || sampled.has(model);
  let folder: string;
  let result: AttachResult;
  const files: string[] = [];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "ohemgen-graphs-"));
    result = attached(dir);
    // For small models also what else adds nodes of other kinds.
    const results = all && dir.includes("test/models") ? [result, attached(dir, everything)] : [result];
    results.forEach(({ graphs }, i) => {
      for (const name of all ? graphNames : (["train_step"] as const)) {
        const file = join(folder, `${i}-${name}.onnx`);
        writeFileSync(file, encodeModel(graphs[name]));
        files.push(file);
      }
    });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  pythonTest("passes the checker with full shape inference", () => {
    expect(python("check_graphs.py", files)).toBe("");
  });

  test("loads without warnings", () => {
    const script = fileURLToPath(new URL("load-graphs.mjs", import.meta.url));
    const run = spawnSync(process.execPath, [script, ...files], { encoding: "utf8" });
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
  });

  test("the same input gives the same bytes", () => {
    const [a, b] = [result, attached(dir)];
    for (const name of graphNames) {
      expect(Buffer.compare(encodeModel(a.graphs[name]), encodeModel(b.graphs[name])), name).toBe(0);
    }
    expect(Buffer.compare(encodeSafetensors(a.state), encodeSafetensors(b.state))).toBe(0);
    expect(a.manifest).toEqual(b.manifest);
  });
});
