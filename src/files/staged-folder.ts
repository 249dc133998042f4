/** A folder that is filled file by file under a temporary name and appears whole, or not at all. */

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { refuseFolder, type WriteOptions } from "./atomic.ts";

/**
 * Runs `fill`, which writes files by relative name, and puts the folder in place when it is done. `entries` are the
 * names at the top of the folder; an existing folder with others is not replaced.
 * @throws OhemgenError E110 before anything is done; what `fill` throws, with nothing left behind.
 */
export async function writeStagedFolder(
  dir: string,
  entries: readonly string[],
  options: WriteOptions,
  fill: (write: (name: string, bytes: Uint8Array) => void) => Promise<void>,
): Promise<void> {
  refuseFolder(dir, entries, options);
  const target = resolve(dir);
  mkdirSync(dirname(target), { recursive: true });
  const temporary = mkdtempSync(`${join(dirname(target), `.${basename(target)}`)}-`);
  try {
    const fresh = join(temporary, "new");
    mkdirSync(fresh);
    await fill((name, bytes) => {
      mkdirSync(dirname(join(fresh, name)), { recursive: true });
      writeFileSync(join(fresh, name), bytes);
    });
    if (existsSync(target)) renameSync(target, join(temporary, "old"));
    renameSync(fresh, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
