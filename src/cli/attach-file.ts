/** From a model on disk to a training folder on disk. Whatever can refuse does so before anything is written. */

import { attach } from "../attach/attach.ts";
import type { Manifest } from "../attach/manifest.ts";
import type { AttachOptions } from "../attach/options.ts";
import { dumpInto } from "../files/dump.ts";
import { readModelFile } from "../files/model-file.ts";
import { completeManifest, defaultTrainingFolder, refuseTrainingFolder, sha256, writeTrainingFolder } from "../files/training-folder.ts";
import { inModel } from "./in-model.ts";

export interface AttachFileOptions {
  readonly out: string | undefined;
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly options: AttachOptions;
  /** Folder for the model after each phase. */
  readonly dump?: string | undefined;
}

export function attachFile(path: string, { out, force, dryRun, options, dump }: AttachFileOptions): { dir: string; manifest: Manifest } {
  const dir = out ?? defaultTrainingFolder(path);
  if (!dryRun) refuseTrainingFolder(dir, { force });
  const observe = dump === undefined ? undefined : dumpInto(dump);
  const { bytes, model } = readModelFile(path);
  const result = inModel(path, () => attach(model, options, observe));
  const source = { path, sha256: sha256(bytes) };
  const manifest = dryRun ? completeManifest(dir, result, source) : writeTrainingFolder(dir, result, source, { force, externalData: options.externalData });
  return { dir, manifest };
}
