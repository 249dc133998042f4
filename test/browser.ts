/** Tests in a browser: Debian's Chromium without a window; skipped, with a note, where there is none. */

import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";
import { test } from "vitest";

const candidates = [process.env["OHEMGEN_CHROMIUM"], "/usr/bin/chromium"];
const found = candidates.find((path) => path !== undefined && existsSync(path));

export function haveBrowser(): boolean {
  if (found === undefined && process.env["OHEMGEN_REQUIRE_ALL"]) {
    throw new Error("OHEMGEN_REQUIRE_ALL is set, but there is no Chromium: apt-get install chromium, or set OHEMGEN_CHROMIUM");
  }
  return found !== undefined;
}

/** A test that needs a browser. */
export const browserTest = test.skipIf(!haveBrowser());

/** WebGPU without a GPU. */
export const softwareGpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

export async function openBrowser(more: readonly string[] = []): Promise<Browser> {
  if (found === undefined) throw new Error("no browser: use browserTest");
  return chromium.launch({ executablePath: found, args: ["--no-sandbox", "--headless", ...more] });
}
