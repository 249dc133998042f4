/** The folder of a training run. Checkpoints are replaced whole or not at all; metrics only ever grow by lines. */

import { appendFileSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { OhemgenError } from "../support/errors.ts";
import { type FileContent, writeFileAtomically } from "./atomic.ts";

export interface RunFolder {
  readonly dir: string;
  path(name: string): string;
  /** Replaces a file of the run. */
  save(name: string, content: FileContent): void;
  /** Adds a line to `metrics.jsonl`. */
  append(line: string): void;
}

/** @throws OhemgenError E110 where the folder exists and is not empty: a run is never mixed with another one. */
export function createRunFolder(dir: string, config: object): RunFolder {
  refuseRunFolder(dir);
  mkdirSync(dir, { recursive: true });
  const path = (name: string): string => join(dir, name);
  writeFileAtomically(path("config.json"), `${JSON.stringify(config, null, 2)}\n`);
  return {
    dir,
    path,
    save: (name, content) => writeFileAtomically(path(name), content, { force: true }),
    append: (line) => appendFileSync(path("metrics.jsonl"), line),
  };
}

export function refuseRunFolder(dir: string): void {
  const stat = statSync(dir, { throwIfNoEntry: false });
  if (stat === undefined || (stat.isDirectory() && readdirSync(dir).length === 0)) return;
  throw new OhemgenError(`${dir} exists already`, { code: "E110", where: dir, hint: "Choose another folder for the run with -o." });
}
