/** Images and masks by name: what goes together, and what is missing said by name. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { pairFiles } from "../../src/train/pairing.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ohemgen-pairing-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

function folder(name: string, files: readonly string[]): string {
  const path = join(dir, name);
  mkdirSync(path);
  for (const file of files) writeFileSync(join(path, file), "");
  return path;
}

describe("pairing", () => {
  test("by stem, in alphabetical order; other files are left alone", () => {
    const images = folder("images", ["b.png", "a.PNG", "a.b.png", "notes.txt", ".hidden.png"]);
    const masks = folder("masks", ["a.png", "a.b.png", "b.png", "c.png"]);
    const { pairs, unusedMasks } = pairFiles(images, masks);
    expect(pairs.map(({ stem }) => stem)).toEqual(["a", "a.b", "b"]);
    expect(pairs[0]).toEqual({ stem: "a", image: join(images, "a.PNG"), mask: join(masks, "a.png") });
    expect(unusedMasks).toEqual(["c"]);
  });

  test("images without mask are named", () => {
    const images = folder("images", ["a.png", "b.png", "c.png"]);
    const masks = folder("masks", ["a.png"]);
    expect(() => pairFiles(images, masks)).toThrow(/2 of 3 images .* have no mask: b, c/);
  });

  test("names that never fit get an example", () => {
    const images = folder("images", ["a.png"]);
    const masks = folder("masks", ["a_mask.png"]);
    expect(() => pairFiles(images, masks)).toThrow(expect.objectContaining({ code: "E411", hint: expect.stringContaining("a_mask") }));
  });

  test("two files of one name", () => {
    const images = folder("images", ["a.png", "a.jpg"]);
    expect(() => pairFiles(images, images)).toThrow(/two files are called a/);
  });

  test("no folder, empty folder", () => {
    expect(() => pairFiles(join(dir, "none"), dir)).toThrow(expect.objectContaining({ code: "E410" }));
    expect(() => pairFiles(folder("empty", []), dir)).toThrow(/holds no images/);
  });
});
