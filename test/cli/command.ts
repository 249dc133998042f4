/** Runs the built command as a child process, as a user would, in a folder of its own. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const main = join(root, "dist", "cli", "main.js");

export const demo = join(root, "examples", "demo");
export const demoModel = join(demo, "model.onnx");

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Workplace {
  readonly dir: string;
  path(name: string): string;
  /** Names in the folder, hidden ones too. */
  names(): string[];
  run(...args: readonly string[]): Run;
  remove(): void;
}

export function workplace(): Workplace {
  if (!existsSync(main)) throw new Error("the command is not built: npm run build");
  const dir = mkdtempSync(join(tmpdir(), "ohemgen-cli-"));
  return {
    dir,
    path: (name) => join(dir, name),
    names: () => readdirSync(dir).sort(),
    run(...args) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { cwd: dir, encoding: "utf8", maxBuffer: 1 << 28 });
      return { code: status, stdout, stderr };
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}
