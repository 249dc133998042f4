/** The report: nothing in it can become markup, and a browser shows it without an error, in every theme and width. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { classColours } from "../../src/attach/colours.ts";
import type { Manifest } from "../../src/attach/manifest.ts";
import { loadModel } from "../../src/proto/load.ts";
import type { JournalEvent } from "../../src/train/journal.ts";
import { RunHistory } from "../../src/train/report/history.ts";
import { reportPage } from "../../src/train/report/page.ts";
import { samplePicture } from "../../src/train/report/pictures.ts";
import { sampleIndices } from "../../src/train/report/predict-samples.ts";
import { browserTest, openBrowser } from "../browser.ts";
import { demoModel } from "../cli/command.ts";
import { end, start, step, validation } from "./journals.ts";

const manifest: Manifest = {
  source: { path: "../models/<b>net</b>.onnx", sha256: "0".repeat(64) },
  fingerprint: "",
  ...attach(loadModel(new Uint8Array(readFileSync(demoModel)))).manifest,
};

const hostile = `</script><img src=x onerror="alert('x')">&amp;`;

function pageOf(events: readonly JournalEvent[], classes: number, pictures = 2): string {
  const history = new RunHistory();
  for (const event of events) history.add(event);
  const colours = classColours(classes);
  const labels = (shift: number) => Uint8Array.from({ length: 40 * 24 }, (_, i) => (i % 40 < 4 ? 255 : (Math.floor(i / 160) + shift) % classes));
  const picture = { width: 40, height: 24, rgb: Uint8Array.from({ length: 40 * 24 * 3 }, (_, i) => i % 251) };
  const mask = (shift: number) => ({ width: 40, height: 24, labels: labels(shift) });
  return reportPage({
    manifest,
    config: { images: hostile, settings: { batch: 8 }, versions: { node: "20" } },
    classes: colours.map((colour, i) => ({ name: i === 0 ? hostile : `class ${i}`, colour })),
    history,
    pictures: Array.from({ length: pictures }, (_, i) => samplePicture({ name: hostile, step: 50, picture, label: mask(0), prediction: mask(i) }, colours)),
  });
}

const steps = (count: number): JournalEvent[] => Array.from({ length: count }, (_, i) => step(i + 1));
const run = (classes: number, count = 100): JournalEvent[] => [
  start(),
  ...steps(count),
  validation(50, classes),
  validation(100, classes, { best: false }),
  end(100),
];

describe("the page", () => {
  test("text from outside stays text", () => {
    const page = pageOf(run(3), 3);
    expect(page).not.toContain("<img src=x");
    expect(page).not.toContain("<b>net");
    expect(page.match(/<script/g)).toHaveLength(2);
    expect(page.match(/<\/script/g)).toHaveLength(2);
  });

  test("says the best scores, and what share of a picture is right", () => {
    const page = pageOf(run(3), 3);
    expect(page).toContain("after step 50, the best so far");
    expect(page).toContain(`<dd>${(validation(50, 3).miou as number).toFixed(4)}`);
    expect(page).toContain("100.0 % of the labelled pixels right");
    expect(page).toContain("0.0 % of the labelled pixels right");
  });

  test("grows with neither the steps nor the classes beyond reason", () => {
    expect(pageOf(run(3, 50_000), 3).length).toBeLessThan(250_000);
    expect(pageOf(run(150), 150).length).toBeLessThan(600_000);
  });

  test("samples are spread evenly, and no more than there are", () => {
    expect(sampleIndices(60)).toEqual([5, 15, 25, 35, 45, 55]);
    expect(sampleIndices(2)).toEqual([0, 1]);
    expect(sampleIndices(0)).toEqual([]);
  });
});

interface Axe {
  run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

describe("in a browser", () => {
  let browser: Browser | undefined;
  afterAll(() => browser?.close());

  async function open(html: string, options: { dark?: boolean; width?: number } = {}): Promise<{ page: Page; complaints: string[] }> {
    browser ??= await openBrowser();
    const context = await browser.newContext({ colorScheme: options.dark ? "dark" : "light", viewport: { width: options.width ?? 1280, height: 900 } });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
    page.on("request", (request) => !request.url().startsWith("data:") && complaints.push(`request: ${request.url()}`));
    await page.setContent(html);
    return { page, complaints };
  }

  /** Distinct colours of a chart: an empty one has a single colour. */
  const coloursDrawn = (page: Page): Promise<number[]> =>
    page.evaluate(() =>
      [...document.querySelectorAll("canvas")].map((canvas) => {
        const { data } = (canvas.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
      }),
    );

  const wide = (page: Page): Promise<boolean> => page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);

  browserTest.each([
    ["light", {}],
    ["dark", { dark: true }],
    ["phone", { width: 390 }],
  ])("%s: curves drawn, pictures shown, no error, no request, nothing cut off", async (_, options) => {
    const { page, complaints } = await open(pageOf(run(19), 19), options);
    expect(await page.locator("canvas").count()).toBe(4);
    for (const colours of await coloursDrawn(page)) expect(colours).toBeGreaterThan(10);
    const loaded = await page.evaluate(() => [...document.images].map(({ naturalWidth, alt }) => naturalWidth > 0 && alt !== ""));
    expect(loaded).toEqual(new Array(6).fill(true));
    // Without a cursor the legend has the last numbers.
    const legend = await page.locator("#chart-miou .u-legend").innerText();
    expect(legend.replace(/\s+/g, " ")).toMatch(/step ?100 ?mIoU ?0\.\d+ ?pixel accuracy ?0\.\d+/);
    expect(await wide(page)).toBe(false);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  browserTest("colours follow the theme, also while it is open", async () => {
    const { page, complaints } = await open(pageOf(run(3), 3));
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await background()).not.toBe(light);
    expect(await page.locator("canvas").count()).toBe(4);
    await page.setViewportSize({ width: 500, height: 800 });
    await page.waitForFunction(() => (document.querySelector("canvas")?.clientWidth ?? 1000) < 500);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  browserTest.each([
    ["nothing but a start", [start()], 3],
    ["no validation", [start(), ...steps(3), end(3)], 3],
    ["every loss not finite", [start(), step(1, { loss: null, ce: null, lovasz: null, kept: null, grad_norm: null, finite: false })], 3],
    ["150 classes", run(150), 150],
  ] as const)("%s", async (_, events, classes) => {
    const { page, complaints } = await open(pageOf(events, classes, 0), { width: 390 });
    expect(await wide(page)).toBe(false);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  browserTest.each(["light", "dark"])("accessible by the rules of axe, %s", async (theme) => {
    const { page } = await open(pageOf(run(6), 6), { dark: theme === "dark" });
    await page.addScriptTag({ content: readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8") });
    const { violations } = await page.evaluate(() => (window as unknown as { axe: Axe }).axe.run());
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join("; ")}`)).toEqual([]);
    await page.context().close();
  });
});
