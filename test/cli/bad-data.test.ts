/** Data sets with faults: each gets the message that names it, before anything is written, or is left out and counted. */

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "fast-png";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readJournal } from "../../src/train/journal.ts";
import { demo, demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  expect(place.run("attach", demoModel, "-o", "t", "--input-shape", "image=batch,3,32,64").code).toBe(0);
});
afterAll(() => place.remove());

/** A folder of two good samples, changed by each case. */
class Data {
  readonly dir: string;
  constructor(dir: string) {
    this.dir = dir;
    for (const stem of ["good-1", "good-2"]) this.good(stem);
  }
  path(name: string): string {
    return join(this.dir, name);
  }
  good(stem: string): void {
    mkdirSync(this.path("images"), { recursive: true });
    mkdirSync(this.path("masks"), { recursive: true });
    cpSync(join(demo, "images/street-01.png"), this.path(`images/${stem}.png`));
    cpSync(join(demo, "masks/street-01.png"), this.path(`masks/${stem}.png`));
  }
  write(name: string, bytes: Uint8Array | string): void {
    writeFileSync(this.path(name), bytes);
  }
  mask(stem: string, data: Uint8Array | Uint16Array, more: object = {}): void {
    this.write(`masks/${stem}.png`, encode({ width: 160, height: 96, channels: 1, data, ...more }));
  }
  remove(name: string): void {
    rmSync(this.path(name), { recursive: true });
  }
}

const pixels = 160 * 96;
const filled = (value: number): Uint8Array => new Uint8Array(pixels).fill(value);
const image = (): Buffer => readFileSync(join(demo, "images/street-01.png"));

interface Case {
  readonly prepare: (data: Data) => void | Promise<void>;
  readonly message: RegExp;
  readonly options?: readonly string[];
}

const cases: Readonly<Record<string, Case>> = {
  "no image folder": { prepare: (data) => data.remove("images"), message: /images is not a folder {2}\[E410\]/ },
  "a file in place of a folder": {
    prepare: (data) => {
      data.remove("masks");
      data.write("masks", "text");
    },
    message: /masks is not a folder {2}\[E410\]/,
  },
  "an empty image folder": {
    prepare: (data) => {
      data.remove("images");
      mkdirSync(data.path("images"));
    },
    message: /images holds no images {2}\[E410\]/,
  },
  "an empty mask folder": {
    prepare: (data) => {
      data.remove("masks");
      mkdirSync(data.path("masks"));
    },
    message: /masks holds no images {2}\[E410\]/,
  },
  "nothing but text files": {
    prepare: (data) => {
      data.remove("images");
      mkdirSync(data.path("images"));
      data.write("images/list.txt", "good-1");
    },
    message: /images holds no images {2}\[E410\]/,
  },
  "an image without mask": { prepare: (data) => data.remove("masks/good-2.png"), message: /1 of 2 images in .* have no mask: good-2 {2}\[E411\]/ },
  "no names in common": {
    prepare: (data) => {
      for (const stem of ["good-1", "good-2"]) {
        cpSync(data.path(`masks/${stem}.png`), data.path(`masks/${stem}_mask.png`));
        data.remove(`masks/${stem}.png`);
      }
    },
    message: /2 of 2 images .* have no mask: good-1, good-2 {2}\[E411\][\s\S]*Found masks: good-1_mask, good-2_mask/,
  },
  "two images of one name": { prepare: (data) => data.write("images/good-1.jpg", "x"), message: /two files are called good-1: .* {2}\[E411\]/ },
  "a mask of another size": {
    prepare: (data) => data.write("masks/good-2.png", encode({ width: 80, height: 48, channels: 1, data: new Uint8Array(80 * 48) })),
    message: /differ in size: .*good-2\.png is 160 × 96, .* is 80 × 48 pixels {2}\[E413\]/,
  },
  "a label that is no class": {
    prepare: (data) => data.mask("good-2", filled(6)),
    message: /good-2\.png has the label 6, but the model has 6 classes \(0 to 5\)/,
  },
  "16 bits with a label that is no class": {
    prepare: (data) =>
      data.mask(
        "good-2",
        Uint16Array.from(filled(0), () => 300),
        { depth: 16 },
      ),
    message: /has the label 300, .* {2}\[E414\]/,
  },
  "text called PNG": { prepare: (data) => data.write("images/good-2.png", "text"), message: /good-2\.png is not a PNG, JPEG or WebP file {2}\[E412\]/ },
  "an empty image": { prepare: (data) => data.write("images/good-2.png", ""), message: /good-2\.png is not a .* file \(it is empty\) {2}\[E412\]/ },
  "a GIF called PNG": {
    prepare: (data) => data.write("images/good-2.png", "GIF89a, and so on"),
    message: /good-2\.png is not a .* file \(a GIF\) {2}\[E412\]/,
  },
  "an image cut off": {
    prepare: (data) => data.write("images/good-2.png", image().subarray(0, 5000)),
    message: /images\/good-2\.png is damaged: .* {2}\[E412\]/,
  },
  "a JPEG cut off": {
    prepare: async (data) => {
      data.remove("images/good-2.png");
      data.write("images/good-2.jpg", (await sharp(image()).jpeg().toBuffer()).subarray(0, 2000));
    },
    message: /good-2\.jpg is damaged: .* {2}\[E412\]/,
  },
  "an image of impossible size": {
    prepare: (data) => data.write("images/good-2.png", image().fill(0x7f, 16, 24)),
    message: /good-2\.png is damaged: a size of 2139062143 × 2139062143 pixels {2}\[E412\]/,
  },
  "a mask with one wrong bit": {
    prepare: (data) => {
      const bytes = readFileSync(join(demo, "masks/street-01.png"));
      bytes[bytes.length - 30] = (bytes[bytes.length - 30] ?? 0) ^ 1;
      data.write("masks/good-2.png", bytes);
    },
    message: /masks\/good-2\.png is damaged: .*(CRC|crc).* {2}\[E412\]/,
  },
  "a mask as JPEG": {
    prepare: async (data) => {
      data.remove("masks/good-2.png");
      data.write("masks/good-2.jpg", await sharp(image()).jpeg().toBuffer());
    },
    message: /good-2\.jpg is not a PNG file \(a JPEG\) {2}\[E412\]/,
  },
  "a mask in colours": {
    prepare: (data) => cpSync(data.path("images/good-2.png"), data.path("masks/good-2.png")),
    message: /good-2\.png is a picture in colours, not a mask of class numbers {2}\[E412\][\s\S]*--label-map/,
  },
  "a folder called like an image": {
    prepare: (data) => {
      data.remove("images/good-2.png");
      mkdirSync(data.path("images/good-2.png"));
    },
    message: /images\/good-2\.png cannot be read: EISDIR.* {2}\[E412\]/,
  },
  "a link to nowhere": {
    prepare: (data) => {
      data.remove("images/good-2.png");
      symlinkSync(data.path("nowhere.png"), data.path("images/good-2.png"));
    },
    message: /images\/good-2\.png is not there any more {2}\[E412\]/,
  },
  "a label map that is no JSON": {
    prepare: (data) => data.write("map.json", "{7: 0"),
    options: ["--label-map", "map.json"],
    message: /map\.json is not a label map: no JSON .* {2}\[E417\]/,
  },
  "a label map with a class that the model does not have": {
    prepare: (data) => data.write("map.json", '{"0": 6, "default": "ignore"}'),
    options: ["--label-map", "map.json"],
    message: /map\.json has the class 6, but the model has 6 classes \(0 to 5\) {2}\[E417\]/,
  },
  "a value that the label map does not list": {
    prepare: (data) => {
      data.write("map.json", '{"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "255": "ignore"}');
      data.mask("good-2", filled(77));
    },
    options: ["--label-map", "map.json"],
    message: /good-2\.png has the label 77, which the label map .*map\.json does not list {2}\[E414\]/,
  },
  "a colour that the label map does not list": {
    prepare: (data) => {
      data.write("map.json", '{"#010203": 0, "0": 0, "default": "ignore"}'.replace(', "default": "ignore"', ""));
      for (const stem of ["good-1", "good-2"]) {
        data.write(
          `masks/${stem}.png`,
          encode({
            width: 160,
            height: 96,
            channels: 3,
            data: Uint8Array.from({ length: pixels * 3 }, (_, i) => [1, 2, stem === "good-1" ? 3 : 4][i % 3] ?? 0),
          }),
        );
      }
    },
    options: ["--label-map", "map.json"],
    message: /good-2\.png has the label #010204, which the label map .* does not list {2}\[E414\]/,
  },
  "Cityscapes' classes for another model": {
    prepare: () => {},
    options: ["--label-map", "cityscapes"],
    message: /the label map cityscapes has the class 18, but the model has 6 classes/,
  },
};

describe("refused before anything is written", () => {
  test.each(Object.entries(cases))("%s", async (what, { prepare, message, options = [] }) => {
    const data = new Data(place.path(`bad ${what}`));
    await prepare(data);
    const paths = options.map((option) => (option.endsWith(".json") ? data.path(option) : option));
    const args = ["--images", data.path("images"), "--masks", data.path("masks"), ...paths];
    const { code, stdout, stderr } = place.run("train", "t", ...args, "--steps", "1", "--batch", "1", "-o", `out ${what}`);
    expect(stderr).toMatch(message);
    expect([code, stdout]).toEqual([1, ""]);
    expect(existsSync(place.path(`out ${what}`))).toBe(false);
  });

  test("there are at least twenty of them", () => {
    expect(Object.keys(cases).length).toBeGreaterThanOrEqual(20);
  });
});

describe("within a run", () => {
  /** Of 80 samples 64 are looked at before a run; every fifth, from 4 on, is not. */
  const unchecked = Array.from({ length: 16 }, (_, i) => i * 5 + 4);
  const stemOf = (i: number): string => `s${String(i).padStart(2, "0")}`;
  const many = (name: string): Data => {
    const data = new Data(place.path(name));
    for (const stem of ["good-1", "good-2"]) for (const folder of ["images", "masks"]) data.remove(`${folder}/${stem}.png`);
    for (let i = 0; i < 80; i++) data.good(stemOf(i));
    return data;
  };
  const args = (data: Data, out: string): string[] => {
    const folders = ["--images", data.path("images"), "--masks", data.path("masks")];
    return ["train", "t", ...folders, "--epochs", "1", "--batch", "8", "-o", out];
  };

  test("a few bad files are left out and counted, each told once", () => {
    const data = many("few");
    data.write(`images/${stemOf(4)}.png`, "text");
    data.mask(stemOf(9), filled(9));
    data.write(`masks/${stemOf(14)}.png`, encode({ width: 8, height: 8, channels: 1, data: new Uint8Array(64) }));
    data.remove(`images/${stemOf(19)}.png`);
    symlinkSync("/nowhere.png", data.path(`images/${stemOf(19)}.png`));
    const { code, stderr, stdout } = place.run(...args(data, "few.run"), "--epochs", "2");
    expect(code).toBe(2);
    expect(stderr).toMatch(/given 2 times/);
    expect(stdout).toBe("");
    const run = place.run(...args(data, "few.run").map((text) => (text === "1" ? "2" : text)), "--quiet");
    expect(run.code, run.stderr).toBe(0);
    const told = run.stderr.trim().split("\n");
    expect(told).toHaveLength(4);
    expect(told.map((line) => /\[(E\d+)\]; left out$/.exec(line)?.[1]).sort()).toEqual(["E412", "E412", "E413", "E414"]);
    expect(run.stdout).toMatch(/left out +8 samples/);
    const events = readJournal(readFileSync(place.path("few.run/metrics.jsonl"), "utf8"));
    expect(events.at(-1)).toMatchObject({ event: "end", reason: "done", step: 20, skipped_images: 8 });
  });

  test("too many end the run, saved; repaired, it goes on", () => {
    const data = many("many");
    for (const i of unchecked) data.mask(stemOf(i), filled(9));
    const { code, stderr } = place.run(...args(data, "many.run"), "--json");
    expect(code).toBe(1);
    expect(stderr).toMatch(/"event":"end".*"reason":"failed"/);
    const saved = readJournal(readFileSync(place.path("many.run/metrics.jsonl"), "utf8"));
    const { step } = saved.at(-1) as { step: number };
    expect(step).toBeGreaterThan(0);
    expect(existsSync(place.path("many.run/last.safetensors"))).toBe(true);
    for (const i of unchecked) data.good(stemOf(i));
    const resumed = place.run(...args(data, "many.run"), "--resume", "--json", "--quiet");
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ reason: "done", steps: 10 });
  });
});
