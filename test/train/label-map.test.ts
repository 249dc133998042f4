/** Label maps: what is listed becomes classes, what is ignored the graphs' ignored label, anything else an error by name. */

import { describe, expect, test } from "vitest";
import { builtInMaps, checkLabelMap, type LabelMap, mappedMask, parseLabelMap } from "../../src/train/label-map.ts";
import type { RawMask } from "../../src/train/masks.ts";

function numbers(...labels: number[]): RawMask {
  return { kind: "numbers", width: labels.length, height: 1, labels: Uint8Array.from(labels), palette: null };
}

function colours(...rgb: number[]): RawMask {
  return { kind: "colours", width: rgb.length / 3, height: 1, rgb: Uint8Array.from(rgb) };
}

function labelsOf(mask: RawMask, map: LabelMap, ignored = 255): number[] {
  return [...mappedMask(mask, map, ignored, "m.png").labels];
}

const builtIn = (name: string): LabelMap => builtInMaps.get(name) as LabelMap;

describe("files", () => {
  test("values, colours in both spellings, ignored ones, and the rest", () => {
    const map = parseLabelMap('{"7": 0, "8": 1, "#804080": 2, "1, 2, 3": 3, "9": "ignore", "default": 5}', "map.json");
    expect(labelsOf(numbers(7, 8, 9, 200), map)).toEqual([0, 1, 255, 5]);
    expect(labelsOf(colours(128, 64, 128, 1, 2, 3, 0, 0, 0), map)).toEqual([2, 3, 5]);
    expect(labelsOf(numbers(9), map, -1)).toEqual([-1]);
  });

  test("a palette mask goes by colours where only those are listed", () => {
    const map = parseLabelMap('{"#ff0000": 1, "#00ff00": 0}', "map.json");
    const mask: RawMask = {
      ...numbers(0, 1, 1),
      kind: "numbers",
      labels: Uint8Array.of(0, 1, 1),
      palette: [
        [255, 0, 0],
        [0, 255, 0],
      ],
    };
    expect(labelsOf(mask, map)).toEqual([1, 0, 0]);
  });

  test.each([
    ["[1]", /not an object/],
    ["{}", /lists nothing/],
    ['{"7": -1}', /"7" is -1, neither a class nor "ignore"/],
    ['{"7": "road"}', /"7" is "road"/],
    ['{"road": 0}', /the key "road" is neither/],
    ['{"#12345": 0}', /the key "#12345"/],
    ['{"1,2,300": 0}', /the key "1,2,300"/],
    ['{"7": 0,}', /no JSON/],
  ])("%s is refused", (text, message) => {
    expect(() => parseLabelMap(text, "map.json")).toThrow(message);
  });

  test("what is not listed is named", () => {
    const map = parseLabelMap('{"7": 0, "#010203": 0}', "map.json");
    expect(() => labelsOf(numbers(7, 8), map)).toThrow(/m\.png has the label 8, which the label map map\.json does not list/);
    expect(() => labelsOf(colours(1, 2, 4), map)).toThrow(/#010204/);
    expect(() => labelsOf(colours(1, 2, 4), parseLabelMap('{"7": 0}', "map.json"))).toThrow(/has no colours/);
  });
});

describe("Cityscapes", () => {
  const map = builtIn("cityscapes");

  test("ids become the 19 classes of the benchmark", () => {
    expect(labelsOf(numbers(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33), map)).toEqual(Array.from({ length: 19 }, (_, i) => i));
    expect(labelsOf(numbers(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30), map)).toEqual(new Array(15).fill(255));
    expect(() => labelsOf(numbers(255), map)).toThrow(/label 255/);
  });

  test("so do the colours", () => {
    expect(labelsOf(colours(128, 64, 128, 153, 153, 153, 0, 0, 142, 0, 0, 0, 119, 11, 32), map)).toEqual([0, 5, 13, 255, 18]);
    expect([map.classNames?.length, map.classNames?.[13], map.classColours?.[13]]).toEqual([19, "car", [0, 0, 142]]);
  });

  test("needs a model of as many classes", () => {
    expect(() => checkLabelMap(map, 19)).not.toThrow();
    expect(() => checkLabelMap(map, 18)).toThrow(/has the class 18, but the model has 18 classes/);
  });
});

describe("VOC", () => {
  test("values are classes, the border is ignored, in numbers and in colours", () => {
    const map = builtIn("voc");
    expect(labelsOf(numbers(0, 20, 255), map, 254)).toEqual([0, 20, 254]);
    expect(labelsOf(colours(128, 0, 0, 224, 224, 192, 0, 64, 128), map)).toEqual([1, 255, 20]);
    // Bits of the class number, highest bits of the colour first, as the development kit makes them.
    for (const [index, colour] of (map.classColours ?? []).entries()) {
      const expected = [0, 0, 0];
      for (let bits = index, j = 7; bits > 0; bits >>= 3, j--) [0, 1, 2].forEach((c) => ((expected[c] as number) |= ((bits >> c) & 1) << j));
      expect(colour).toEqual(expected);
    }
  });
});
