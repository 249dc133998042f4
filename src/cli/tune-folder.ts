/**
 * Tunes a training folder in place. The originals go to `untuned/` first, the manifest last, each file whole: whatever
 * moment this is stopped at, every graph in the folder is one that trains, and tuning again starts from the originals.
 */

import { existsSync } from "node:fs";
import { arch, cpus } from "node:os";
import { join } from "node:path";
import type { Manifest } from "../attach/manifest.ts";
import { machineBlock, type TunedLayer, tuneGraphs, withTypes } from "../attach/tune.ts";
import { type FileContent, writeFileAtomically, writeFolderAtomically } from "../files/atomic.ts";
import { readInput, readModelFile } from "../files/model-file.ts";
import { readManifest } from "../files/training-folder.ts";
import { isStatic } from "../ir/dims.ts";
import { blockSizes } from "../passes/blocked.ts";
import { encodeModelChunks } from "../proto/encode.ts";
import { OhemgenError } from "../support/errors.ts";
import { version } from "../support/version.ts";
import { measureGraphs } from "../train/measure.ts";
import { loadRuntime } from "../train/session.ts";
import { versions } from "./versions.ts";

const names = ["train_step", "gradient", "eval_step"] as const;

export interface TuneReport {
  readonly machine: { readonly processor: string; readonly architecture: string; readonly runtime: string | null; readonly threads: number };
  readonly block: number | null;
  readonly layers: readonly TunedLayer[];
}

function refuse(dir: string, reason: string, hint: string): never {
  throw new OhemgenError(`${dir} cannot be tuned: ${reason}`, { code: "E450", where: dir, hint });
}

export async function tuneFolder(dir: string, threads: number, progress: (text: string) => void): Promise<TuneReport> {
  await loadRuntime();
  const current = readManifest(dir);
  const kept = join(dir, "untuned");
  const from = existsSync(join(kept, "manifest.json")) ? kept : dir;
  const manifest = readManifest(from);
  if (current.fingerprint !== manifest.fingerprint) refuse(dir, "untuned/ belongs to another attach", "Remove untuned/, or attach again.");
  if (manifest.versions.ohemgen !== version) refuse(dir, `it was made by ohemgen ${manifest.versions.ohemgen}, this is ${version}`, "Attach again.");
  if (manifest.graphs === null) refuse(dir, "it holds graphs for on-device training alone", "Attach with --target all.");
  const open = manifest.graphs.train_step.inputs.find(({ shape }) => !isStatic(shape as readonly (number | string)[]));
  if (open !== undefined) refuse(dir, `the size of ${open.name} is open`, "Fix the sizes with `ohemgen attach --input-shape`.");
  const originals = new Map<string, FileContent>([["manifest.json", readInput(join(from, "manifest.json"))]]);
  for (const name of names) originals.set(`${name}.onnx`, readInput(join(from, `${name}.onnx`)));
  const read = (name: (typeof names)[number]) => withTypes(readModelFile(join(from, `${name}.onnx`)).model);
  const graphs = { train_step: read("train_step"), gradient: read("gradient"), eval_step: read("eval_step") };
  const measure = (models: Parameters<typeof measureGraphs>[0]) => measureGraphs(models, threads);
  const block = await machineBlock(measure, blockSizes);
  const machine = { processor: cpus()[0]?.model ?? "unknown", architecture: arch(), runtime: versions()["onnxruntime-node"] ?? null, threads };
  if (block === undefined) return { machine, block: null, layers: [] };
  const tuned = await tuneGraphs(graphs, block, measure, (done, all, layer) => progress(`measuring ${layer} (${done + 1} of ${all})`));
  const report: TuneReport = { machine, block, layers: tuned.layers };
  if (from === dir) writeFolderAtomically(kept, originals);
  for (const name of names) writeFileAtomically(join(dir, `${name}.onnx`), encodeModelChunks(tuned.graphs[name]), { force: true });
  const described: Manifest & { readonly tuned: TuneReport } = { ...manifest, tuned: report };
  writeFileAtomically(join(dir, "manifest.json"), `${JSON.stringify(described, null, 2)}\n`, { force: true });
  return report;
}
