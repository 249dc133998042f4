/** `train`, `eval` and `predict` on a few bundled scenes: the files of a run, the same run twice, refusals by name. */

import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeMask, decodePicture } from "../../src/train/images.ts";
import { readJournal } from "../../src/train/journal.ts";
import { demo, demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  for (const [from, to] of [
    ["images", "img"],
    ["masks", "msk"],
  ] as const) {
    mkdirSync(place.path(to));
    for (const stem of ["street-01", "street-02", "street-03"]) cpSync(join(demo, from, `${stem}.png`), place.path(`${to}/${stem}.png`));
  }
  expect(place.run("attach", demoModel, "-o", "t", "--class-names", join(demo, "classes.txt")).code).toBe(0);
});
afterAll(() => place.remove());

const data = ["--images", "img", "--masks", "msk"];
const validation = ["--val-images", "img", "--val-masks", "msk"];

describe("train", () => {
  test("writes a run folder; the same run twice gives the same files", () => {
    const run = (out: string) => place.run("train", "t", ...data, ...validation, "--steps", "3", "--batch", "2", "--val-every", "2", "-o", out);
    const { code, stdout, stderr } = run("a");
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/best mIoU {2}0\.\d+ at step [23]/);
    expect(stderr).toMatch(/step 3\/3/);
    const files = ["best.onnx", "best.safetensors", "config.json", "last.safetensors", "metrics.jsonl", "previous.safetensors"];
    const names = readdirSync(place.path("a")).sort();
    expect(names.filter((name) => !name.startsWith("events."))).toEqual([...files, "report.html"]);
    expect(names.filter((name) => name.startsWith("events."))).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\.ohemgen\.0$/)]);
    const report = readFileSync(place.path("a/report.html"), "utf8");
    // Three validation pictures, each with label and prediction; the best scores and the state at the end.
    expect(report.match(/<img src="data:image\/png/g)).toHaveLength(9);
    expect(report).toMatch(/class="state done">finished/);
    expect(report).toMatch(/<th scope="row"><span class="swatch"[^>]*><\/span>vegetation<\/th>/);
    const events = readJournal(readFileSync(place.path("a/metrics.jsonl"), "utf8"));
    expect(events.map(({ event, step }) => `${event} ${step}`)).toEqual(["start 0", "step 1", "step 2", "val 2", "step 3", "val 3", "end 3"]);
    expect(events[1]).toMatchObject({ finite: true, loss: expect.any(Number), grad_norm: expect.any(Number), kept: expect.any(Number) });
    expect(run("b").code).toBe(0);
    for (const name of files.filter((file) => file !== "metrics.jsonl"))
      expect(readFileSync(place.path(`b/${name}`)).equals(readFileSync(place.path(`a/${name}`))), name).toBe(true);
  });

  test("--json --quiet: one document, nothing on stderr; without validation the last state is the best", () => {
    const { code, stdout, stderr } = place.run("train", "t", ...data, "--steps", "1", "--batch", "1", "-o", "c", "--json", "--quiet");
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ steps: 1, skipped: 0, best: null, validation: null });
    expect(readFileSync(place.path("c/best.safetensors")).equals(readFileSync(place.path("c/last.safetensors")))).toBe(true);
  });

  test("an existing run is not touched", () => {
    const before = readdirSync(place.path("c"));
    expect(place.run("train", "t", ...data, "--steps", "1", "-o", "c")).toMatchObject({ code: 1, stderr: expect.stringContaining("E110") });
    expect(readdirSync(place.path("c"))).toEqual(before);
  });
});

describe("eval and predict", () => {
  test("eval as JSON has the keys of the contract, and agrees with plain prediction", async () => {
    const { code, stdout } = place.run("eval", "t", ...data, "--json", "--quiet");
    expect(code).toBe(0);
    const document = JSON.parse(stdout);
    expect(Object.keys(document)).toEqual(["loss", "ce", "lovasz", "miou", "pixel_accuracy", "classes", "confusion"]);
    expect(document.classes[0]).toEqual({ index: 0, name: "sky", iou: expect.any(Number), pixels: expect.any(Number) });

    expect(place.run("predict", "t", "--images", "img", "-o", "p", "--quiet")).toMatchObject({ code: 0, stderr: "" });
    expect(place.run("predict", demoModel, "--images", "img", "-o", "q", "--quiet").code).toBe(0);
    expect(readdirSync(place.path("p/masks"))).toEqual(["street-01.png", "street-02.png", "street-03.png"]);
    const counts = Array.from({ length: 6 }, () => new Array<number>(6).fill(0));
    for (const name of readdirSync(place.path("p/masks"))) {
      const bytes = readFileSync(place.path(`p/masks/${name}`));
      expect(readFileSync(place.path(`q/masks/${name}`)).equals(bytes)).toBe(true);
      const predicted = (await decodeMask(bytes, name)).labels;
      const { labels } = await decodeMask(readFileSync(place.path(`msk/${name}`)), name);
      labels.forEach((label, i) => {
        const row = counts[label];
        if (row !== undefined) row[predicted[i] as number] = (row[predicted[i] as number] ?? 0) + 1;
      });
    }
    // Upsampling rounds differently in the graph and outside: a few pixels on borders may change class.
    const different = counts.flat().reduce((sum, value, i) => sum + Math.abs(value - document.confusion.flat()[i]), 0);
    expect(different).toBeLessThanOrEqual(10);
  });

  test("-o writes the same scores, and each image beside its label and its prediction", async () => {
    const { code, stdout } = place.run("eval", "t", ...data, "-o", "seen", "--json", "--quiet");
    expect(code).toBe(0);
    expect(readFileSync(place.path("seen/scores.json"), "utf8")).toBe(stdout);
    expect(readdirSync(place.path("seen")).sort()).toEqual(["pictures", "scores.json"]);
    expect(readdirSync(place.path("seen/pictures"))).toEqual(["street-01.png", "street-02.png", "street-03.png"]);
    const { classColours } = JSON.parse(readFileSync(place.path("t/manifest.json"), "utf8"));
    const at = (rgb: Uint8Array, pixel: number): number[] => [...rgb.subarray(pixel * 3, pixel * 3 + 3)];
    let right = 0;
    for (const name of readdirSync(place.path("seen/pictures"))) {
      const sheet = await decodePicture(readFileSync(place.path(`seen/pictures/${name}`)), name);
      const picture = await decodePicture(readFileSync(place.path(`img/${name}`)), name);
      const { labels } = await decodeMask(readFileSync(place.path(`msk/${name}`)), name);
      const { width, height } = picture;
      // Three beside each other, 6 pixels of white around each.
      expect([sheet.width, sheet.height]).toEqual([3 * width + 24, height + 12]);
      labels.forEach((label, i) => {
        const pixel = (column: number): number => (6 + Math.floor(i / width)) * sheet.width + 6 + column * (width + 6) + (i % width);
        if (at(sheet.rgb, pixel(0)).join() !== at(picture.rgb, i).join()) throw new Error(`${name}: pixel ${i} is not the image's`);
        if (label >= classColours.length) return;
        if (at(sheet.rgb, pixel(1)).join() !== classColours[label].join()) throw new Error(`${name}: pixel ${i} is not the label's`);
        if (at(sheet.rgb, pixel(2)).join() === classColours[label].join()) right++;
      });
    }
    const { confusion } = JSON.parse(stdout) as { confusion: readonly (readonly number[])[] };
    expect(right).toBe(confusion.reduce((sum, row, i) => sum + (row[i] as number), 0));
  });

  test("an existing folder stays unless it is to be replaced, and a failure leaves none", () => {
    expect(place.run("eval", "t", ...data, "-o", "seen")).toMatchObject({ code: 1, stderr: expect.stringContaining("E110") });
    expect(place.run("eval", "t", ...data, "-o", "seen", "--force", "--quiet").code).toBe(0);
    const names = place.names();
    expect(place.run("eval", "t", "--images", "img", "--masks", "nowhere", "-o", "other").code).toBe(1);
    expect(place.names()).toEqual(names);
  });

  test("a table for people", () => {
    const { stdout } = place.run("eval", "t", ...data);
    expect(stdout).toMatch(/class +IoU +pixels\nsky +0\.\d{4} +[\d,]+\n/);
    expect(stdout).toMatch(/mIoU +0\.\d{4}/);
  });
});

describe("bad data", () => {
  test.each<[what: string, prepare: (dir: string) => void, message: RegExp]>([
    ["no images", () => {}, /holds no images {2}\[E410\]/],
    ["no mask", (dir) => cpSync(place.path("img/street-01.png"), join(dir, "i/x.png")), /1 of 1 images .* no mask: x {2}\[E411\]|holds no images/],
    [
      "a mask of another size",
      (dir) => {
        cpSync(place.path("img/street-01.png"), join(dir, "i/x.png"));
        writeFileSync(join(dir, "m/x.png"), encode({ width: 5, height: 4, channels: 1, data: new Uint8Array(20) }));
      },
      /differ in size: .*160 × 96, .*5 × 4 pixels {2}\[E413\]/,
    ],
    [
      "a label that is no class",
      (dir) => {
        cpSync(place.path("img/street-01.png"), join(dir, "i/x.png"));
        writeFileSync(join(dir, "m/x.png"), encode({ width: 160, height: 96, channels: 1, data: new Uint8Array(160 * 96).fill(6) }));
      },
      /x\.png has the label 6, but the model has 6 classes \(0 to 5\) {2}\[E414\]/,
    ],
    [
      "an image that is none",
      (dir) => {
        writeFileSync(join(dir, "i/x.png"), "text");
        cpSync(place.path("msk/street-01.png"), join(dir, "m/x.png"));
      },
      /x\.png is not a PNG, JPEG or WebP file {2}\[E412\]/,
    ],
  ])("%s", (what, prepare, message) => {
    const dir = place.path(`bad ${what}`);
    mkdirSync(join(dir, "i"), { recursive: true });
    mkdirSync(join(dir, "m"));
    prepare(dir);
    const { code, stdout, stderr } = place.run("eval", "t", "--images", join(dir, "i"), "--masks", join(dir, "m"));
    expect(stderr).toMatch(message);
    expect([code, stdout]).toEqual([1, ""]);
  });

  test("predict leaves nothing behind when an image is damaged", () => {
    mkdirSync(place.path("mixed"));
    cpSync(place.path("img/street-01.png"), place.path("mixed/a.png"));
    writeFileSync(place.path("mixed/b.png"), "text");
    const before = place.names();
    expect(place.run("predict", "t", "--images", "mixed", "-o", "never")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("E412") });
    expect(place.names()).toEqual(before);
  });
});
