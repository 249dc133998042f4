/**
 * The folder of a training run, locked while it is open. Checkpoints are replaced whole or not at all and keep their
 * predecessor; metrics only ever grow by lines.
 */

import { appendFileSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { OhemgenError } from "../support/errors.ts";
import { type FileContent, writeFileAtomically, writing } from "./atomic.ts";
import { lockFolder } from "./lock.ts";

export interface RunFolder {
  readonly dir: string;
  path(name: string): string;
  /** Replaces a file of the run; the present one stays under the name `keep`. */
  save(name: string, content: FileContent, keep?: string): void;
  /** Adds a line to `metrics.jsonl`. */
  append(line: string): void;
  /** Undefined where there is no such file. */
  read(name: string): Uint8Array | undefined;
  /** Whether the first file is there and was not written before the second. */
  isNewer(name: string, than: string): boolean;
  remove(name: string): void;
  close(): void;
}

const metricsFile = "metrics.jsonl";

/**
 * Makes the folder, or opens it again with `resume`.
 * @throws OhemgenError E110 where it exists without `resume`, E422 where another process has it open, E112.
 */
export function openRunFolder(dir: string, { resume }: { readonly resume: boolean }): RunFolder {
  if (!resume) refuseRunFolder(dir);
  const path = (name: string): string => join(dir, name);
  const unlock = writing(dir, () => {
    mkdirSync(dir, { recursive: true });
    return lockFolder(dir);
  });
  removeTemporaries(dir);
  return {
    dir,
    path,
    save(name, content, keep) {
      if (keep !== undefined && existsSync(path(name))) writing(path(keep), () => keepAs(path(name), path(keep)));
      writeFileAtomically(path(name), content, { force: true });
    },
    append: (line) => writing(path(metricsFile), () => appendFileSync(path(metricsFile), line)),
    read: (name) => (existsSync(path(name)) ? readFileSync(path(name)) : undefined),
    isNewer(name, than) {
      const [first, second] = [name, than].map((file) => statSync(path(file), { throwIfNoEntry: false })?.mtimeMs);
      return first !== undefined && second !== undefined && first >= second;
    },
    remove: (name) => rmSync(path(name), { recursive: true, force: true }),
    close: unlock,
  };
}

/** A second name for the present file, so that at no moment there is none. */
function keepAs(present: string, kept: string): void {
  const temporary = `${kept}.tmp`;
  rmSync(temporary, { force: true });
  try {
    linkSync(present, temporary);
  } catch {
    // A file system without hard links: the copy that is kept then is the one that is moved away.
    renameSync(present, temporary);
  }
  renameSync(temporary, kept);
}

/** What a killed run left half written; nobody else writes here while the lock is held. */
function removeTemporaries(dir: string): void {
  for (const name of readdirSync(dir)) {
    // Another process may just now be asking for the lock.
    if (name.startsWith(".run.lock.")) continue;
    const temporary = (name.startsWith(".") && name.endsWith(".tmp")) || name.endsWith(".safetensors.tmp") || /^\..+\.train-\w{6}$/.test(name);
    if (temporary) rmSync(join(dir, name), { recursive: true, force: true });
  }
}

export function refuseRunFolder(dir: string): void {
  const stat = statSync(dir, { throwIfNoEntry: false });
  if (stat === undefined || (stat.isDirectory() && readdirSync(dir).length === 0)) return;
  throw new OhemgenError(`${dir} exists already`, {
    code: "E110",
    where: dir,
    hint: stat.isDirectory() ? "Go on with it by --resume, or choose another folder for the run with -o." : "Choose another folder for the run with -o.",
  });
}
