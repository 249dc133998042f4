/**
 * The folder that `attach` writes: the graphs of its target, their initial state, and the manifest that describes them. It is
 * written whole or not at all, holds no time and no absolute path, and equal input gives equal bytes.
 */

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, dirname, extname, join, relative, resolve, sep } from "node:path";
import type { AttachResult } from "../attach/attach.ts";
import { type Manifest, manifestFormat, type StockGraphs } from "../attach/manifest.ts";
import { requiredOperatorsFile } from "../attach/required-operators.ts";
import { ortGraphNames } from "../attach/targets/ort-training.ts";
import type { Model } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { type Beginning, beginningOf, encodeModelChunks } from "../proto/encode.ts";
import { ExternalFile, largeBytes, largestInside } from "../proto/external-file.ts";
import { encodeOrtCheckpoint } from "../proto/ort-checkpoint.ts";
import { decodeSafetensors, safetensorsPieces } from "../proto/safetensors.ts";
import { bug, OhemgenError } from "../support/errors.ts";
import { type FileContent, refuseFolder, type WriteOptions, writeFolderAtomically } from "./atomic.ts";
import { readInput } from "./model-file.ts";

export const graphNames = ["train_step", "gradient", "update", "eval_step"] as const;
export type GraphName = (typeof graphNames)[number];

const manifestFile = "manifest.json";
const stateFile = "state.safetensors";
const ortCheckpointFile = "checkpoint";
const dataFile = (name: string): string => `${name}.onnx.data`;
const allFiles: readonly string[] = [...graphNames, ...ortGraphNames]
  .flatMap((name) => [`${name}.onnx`, dataFile(name)])
  .concat(stateFile, ortCheckpointFile, requiredOperatorsFile, manifestFile);
/** What `ohemgen tune` leaves in a folder: goes with it when it is replaced. */
const tunedFrom = "untuned";

export interface TrainingFolder {
  readonly dir: string;
  readonly manifest: Manifest;
  /** The initial state of the stock graphs, in the order of their inputs. */
  readonly state: ReadonlyMap<string, Tensor>;
}

/** The model the folder is made from. */
export interface Source {
  readonly path: string;
  readonly sha256: string;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** `models/net.onnx` → `models/net.train`. */
export function defaultTrainingFolder(modelPath: string): string {
  return join(dirname(modelPath), `${basename(modelPath, extname(modelPath))}.train`);
}

/** @throws OhemgenError E110 where the folder could not be written; check before long work. */
export function refuseTrainingFolder(dir: string, options: WriteOptions): void {
  refuseFolder(dir, allFiles, { ...options, replaceable: [tunedFrom] });
}

export interface FolderWriteOptions extends WriteOptions {
  /** Large tensors of a graph in a data file beside it; default: where they are more than 1.5 GB. */
  readonly externalData?: boolean | undefined;
}

/** Completes what `attach` made with what only the disk knows, and writes it. */
export function writeTrainingFolder(dir: string, result: AttachResult, source: Source, { externalData, ...options }: FolderWriteOptions = {}): Manifest {
  const manifest = completeManifest(dir, result, source);
  const files = new Map<string, FileContent>();
  const add = (name: string, model: Model, beginning?: () => Beginning): void => {
    const large = largeBytes(model.graph);
    const data = large > 0 && (externalData ?? large > largestInside) ? new ExternalFile(dataFile(name)) : undefined;
    files.set(`${name}.onnx`, encodedWhenRead(model, data, beginning));
    // Filled while the model is written, which comes first.
    if (data !== undefined) files.set(data.location, data.pieces);
  };
  if (manifest.graphs !== null) {
    const { train_step: first, gradient: second } = result.graphs;
    let common: Beginning | undefined;
    const beginning = () => {
      common ??= beginningOf(first, second);
      return common;
    };
    for (const name of graphNames) add(name, result.graphs[name], name === "train_step" || name === "gradient" ? beginning : undefined);
    files.set(stateFile, safetensorsPieces(result.stateInPieces));
  }
  if (result.ortTraining !== null) {
    for (const name of ortGraphNames) add(name, result.ortTraining.graphs[name]);
    files.set(ortCheckpointFile, encodeOrtCheckpoint(result.ortTraining.tensors));
  }
  if (result.requiredOperators !== null) files.set(requiredOperatorsFile, result.requiredOperators);
  files.set(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`);
  writeFolderAtomically(dir, files, { ...options, replaceable: [...allFiles, tunedFrom] });
  return manifest;
}

/** Encoded when its turn to be written comes, so that one graph's bytes are there at a time. */
function* encodedWhenRead(model: Model, data: ExternalFile | undefined, beginning?: () => Beginning): Generator<Uint8Array, void, undefined> {
  yield* encodeModelChunks(model, data === undefined ? {} : { external: data.place }, beginning?.());
}

export function completeManifest(dir: string, { manifest }: AttachResult, source: Source): Manifest {
  const path = relative(resolve(dir), resolve(source.path)).split(sep).join("/");
  const { format, ...rest } = manifest;
  return { format, source: { path, sha256: source.sha256 }, fingerprint: fingerprintOf(manifest, source.sha256), ...rest };
}

/** The same for every folder whose checkpoints can be exchanged: one model, one layout of the state. */
function fingerprintOf({ parameters, state, runningStatistics }: AttachResult["manifest"], sourceHash: string): string {
  return sha256(new TextEncoder().encode(JSON.stringify([sourceHash, parameters, state, runningStatistics])));
}

/** @throws OhemgenError E113 where it is no training folder, E105 where its state is corrupt. */
export function readTrainingFolder(dir: string): TrainingFolder {
  const manifest = readManifest(dir);
  if (manifest.graphs === null) return { dir, manifest, state: new Map() };
  const tensors = decodeSafetensors(readInput(join(dir, stateFile))).tensors;
  const state = new Map<string, Tensor>();
  for (const { name } of manifest.state) {
    const tensor = tensors.get(name) ?? notTrainingFolder(dir, `${stateFile} has no tensor "${name}"`);
    state.set(name, tensor);
  }
  return { dir, manifest, state };
}

export function readManifest(dir: string): Manifest {
  const path = join(dir, manifestFile);
  if (!existsSync(path)) return notTrainingFolder(dir, existsSync(dir) ? `it has no ${manifestFile}` : "it does not exist");
  let manifest: Partial<Manifest>;
  try {
    manifest = JSON.parse(new TextDecoder().decode(readInput(path)));
  } catch (error) {
    if (error instanceof OhemgenError) throw error;
    return notTrainingFolder(dir, `${manifestFile} is not JSON`);
  }
  if (manifest.format !== manifestFormat || !Array.isArray(manifest.parameters) || !Array.isArray(manifest.state)) {
    return notTrainingFolder(dir, `${manifestFile} is not of format ${manifestFormat}`);
  }
  return manifest as Manifest;
}

function notTrainingFolder(dir: string, reason: string): never {
  throw new OhemgenError(`${dir} is not a training folder: ${reason}`, {
    code: "E113",
    where: dir,
    hint: "Make one with `ohemgen attach model.onnx`, and give its path.",
  });
}

/** @throws OhemgenError E115 where the folder has none of the stock graphs */
export function stockGraphs(dir: string, { graphs }: Pick<Manifest, "graphs">): StockGraphs {
  if (graphs === null) {
    throw new OhemgenError(`${dir} holds graphs for the on-device training API alone`, {
      code: "E115",
      where: dir,
      hint: "Make it with --target all (or stock) to train and evaluate here.",
    });
  }
  return graphs;
}

/** @throws OhemgenError E115 where the folder has none of the stock graphs */
export function graphPath({ dir, manifest }: TrainingFolder, name: GraphName): string {
  return join(dir, stockGraphs(dir, manifest)[name].file);
}

/** The checkpoint of target `ort-training` that a folder starts from. */
export function ortCheckpointPath({ dir, manifest }: Pick<TrainingFolder, "dir" | "manifest">): string {
  return join(dir, manifest.ortTraining?.checkpoint ?? bug(`${dir} has no graphs`));
}

/**
 * The model that the folder was made from: `given`, or where the manifest says.
 * @throws OhemgenError E100 where it is gone, E114 where it is not the same file any more.
 */
export function sourceModel({ dir, manifest }: Pick<TrainingFolder, "dir" | "manifest">, given?: string): string {
  const path = given ?? join(dir, ...manifest.source.path.split("/"));
  const bytes = given === undefined && !existsSync(path) ? sourceGone(path) : readInput(path);
  if (sha256(bytes) !== manifest.source.sha256) {
    throw new OhemgenError(`${path} is not the model that ${dir} was made from`, {
      code: "E114",
      where: path,
      hint: "Give the original file with --model, or run `ohemgen attach` again.",
    });
  }
  return path;
}

function sourceGone(path: string): never {
  throw new OhemgenError(`the source model is not at ${path} any more`, {
    code: "E100",
    where: path,
    hint: "Say where it is with --model.",
  });
}
