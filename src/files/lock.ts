/**
 * A folder for one process at a time. The lock is a file that names its owner; it appears whole, and the lock of a
 * process that is no more is taken over at once, also where its number was given to another process since.
 */

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { OhemgenError } from "../support/errors.ts";

interface Owner {
  readonly pid: number;
  /** When the process began, in the system's own count; `null` where the system does not say. */
  readonly started: string | null;
  readonly host: string;
}

const lockName = "run.lock";

/**
 * Locks `dir`, which must exist. Returns what unlocks it.
 * @throws OhemgenError E422 where another process holds it.
 */
export function lockFolder(dir: string): () => void {
  const path = join(dir, lockName);
  const mine = ownerText({ pid: process.pid, started: startOf(process.pid), host: hostname() });
  const temporary = join(dir, `.${lockName}.${process.pid}.tmp`);
  writeFileSync(temporary, mine);
  try {
    // Every round either takes the lock, finds a living owner, or removes a dead one.
    for (let round = 0; round < 20; round++) {
      if (linked(temporary, path)) return () => unlock(path, mine);
      const text = readIfThere(path);
      if (text === undefined) continue;
      const owner = parsedOwner(text);
      if (owner !== undefined && isAlive(owner)) throw held(dir, path, owner);
      removeStale(path, text, `${temporary}.stale`);
    }
  } finally {
    rmSync(temporary, { force: true });
  }
  throw held(dir, path, undefined);
}

/** False where the lock exists. A hard link is made with its content or not at all. */
function linked(temporary: string, path: string): boolean {
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
  }
  // A file system without hard links.
  try {
    writeFileSync(path, readFileSync(temporary), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Two processes may find the same dead owner: the one that is late must not take away the lock of the first. */
function removeStale(path: string, expected: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (readIfThere(aside) !== expected) linked(aside, path);
  rmSync(aside, { force: true });
}

function unlock(path: string, mine: string): void {
  if (readIfThere(path) === mine) rmSync(path, { force: true });
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function ownerText(owner: Owner): string {
  return `${JSON.stringify(owner)}\n`;
}

/** Undefined for a file that is no lock of ours, such as one cut off by a crash of the machine. */
function parsedOwner(text: string): Owner | undefined {
  try {
    const { pid, started = null, host } = JSON.parse(text) as Owner;
    return Number.isSafeInteger(pid) && pid > 0 && typeof host === "string" ? { pid, started, host } : undefined;
  } catch {
    return undefined;
  }
}

/** A process of another machine cannot be asked, so it counts as alive. */
function isAlive({ pid, started, host }: Owner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const now = startOf(pid);
  return now === null || started === null ? !isGone(pid) : now === started && !isGone(pid);
}

/** Boot and start time of a process from Linux's /proc. */
function startOf(pid: number): string | null {
  const fields = statOf(pid);
  if (fields === undefined) return null;
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${fields[19]}`;
  } catch {
    return null;
  }
}

/** Killed, but not yet collected by its parent. */
function isGone(pid: number): boolean {
  const state = statOf(pid)?.[0];
  return state === "Z" || state === "X";
}

/** Fields from the third on; the second, the name, may hold spaces and brackets. */
function statOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

function held(dir: string, path: string, owner: Owner | undefined): OhemgenError {
  const who = owner === undefined ? "another process" : `process ${owner.pid}${owner.host === hostname() ? "" : ` on ${owner.host}`}`;
  return new OhemgenError(`${dir} is in use by ${who}`, {
    code: "E422",
    where: path,
    hint:
      owner !== undefined && owner.host !== hostname()
        ? `If that process is no more, delete ${path}.`
        : "Wait for it, stop it, or choose another folder with -o.",
  });
}
