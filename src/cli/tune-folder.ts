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
import { readManifest, readTrainingFolder } from "../files/training-folder.ts";
import { elementCount, isStatic } from "../ir/dims.ts";
import { blockSizes } from "../passes/blocked.ts";
import { encodeModelChunks } from "../proto/encode.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { randomStream } from "../support/random.ts";
import { version } from "../support/version.ts";
import { measureGraphs } from "../train/measure.ts";
import type { RuntimeTensor } from "../train/runtime.ts";
import { loadRuntime, runtimeState, runtimeTensor } from "../train/session.ts";
import { versions } from "./versions.ts";

const names = ["train_step", "gradient", "eval_step"] as const;

export interface TuneReport {
  readonly machine: { readonly processor: string; readonly architecture: string; readonly runtime: string | null; readonly threads: number };
  readonly block: number | null;
  readonly layers: readonly TunedLayer[];
  /** Milliseconds of whole graphs; one that did not gain as a whole stayed as it was. */
  readonly graphs: Readonly<Partial<Record<(typeof names)[number], TunedGraph>>>;
}

interface TunedGraph {
  readonly before: number;
  /** null: it did not run, or gave another loss. */
  readonly after: number | null;
  readonly chosen: "plain" | "tuned";
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
  const measure = (models: Parameters<typeof measureGraphs>[0]) => measureGraphs(models, { threads });
  const block = await machineBlock(measure, blockSizes);
  const machine = { processor: cpus()[0]?.model ?? "unknown", architecture: arch(), runtime: versions()["onnxruntime-node"] ?? null, threads };
  if (block === undefined) return { machine, block: null, layers: [], graphs: {} };
  const tuned = await tuneGraphs(graphs, block, measure, (done, all, layer) => progress(`measuring ${layer} (${done + 1} of ${all})`));
  const feeds = await stepFeeds(dir, manifest);
  const whole: Partial<Record<(typeof names)[number], TunedGraph>> = {};
  for (const name of names) {
    progress(`measuring ${name}.onnx`);
    const [before, after] = await measureGraphs([graphs[name], tuned.graphs[name]], { threads, feeds, compared: ["loss"] });
    if (before === undefined) return bug(`${name}.onnx did not run`);
    const chosen = after !== undefined && after < before ? "tuned" : "plain";
    whole[name] = { before, after: after ?? null, chosen };
  }
  const report: TuneReport = { machine, block, layers: tuned.layers, graphs: whole };
  if (from === dir) writeFolderAtomically(kept, originals);
  for (const name of names) {
    const content = whole[name]?.chosen === "tuned" ? encodeModelChunks(tuned.graphs[name]) : (originals.get(`${name}.onnx`) ?? bug("an original is lost"));
    writeFileAtomically(join(dir, `${name}.onnx`), content, { force: true });
  }
  const described: Manifest & { readonly tuned: TuneReport } = { ...manifest, tuned: report };
  writeFileAtomically(join(dir, "manifest.json"), `${JSON.stringify(described, null, 2)}\n`, { force: true });
  return report;
}

/** The state as it is, and labels of all classes; pictures are made up. */
async function stepFeeds(dir: string, { graphs, heads }: Manifest): Promise<Map<string, RuntimeTensor>> {
  const feeds = await runtimeState(readTrainingFolder(dir).state);
  const random = randomStream(1, 1);
  const classes = Math.max(2, ...heads.map((head) => head.classes));
  for (const { name, role, type, shape } of graphs?.train_step.inputs ?? []) {
    const dims = shape as readonly number[];
    if (role === "learning-rate") feeds.set(name, await runtimeTensor(Float32Array.of(0), dims));
    if (role !== "labels") continue;
    const labels = Array.from({ length: elementCount(dims) }, () => Math.floor(random.next() * classes));
    const data = type === "uint8" ? Uint8Array.from(labels) : type === "int32" ? Int32Array.from(labels) : BigInt64Array.from(labels, BigInt);
    feeds.set(name, await runtimeTensor(data, dims));
  }
  return feeds;
}
