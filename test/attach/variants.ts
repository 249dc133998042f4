/** The same exported model in other forms (test/python/model_variants.py), attached from its file. */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AttachResult, attach } from "../../src/attach/attach.ts";
import type { AttachOptions } from "../../src/attach/options.ts";
import { readModelFile } from "../../src/files/model-file.ts";
import { python } from "../python.ts";
import { readReference } from "./reference.ts";

export interface Variants {
  readonly folder: string;
  /** Names of the files, without `.onnx`. */
  readonly made: readonly string[];
  /** What the converter of ONNX said where it refused, by name. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Written to a folder of their own, which is the caller's to remove. */
export function variantsOf(dir: string): Variants {
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-variants-"));
  const said = Object.entries(JSON.parse(python("model_variants.py", [`${dir}/model.onnx`, folder])) as Record<string, string | null>);
  return {
    folder,
    made: said.flatMap(([name, refusal]) => (refusal === null ? [name] : [])),
    refused: new Map(said.flatMap(([name, refusal]) => (refusal === null ? [] : [[name, refusal]]))),
  };
}

/** A model file as `ohemgen attach` attaches it; the logits are named where there are several outputs. */
export function attachFile(path: string, dir: string, options: AttachOptions = {}): AttachResult {
  const { model } = readModelFile(path);
  return attach(model, { ...(model.graph.outputs.length > 1 ? { logits: readReference(dir).logits } : {}), ...options });
}
