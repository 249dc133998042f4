/** The lock of a folder: one owner at a time; that of a dead process is taken over, whatever its number is now. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lockFolder } from "../../src/files/lock.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ohemgen-lock-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const path = (): string => join(dir, "run.lock");

function leave(owner: object | string): void {
  writeFileSync(path(), typeof owner === "string" ? owner : `${JSON.stringify(owner)}\n`);
}

/** A number that a process had and that is free again. */
function deadProcess(): number {
  return spawnSync(process.execPath, ["-e", ""]).pid;
}

describe("lock", () => {
  test("is there while it is held and gone afterwards", () => {
    const unlock = lockFolder(dir);
    expect(JSON.parse(readFileSync(path(), "utf8"))).toMatchObject({ pid: process.pid, host: hostname() });
    expect(() => lockFolder(dir)).toThrow(expect.objectContaining({ code: "E422", message: `${dir} is in use by process ${process.pid}` }));
    unlock();
    expect(readdirSync(dir)).toEqual([]);
    lockFolder(dir)();
  });

  test.each<[string, () => object | string]>([
    ["a dead process", () => ({ pid: deadProcess(), started: null, host: hostname() })],
    ["a process whose number another one has now", () => ({ pid: process.pid, started: "an earlier boot 123", host: hostname() })],
    ["a crash of the machine, which left an empty file", () => ""],
    ["a crash of the machine, which left half a file", () => '{"pid": 12'],
  ])("of %s is taken over at once", (_, owner) => {
    leave(owner());
    const unlock = lockFolder(dir);
    expect(readdirSync(dir)).toEqual(["run.lock"]);
    unlock();
    expect(existsSync(path())).toBe(false);
  });

  test("of a process that was killed but not yet collected is taken over", async () => {
    // The shell starts a process that dies, and does not collect it.
    const shell = spawn("bash", ["-c", "sleep 0 & echo $!; exec sleep 30"], { stdio: ["ignore", "pipe", "ignore"] });
    const [line] = await once(shell.stdout, "data");
    const pid = Number(`${line}`.trim());
    await new Promise((resolve) => setTimeout(resolve, 300));
    leave({ pid, started: null, host: hostname() });
    lockFolder(dir)();
    shell.kill("SIGKILL");
  });

  test("of another machine is not", () => {
    leave({ pid: 1, started: null, host: "elsewhere" });
    expect(() => lockFolder(dir)).toThrow(expect.objectContaining({ code: "E422", message: `${dir} is in use by process 1 on elsewhere` }));
    expect(existsSync(path())).toBe(true);
  });

  test("is not taken away by the one who held it before", () => {
    const unlock = lockFolder(dir);
    leave({ pid: 1, started: null, host: "elsewhere" });
    unlock();
    expect(existsSync(path())).toBe(true);
  });
});
