/** The page in a real browser: it trains the demo on both back ends, and begins with the loss that Node has. */

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attach } from "../src/attach/attach.ts";
import { encodeModel } from "../src/proto/encode.ts";
import { loadModel } from "../src/proto/load.ts";
import { trainingBatch } from "../src/train/batches.ts";
import { Dataset } from "../src/train/dataset.ts";
import { diskPictures } from "../src/train/disk-pictures.ts";
import { batchFeeds } from "../src/train/evaluate.ts";
import { layoutOf } from "../src/train/layout.ts";
import { pairFiles } from "../src/train/pairing.ts";
import { scalarOf, stateFor } from "../src/train/runtime.ts";
import { openSession } from "../src/train/session.ts";
import { browserTest, haveBrowser, openBrowser } from "./browser.ts";
import { root } from "./cli/command.ts";

let server: ChildProcess;
let url = "";
let browser: Browser;

beforeAll(async () => {
  server = spawn(process.execPath, [join(root, "dist", "cli", "main.js"), "web", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  url = await new Promise((resolve, reject) => {
    server.stdout?.once("data", (text: Buffer) => resolve(text.toString().trim()));
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  if (haveBrowser()) browser = await openBrowser();
});

afterAll(async () => {
  server?.kill();
  await browser?.close();
});

describe("served", () => {
  test("types, isolation, and nothing but the page's files", async () => {
    const page = await fetch(url);
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(page.headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(page.headers.get("cross-origin-embedder-policy")).toBe("require-corp");
    const wasm = await fetch(`${url}ort/ort-wasm-simd-threaded.wasm`, { method: "HEAD" });
    expect([wasm.status, wasm.headers.get("content-type")]).toEqual([200, "application/wasm"]);
    for (const path of ["../package.json", "..%2fpackage.json", "%2e%2e/package.json", "demo/../../package.json", "ort/", "nothing"]) {
      expect((await fetch(url + path)).status, path).toBe(404);
    }
    expect((await fetch(url, { method: "POST" })).status).toBe(405);
  });
});

async function trainedLosses(with_: Browser, query: string, steps: number): Promise<number[]> {
  const context = await with_.newContext();
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(url + query);
  await page.click("#demo");
  await page.waitForFunction(() => /^(Done|Stopped)|\[E\d+\]/.test(document.getElementById("status")?.textContent ?? ""), undefined, { timeout: 110_000 });
  expect(await page.textContent("#status")).toBe(`Done after ${steps} steps.`);
  expect(errors).toEqual([]);
  if (process.env["OHEMGEN_SCREENSHOTS"]) {
    for (const [name, colorScheme, width] of [
      ["light", "light", 1200],
      ["dark", "dark", 1200],
      ["phone", "light", 390],
    ] as const) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await page.screenshot({ path: join(process.env["OHEMGEN_SCREENSHOTS"], `${name}.png`), fullPage: true });
    }
  }
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(download.suggestedFilename()).toBe("trained.onnx");
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve("axe-core/axe.min.js") });
  const { violations } = (await page.evaluate("axe.run()")) as { violations: { id: string }[] };
  expect(violations.map(({ id }) => id)).toEqual([]);
  const losses = await page.getAttribute("#chart", "data-losses");
  await context.close();
  return (losses ?? "").split(",").map(Number);
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

browserTest("WebAssembly: the loss falls, the model can be had, axe finds nothing", async () => {
  const losses = await trainedLosses(browser, "?backend=wasm&steps=20", 20);
  expect(losses).toHaveLength(20);
  expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)));
  // Float32 sums over 123 000 pixels in another order, and kernels of another width: 2⁻²⁴ · √123 000 is 2e-5.
  expect(Math.abs((losses[0] ?? 0) / (await firstLossInNode()) - 1)).toBeLessThan(2e-5);
});

/** The loss of the page's first batch: the same pictures, windows and initial state. */
async function firstLossInNode(): Promise<number> {
  const demo = join(root, "examples", "demo");
  const attached = attach(loadModel(readFileSync(join(demo, "model.onnx"))));
  const layout = layoutOf(attached.manifest);
  const data = { ...pairFiles(join(demo, "images"), join(demo, "masks")), layout, labelMap: null };
  const plan = { seed: 0, batch: 8, size: [96, 160], augmentation: { scale: [0.75, 1.5], flip: true, color: 0 } } as const;
  const { batch } = await trainingBatch(new Dataset(data, diskPictures), plan, 0);
  const session = await openSession(encodeModel(attached.graphs.gradient));
  const result = await session.run(batchFeeds(batch, layout, session, stateFor(session, attached.state)), ["loss"]);
  await session.close();
  return scalarOf(result, "loss");
}
