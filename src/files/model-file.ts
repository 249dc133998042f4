/** Model files on disk, with the data files beside them. The source of an operation is never written to. */

import { chmodSync, closeSync, copyFileSync, existsSync, fsyncSync, openSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Model } from "../ir/graph.ts";
import { decodeProto, joinChunks } from "../proto/codec.ts";
import { modelFromProto } from "../proto/decode.ts";
import { editModel, type ModelEdits } from "../proto/edit.ts";
import { largestInside, moveOutside } from "../proto/external-file.ts";
import type { ModelProto } from "../proto/messages.ts";
import { type ExternalPatch, type PatchedModel, patchTensors } from "../proto/patch.ts";
import { OhemgenError } from "../support/errors.ts";
import { refuseExisting, replaceFile, type WriteOptions, writeFileAtomically, writeFully } from "./atomic.ts";
import { externalPath, openExternalData } from "./external-data.ts";

export interface ModelFile {
  readonly bytes: Uint8Array;
  readonly proto: ModelProto;
  readonly model: Model;
}

/**
 * Reads a model with its external data.
 * @throws OhemgenError E100 (no readable file), E101 (no ONNX), E102 (malformed), E103, E104 (external data).
 */
export function readModelFile(path: string): ModelFile {
  const bytes = readInput(path);
  const external = openExternalData(path);
  try {
    return inFile(path, () => {
      const proto = decodeProto(bytes);
      return { bytes, proto, model: modelFromProto(proto, { external: external.read }) };
    });
  } finally {
    external.close();
  }
}

/** The bytes of an input file. @throws OhemgenError E100. */
export function readInput(path: string): Uint8Array {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) return unreadable(path, "is a folder", "Give the model file itself.");
    // A device or a pipe may never end.
    if (!stat.isFile()) return unreadable(path, "is not a regular file", "Give the model file itself.");
    const bytes = readFileSync(path);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    if (error instanceof OhemgenError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return unreadable(path, "does not exist", "Check the path.", error);
    if (code === "EACCES" || code === "EPERM") return unreadable(path, "may not be read", "Check its permissions.", error);
    if (code === "ERR_FS_FILE_TOO_LARGE") {
      return unreadable(path, "is larger than 2 GiB", "Store the weights as external data.", error);
    }
    return unreadable(path, `cannot be read: ${message}`, "Check the path.", error);
  }
}

function unreadable(path: string, what: string, hint: string, cause?: unknown): never {
  throw new OhemgenError(`${path} ${what}`, { code: "E100", where: path, hint, cause });
}

/** Adds the file's name to errors about its content. */
function inFile<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof OhemgenError)) throw error;
    const { code, where, hint, exitCode } = error;
    throw new OhemgenError(`${path}: ${error.message}`, {
      code,
      where: where ?? path,
      exitCode,
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  }
}

export interface PatchedModelOptions extends WriteOptions {
  /** Made before the numbers are put in, one set after the other. */
  readonly edits?: readonly ModelEdits[];
  /** Large tensors that are inside in a data file of the copy; default: where it is larger than 1.5 GB. */
  readonly externalData?: boolean | undefined;
}

/**
 * Writes a copy of the model at `sourcePath` with new numbers in its float tensors (see `patchTensors`); nothing else
 * in the file changes. Data files with new numbers are copied under names made from `outPath`'s; the others keep
 * theirs, and are copied only into another folder. Returns the paths written.
 * @throws OhemgenError E106 (values do not fit), E110 (an output exists), E111 (an output is an input), E112.
 */
export function writePatchedModel(sourcePath: string, values: ReadonlyMap<string, Float32Array>, outPath: string, options: PatchedModelOptions = {}): string[] {
  const source = readInput(sourcePath);
  const { edits = [], externalData } = options;
  const bytes = edits.length === 0 ? source : editModel(source, ...edits);
  const { model: whole, dataFiles } = patchFile(sourcePath, bytes, values, outPath);
  const copies = dataFiles.filter(({ copied }) => copied);
  const size = whole.reduce((sum, chunk) => sum + chunk.length, 0);
  const moved = (externalData ?? size > largestInside) ? moveOutside(joinChunks(whole), freeName(outPath, dataFiles)) : undefined;
  const { model, data } = moved ?? { model: whole, data: [] };
  const dataPath = data.length > 0 ? [join(dirname(outPath), freeName(outPath, dataFiles))] : [];
  const outputs = [...copies.map(({ to }) => join(dirname(outPath), to)), ...dataPath, outPath];
  const inputs = [sourcePath, ...dataFiles.map(({ from }) => externalPath(sourcePath, from))];
  for (const output of outputs) refuseInput(output, inputs);
  for (const output of outputs) refuseExisting(output, options.force ?? false);
  for (const { from, to, patches } of copies) {
    copyPatched(externalPath(sourcePath, from), join(dirname(outPath), to), patches, options);
  }
  for (const path of dataPath) writeFileAtomically(path, data, options);
  writeFileAtomically(outPath, model, options);
  return outputs;
}

/** A data file of the source and what becomes of it. */
interface DataFile {
  readonly from: string;
  readonly to: string;
  readonly copied: boolean;
  readonly patches: readonly ExternalPatch[];
}

function patchFile(
  sourcePath: string,
  bytes: Uint8Array,
  values: ReadonlyMap<string, Float32Array>,
  outPath: string,
): { model: readonly Uint8Array[]; dataFiles: readonly DataFile[] } {
  const external = openExternalData(sourcePath);
  try {
    return inFile(sourcePath, () => {
      decodeProto(bytes);
      const patched = patchTensors(bytes, values, { external: external.read });
      refuseShared(patched);
      const dataFiles = planDataFiles(sourcePath, outPath, patched);
      const relocate = new Map(dataFiles.filter(({ from, to }) => from !== to).map(({ from, to }) => [from, to]));
      if (relocate.size === 0) return { model: patched.chunks, dataFiles };
      return { model: patchTensors(bytes, values, { external: external.read, relocate }).chunks, dataFiles };
    });
  } finally {
    external.close();
  }
}

/** New numbers may not reach another tensor by way of shared bytes. */
function refuseShared({ external, references }: PatchedModel): void {
  const patched = new Set(external.map(({ name }) => name));
  const sorted = [...references].sort((a, b) => (a.location < b.location ? -1 : a.location > b.location ? 1 : a.offset - b.offset));
  let last = sorted[0];
  for (const next of sorted.slice(1)) {
    if (last?.location === next.location && next.offset < last.offset + last.length) {
      if (next.length > 0 && (patched.has(last.name) || patched.has(next.name))) {
        throw new OhemgenError(`tensors "${last.name}" and "${next.name}" share bytes of "${next.location}"`, {
          code: "E106",
          where: `tensor "${next.name}"`,
          hint: "Save the model with its weights inside, and start from that file.",
        });
      }
      if (next.offset + next.length <= last.offset + last.length) continue;
    }
    last = next;
  }
}

function planDataFiles(sourcePath: string, outPath: string, { external, references }: PatchedModel): DataFile[] {
  const sameFolder = realFolder(sourcePath) === realFolder(outPath);
  let count = 0;
  return [...new Set(references.map(({ location }) => location))].map((from) => {
    const patches = external.filter(({ location }) => location === from);
    if (patches.length === 0) return { from, to: from, copied: !sameFolder, patches };
    const suffix = count++ === 0 ? "" : `.${count}`;
    return { from, to: `${basename(outPath)}.data${suffix}`, copied: true, patches };
  });
}

/** A name for a further data file of the copy. */
function freeName(outPath: string, dataFiles: readonly DataFile[]): string {
  const taken = new Set(dataFiles.map(({ to }) => to));
  const first = `${basename(outPath)}.data`;
  let name = first;
  for (let i = 2; taken.has(name); i++) name = `${first}.${i}`;
  return name;
}

function realFolder(path: string): string {
  const folder = dirname(resolve(path));
  return existsSync(folder) ? realpathSync(folder) : folder;
}

function refuseInput(output: string, inputs: readonly string[]): void {
  const stat = statSync(output, { throwIfNoEntry: false });
  if (stat === undefined) return;
  for (const input of inputs) {
    const other = statSync(input, { throwIfNoEntry: false });
    if (other?.dev === stat.dev && other.ino === stat.ino) {
      throw new OhemgenError(`the output ${output} is an input`, {
        code: "E111",
        where: output,
        hint: "Choose another output; the source is never overwritten.",
      });
    }
  }
}

function copyPatched(from: string, to: string, patches: readonly ExternalPatch[], options: WriteOptions): void {
  replaceFile(to, options, (temporary) => {
    copyFileSync(from, temporary);
    // A read-only source makes a read-only copy.
    chmodSync(temporary, 0o644);
    const file = openSync(temporary, "r+");
    try {
      for (const { bytes, offset } of patches) writeFully(file, bytes, offset);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  });
}
