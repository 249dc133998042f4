/**
 * Writing files and folders whole or not at all: everything goes to a temporary name beside the target, is synced,
 * and only then renamed. An existing output is replaced only where asked, and never by part of a new one.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { OhemgenError } from "../support/errors.ts";

/** A file's bytes, whole or in pieces. */
export type FileContent = Uint8Array | Iterable<Uint8Array> | string;

export interface WriteOptions {
  /** Replace an existing output. */
  readonly force?: boolean;
}

export interface FolderOptions extends WriteOptions {
  /** Further entries of an existing folder that may go with it; any other one keeps it from being replaced. */
  readonly replaceable?: readonly string[];
}

/**
 * Writes a file, creating its folder if need be.
 * @throws OhemgenError E110 where it exists (without `force`) or is a folder, E112 where it cannot be written.
 */
export function writeFileAtomically(path: string, content: FileContent, options: WriteOptions = {}): void {
  replaceFile(path, options, (temporary) => writeSynced(temporary, content));
}

/** Makes the file at a temporary name with `write`, which leaves it synced, and puts it in place. */
export function replaceFile(path: string, { force = false }: WriteOptions, write: (temporary: string) => void): void {
  refuseExisting(path, force);
  writing(path, () => {
    // Through a symbolic link to the file it names.
    const target = existsSync(path) ? realpathSync(path) : resolve(path);
    mkdirSync(dirname(target), { recursive: true });
    const temporary = temporaryName(target);
    try {
      write(temporary);
      renameSync(temporary, target);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    syncFolder(dirname(target));
  });
}

/** @throws OhemgenError E110 where the output exists; check before long work. */
export function refuseExisting(path: string, force: boolean): void {
  const stat = writing(path, () => statSync(path, { throwIfNoEntry: false }));
  if (stat?.isDirectory()) {
    throw new OhemgenError(`${path} is a folder`, { code: "E110", where: path, hint: "Give the name of a file." });
  }
  if (stat !== undefined && !force) exists(path);
}

function exists(path: string): never {
  throw new OhemgenError(`${path} exists already`, {
    code: "E110",
    where: path,
    hint: "Choose another output, or replace it with --force.",
  });
}

/**
 * Writes a folder of files (names relative, `a/b` makes a folder inside). An empty folder counts as not there.
 * @throws OhemgenError E110 where it exists (without `force`), or holds anything that is not replaced; E112.
 */
export function writeFolderAtomically(dir: string, files: ReadonlyMap<string, FileContent>, options: FolderOptions = {}): void {
  refuseFolder(dir, [...files.keys()], options);
  writing(dir, () => {
    const target = existsSync(dir) ? realpathSync(dir) : resolve(dir);
    mkdirSync(dirname(target), { recursive: true });
    const temporary = mkdtempSync(`${join(dirname(target), `.${basename(target)}`)}-`);
    try {
      const fresh = join(temporary, "new");
      mkdirSync(fresh);
      for (const [name, content] of files) {
        mkdirSync(dirname(join(fresh, name)), { recursive: true });
        writeSynced(join(fresh, name), content);
      }
      syncFolder(fresh);
      if (existsSync(target)) renameSync(target, join(temporary, "old"));
      renameSync(fresh, target);
    } finally {
      // Between the two renames the old folder is the only one.
      const old = join(temporary, "old");
      if (!existsSync(target) && existsSync(old)) renameSync(old, target);
      rmSync(temporary, { recursive: true, force: true });
    }
    syncFolder(dirname(target));
  });
}

/** @throws OhemgenError E110 where `writeFolderAtomically` would refuse; check before long work. */
export function refuseFolder(dir: string, names: readonly string[], options: FolderOptions = {}): void {
  const stat = writing(dir, () => statSync(dir, { throwIfNoEntry: false }));
  if (stat === undefined) return;
  if (!stat.isDirectory()) {
    throw new OhemgenError(`${dir} is not a folder`, {
      code: "E110",
      where: dir,
      hint: "Choose another output folder.",
    });
  }
  const present = readdirSync(dir);
  if (present.length === 0) return;
  if (!options.force) exists(dir);
  const known = new Set([...names.map((name) => name.split("/")[0]), ...(options.replaceable ?? [])]);
  const foreign = present.filter((name) => !known.has(name));
  if (foreign.length > 0) {
    throw new OhemgenError(`${dir} holds files that are not outputs: ${foreign.slice(0, 5).join(", ")}`, {
      code: "E110",
      where: dir,
      hint: "Choose another output folder, or move them away; --force replaces the whole folder.",
    });
  }
}

let counter = 0;

function temporaryName(target: string): string {
  return join(dirname(target), `.${basename(target)}.${process.pid}.${counter++}.tmp`);
}

function writeSynced(path: string, content: FileContent): void {
  const file = openSync(path, "wx");
  try {
    const pieces = typeof content === "string" ? [Buffer.from(content)] : content instanceof Uint8Array ? [content] : content;
    for (const piece of pieces) writeFully(file, piece);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** A single write may take fewer bytes than it is given, and takes 2 GiB at most. */
export function writeFully(file: number, bytes: Uint8Array, position: number | null = null): void {
  for (let done = 0; done < bytes.length; ) {
    const size = Math.min(bytes.length - done, 1 << 30);
    done += writeSync(file, bytes, done, size, position === null ? null : position + done);
  }
}

/** Makes a rename durable. Some file systems cannot sync a folder; the rename is atomic all the same. */
function syncFolder(dir: string): void {
  try {
    const folder = openSync(dir, "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch {
    return;
  }
}

const fullDisk: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Errors of the file system as E112 about `path`. */
export function writing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof OhemgenError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new OhemgenError(`cannot write ${path}: ${message}`, {
      code: "E112",
      where: path,
      hint: fullDisk.has(code) ? "The disk is full, or a limit on what may be written is reached." : "Check the path and its permissions.",
      cause: error,
    });
  }
}
