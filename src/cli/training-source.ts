/** The graphs of a run: a training folder, or a model that is attached into the run folder. */

import { statSync } from "node:fs";
import { join } from "node:path";
import { type AttachResult, attach } from "../attach/attach.ts";
import type { Manifest } from "../attach/manifest.ts";
import type { AttachOptions } from "../attach/options.ts";
import { dumpInto } from "../files/dump.ts";
import { readModelFile } from "../files/model-file.ts";
import {
  completeManifest,
  readManifest,
  readTrainingFolder,
  type Source,
  sha256,
  stockGraphs,
  type TrainingFolder,
  writeTrainingFolder,
} from "../files/training-folder.ts";
import { OhemgenError, usageError } from "../support/errors.ts";
import type { LabelMap } from "../train/label-map.ts";
import type { Provider } from "../train/session.ts";
import { inModel } from "./in-model.ts";

export interface TrainingSource {
  readonly manifest: Manifest;
  /** Writes the graphs where they are not there yet. */
  open(): TrainingFolder;
}

interface SourceContext {
  /** The run folder. */
  readonly run: string;
  readonly labelMap: LabelMap | null;
  /** What will run the graphs; a model is attached for it. */
  readonly provider: Provider;
  /** Folder for the model after each phase of attaching it. */
  readonly dump?: string | undefined;
}

/** Name of the training folder inside a run folder. */
const attachedFolder = "model.train";

/**
 * @param attachOptions of the command line; a training folder has its own and takes none
 * @throws OhemgenError as `attach` and `readTrainingFolder`; E420 where a run that is taken up has other graphs
 */
export function openTrainingSource(path: string, attachOptions: AttachOptions, { run, labelMap, provider, dump }: SourceContext): TrainingSource {
  // The seed is the run's too.
  const asked = Object.keys(attachOptions).some((name) => name !== "seed");
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    if (asked) throw usageError("options of `ohemgen attach` go with a model, not with a training folder", `${path} is attached already.`);
    if (dump !== undefined) throw usageError("--dump goes with a model, not with a training folder", `${path} is attached already.`);
    const folder = readTrainingFolder(path);
    stockGraphs(path, folder.manifest);
    return { manifest: folder.manifest, open: () => folder };
  }
  const dir = join(run, attachedFolder);
  const { bytes, model } = readModelFile(path);
  const source = { path, sha256: sha256(bytes) };
  const present = presentManifest(dir);
  if (present !== undefined && !asked) {
    if (present.source.sha256 !== source.sha256) throw otherGraphs(dir, "they were made from another model");
    return { manifest: present, open: () => readTrainingFolder(dir) };
  }
  const observe = dump === undefined ? undefined : dumpInto(dump);
  const result = named(
    inModel(path, () => attach(model, { ...(provider === "cpu" ? {} : { provider }), ...attachOptions }, observe)),
    labelMap,
  );
  const manifest = completeManifest(dir, result, source);
  stockGraphs(dir, manifest);
  if (present !== undefined && JSON.stringify(present) !== JSON.stringify(manifest)) throw otherGraphs(dir, "they were made with other options");
  return { manifest, open: () => (present === undefined ? writtenFolder(dir, result, source, attachOptions.externalData) : readTrainingFolder(dir)) };
}

function writtenFolder(dir: string, result: AttachResult, source: Source, externalData: boolean | undefined): TrainingFolder {
  writeTrainingFolder(dir, result, source, { force: true, externalData });
  return readTrainingFolder(dir);
}

/** Of an earlier start of the same run; one that is not whole is written again. */
function presentManifest(dir: string): Manifest | undefined {
  try {
    return readManifest(dir);
  } catch {
    return undefined;
  }
}

/** Classes of a well-known data set have their names and colours. */
function named(result: AttachResult, labelMap: LabelMap | null): AttachResult {
  const { manifest } = result;
  const names = labelMap?.classNames ?? null;
  if (names === null || manifest.classNames !== null || names.length !== manifest.heads[0]?.classes) return result;
  return { ...result, manifest: { ...manifest, classNames: names, classColours: labelMap?.classColours ?? manifest.classColours } };
}

function otherGraphs(dir: string, reason: string): OhemgenError {
  return new OhemgenError(`the run has graphs of its own in ${dir}, and ${reason}`, {
    code: "E420",
    where: dir,
    hint: "Take it up with the same model and options, or begin another run with -o.",
  });
}
