/** The page in a real browser: it trains on both back ends, and begins with the loss that Node has. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attach } from "../src/attach/attach.ts";
import type { Model } from "../src/ir/graph.ts";
import { encodeModel } from "../src/proto/encode.ts";
import { loadModel } from "../src/proto/load.ts";
import { type TrainingPlan, trainingBatch } from "../src/train/batches.ts";
import { Dataset } from "../src/train/dataset.ts";
import { diskPictures } from "../src/train/disk-pictures.ts";
import { batchFeeds } from "../src/train/evaluate.ts";
import { layoutOf } from "../src/train/layout.ts";
import { type Pairing, pairFiles } from "../src/train/pairing.ts";
import { scalarOf, stateFor } from "../src/train/runtime.ts";
import { openSession } from "../src/train/session.ts";
import { browserTest, haveBrowser, openBrowser, softwareGpu } from "./browser.ts";
import { demo, demoModel, root } from "./cli/command.ts";
import { type SmallData, smallNet, writeSmallData } from "./small-net.ts";

let server: ChildProcess;
let url = "";
let browser: Browser;
let small: SmallData;

beforeAll(async () => {
  small = writeSmallData(mkdtempSync(join(tmpdir(), "ohemgen-web-")), 5);
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
  rmSync(small.folder, { recursive: true });
});

describe("served", () => {
  test("types, isolation, and nothing but the page's files", async () => {
    const page = await fetch(url);
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(page.headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(page.headers.get("cross-origin-embedder-policy")).toBe("require-corp");
    // The page names its policy itself, for hosts that send no headers.
    const own = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(await page.text())?.[1];
    expect(page.headers.get("content-security-policy")).toBe(`${own}; frame-ancestors 'none'`);
    // No code made of text, in the worker neither: its policy comes with its own file.
    for (const path of ["", "worker.js"]) {
      const policy = (await fetch(url + path)).headers.get("content-security-policy") ?? "";
      expect(policy.match(/script-src [^;]*/g), path).toEqual(["script-src 'self' 'wasm-unsafe-eval'"]);
    }
    const wasm = await fetch(`${url}ort/ort-wasm-simd-threaded.wasm`, { method: "HEAD" });
    expect([wasm.status, wasm.headers.get("content-type")]).toEqual([200, "application/wasm"]);
    for (const path of ["../package.json", "..%2fpackage.json", "%2e%2e/package.json", "demo/../../package.json", "ort/", "nothing"]) {
      expect((await fetch(url + path)).status, path).toBe(404);
    }
    expect((await fetch(url, { method: "POST" })).status).toBe(405);
  });

  test("without onnxruntime-web nothing is served", () => {
    const place = join(small.folder, "package");
    cpSync(join(root, "dist"), join(place, "dist"), { recursive: true });
    cpSync(join(root, "package.json"), join(place, "package.json"));
    mkdirSync(join(place, "node_modules"));
    for (const name of ["yargs", "crc-32"]) symlinkSync(join(root, "node_modules", name), join(place, "node_modules", name));
    const { status, stdout } = spawnSync(process.execPath, [join(place, "dist", "cli", "main.js"), "web", "--port", "0", "--json"], {
      encoding: "utf8",
      timeout: 20_000,
    });
    expect(status).toBe(1);
    expect(JSON.parse(stdout).error).toMatchObject({ code: "E401", hint: expect.stringContaining("npm install onnxruntime-web@") });
  });
});

/** What a page shows that has trained to the end. */
interface Trained {
  readonly losses: readonly number[];
  readonly backend: string | null;
  readonly status: string;
}

const ended = (): boolean => /^(Done|Stopped)|\[E\d+\]/.test(document.getElementById("status")?.textContent ?? "");

/** @param begin starts a run in the page, which is open  @param use looks at the page before it is closed */
async function training(in_: Browser, address: string, begin: (page: Page) => Promise<void>, use?: (page: Page) => Promise<void>): Promise<Trained> {
  const context = await in_.newContext();
  try {
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(address);
    await begin(page);
    await page.waitForFunction(ended, undefined, { timeout: 110_000 });
    expect(errors).toEqual([]);
    await use?.(page);
    const losses = ((await page.getAttribute("#chart", "data-losses")) ?? "").split(",").map(Number);
    return { losses, backend: await page.getAttribute("body", "data-backend"), status: (await page.textContent("#status")) ?? "" };
  } finally {
    await context.close();
  }
}

async function checkPage(page: Page): Promise<void> {
  await screenshots(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(download.suggestedFilename()).toBe("trained.onnx");
  const trained = loadModel(readFileSync(await download.path()));
  expect(trained.graph.outputs.map(({ name }) => name)).toEqual(loadModel(readFileSync(demoModel)).graph.outputs.map(({ name }) => name));
  // Not as a script of the page, which its policy refuses.
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = (await page.evaluate("axe.run()")) as { violations: { id: string }[] };
  expect(violations.map(({ id }) => id)).toEqual([]);
}

async function screenshots(page: Page): Promise<void> {
  const folder = process.env["OHEMGEN_SCREENSHOTS"];
  if (folder === undefined) return;
  for (const [name, colorScheme, width] of [
    ["light", "light", 1200],
    ["dark", "dark", 1200],
    ["phone", "light", 390],
  ] as const) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

browserTest("WebAssembly: the loss falls, the model can be had, axe finds nothing", async () => {
  const { losses, backend, status } = await training(browser, `${url}?backend=wasm&steps=20`, (page) => page.click("#demo"), checkPage);
  expect([status, backend, losses.length]).toEqual(["Done after 20 steps.", "wasm", 20]);
  expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)));
  const plan = { seed: 0, batch: 8, size: [96, 160], augmentation: { scale: [0.75, 1.5], flip: true, color: 0 } } as const;
  const node = await firstLossInNode(loadModel(readFileSync(demoModel)), pairFiles(join(demo, "images"), join(demo, "masks")), plan);
  // Float32 sums over 123 000 pixels in another order, and kernels of another width: 2⁻²⁴ · √123 000 is 2e-5.
  expect(Math.abs((losses[0] ?? 0) / node - 1)).toBeLessThan(2e-5);
});

browserTest("WebGPU: own files, the loss falls from Node's", async () => {
  const gpu = await openBrowser(softwareGpu);
  try {
    const begin = (page: Page): Promise<void> => startOwn(page, { backend: "webgpu", steps: "20", rate: "0.05" });
    const { losses, backend, status } = await training(gpu, url, begin);
    expect([status, backend, losses.length]).toEqual(["Done after 20 steps.", "webgpu", 20]);
    expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)));
    const plan = { seed: 0, batch: 1, size: [32, 32], augmentation: { scale: [0.5, 2], flip: true, color: 0.2 } } as const;
    const { pairs } = pairFiles(join(small.folder, "images"), join(small.folder, "masks"));
    // The page keeps the last of five to measure on.
    const node = await firstLossInNode(smallNet(), { pairs: pairs.slice(0, 4) }, plan);
    // Sums over 1024 pixels in another order: 2⁻²⁴ · √1024 is 2e-6; exp and log of WebGPU are off by a few 2⁻²⁴.
    expect(Math.abs((losses[0] ?? 0) / node - 1)).toBeLessThan(2e-6);
  } finally {
    await gpu.close();
  }
});

interface OwnSettings {
  readonly backend: "webgpu" | "wasm";
  readonly steps: string;
  readonly rate?: string;
  readonly model?: string;
  /** How many pictures. */
  readonly count?: number;
  readonly crop?: readonly [height: string, width: string];
}

async function startOwn(page: Page, { backend, steps, rate = "0.01", model = small.model, count = 5, crop = ["", ""] }: OwnSettings): Promise<void> {
  await page.setInputFiles("#model", model);
  await page.setInputFiles("#images", small.images.slice(0, count));
  await page.setInputFiles("#masks", small.masks.slice(0, count));
  await page.selectOption("#backend", backend);
  await page.fill("#steps", steps);
  await page.fill("#rate", rate);
  await page.fill("#crop-height", crop[0]);
  await page.fill("#crop-width", crop[1]);
  await page.click("#own button[type=submit]");
}

describe("own files", () => {
  const about = async (settings: OwnSettings): Promise<{ readonly status: string; readonly text: string }> => {
    let text = "";
    const look = async (page: Page): Promise<void> => {
      text = (await page.textContent("#about")) ?? "";
    };
    const { status } = await training(browser, url, (page) => startOwn(page, settings), look);
    return { status, text };
  };

  browserTest("crops of a size that is asked for", async () => {
    const { status, text } = await about({ backend: "wasm", steps: "2", model: small.anySize, crop: ["16", "24"] });
    expect(status).toBe("Done after 2 steps.");
    expect(text).toContain("on 4 pictures in crops of 16 × 24, 1 a step");
    expect(text).toContain("mIoU is measured on 1 more");
  });

  browserTest("crops that the model does not take", async () => {
    const { status } = await about({ backend: "wasm", steps: "2", crop: ["16", "24"] });
    expect(status).toContain("crops of 16 × 24: these graphs take pictures of 32 × 32 [E002]");
    expect((await about({ backend: "wasm", steps: "2", crop: ["16", ""] })).status).toContain("a crop has a height and a width [E002]");
  });

  browserTest("too few pictures to keep some apart are said to be", async () => {
    const { status, text } = await about({ backend: "wasm", steps: "2", count: 4 });
    expect(status).toBe("Done after 2 steps.");
    expect(text).toContain("With fewer than 5 pictures none is kept apart");
  });

  browserTest("files dropped on the fields", async () => {
    const drop = async (page: Page): Promise<void> => {
      await dropOn(page, "model", [...small.images, small.model]);
      await dropOn(page, "images", [small.model, ...small.images]);
      await dropFolder(page, "masks", join(small.folder, "masks"));
      await page.waitForFunction(() => (document.getElementById("masks") as HTMLInputElement).files?.length === 5, undefined, { timeout: 10_000 });
      expect(await page.evaluate(() => ["model", "images", "masks"].map((id) => (document.getElementById(id) as HTMLInputElement).files?.length))).toEqual([
        1, 5, 5,
      ]);
      await dropOn(page, "model", small.images);
      expect(await page.textContent("#status")).toBe("Nothing that was dropped fits there: .onnx is wanted.");
      await page.selectOption("#backend", "wasm");
      await page.fill("#steps", "2");
      await page.click("#own button[type=submit]");
    };
    expect((await training(browser, url, drop)).status).toBe("Done after 2 steps.");
  });
});

/** As by hand, from outside the page. */
async function dropFolder(page: Page, field: string, folder: string): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  const { x, y, width, height } = (await page.locator(`#${field}`).boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    await devtools.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  }
}

/** What a hand does: a script cannot drop files of the disk, but it can say what they hold. */
async function dropOn(page: Page, field: string, paths: readonly string[]): Promise<void> {
  const files = paths.map((path) => ({ name: basename(path), type: path.endsWith(".png") ? "image/png" : "", base64: readFileSync(path, "base64") }));
  await page.evaluate(
    ([id, dropped]) => {
      const dataTransfer = new DataTransfer();
      for (const { name, type, base64 } of dropped) {
        dataTransfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name, { type }));
      }
      document.getElementById(id)?.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
      // Files are read in tasks of their own.
      return new Promise((resolve) => setTimeout(resolve, 50));
    },
    [field, files] as const,
  );
}

/** The loss of the page's first batch: the same pictures, windows and initial state. */
async function firstLossInNode(model: Model, { pairs }: Pick<Pairing, "pairs">, plan: TrainingPlan): Promise<number> {
  const attached = attach(model);
  const layout = layoutOf(attached.manifest);
  const { batch } = await trainingBatch(new Dataset({ pairs, layout, labelMap: null }, diskPictures), plan, 0);
  const session = await openSession(encodeModel(attached.graphs.gradient));
  const result = await session.run(batchFeeds(batch, layout, session, stateFor(session, attached.state)), ["loss"]);
  await session.close();
  return scalarOf(result, "loss");
}
