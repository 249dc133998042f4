/** What the numbers or colours of masks mean: from what a file stores to classes. */

import type { Colour } from "../attach/colours.ts";
import { OhemgenError } from "../support/errors.ts";
import { cityscapesLabels, type KnownLabel, vocLabels } from "./known-labels.ts";
import type { Mask, RawMask } from "./masks.ts";

/** Stands for "leave this pixel out", whatever the ignored label of the graphs is. */
export const ignore = "ignore";

export type Meaning = number | typeof ignore;

export interface LabelMap {
  /** `cityscapes`, `voc`, or the file's path: for messages. */
  readonly name: string;
  /** By the number that a greyscale or palette mask stores. */
  readonly values: ReadonlyMap<number, Meaning>;
  /** By 0xRRGGBB, for masks in colours. */
  readonly colours: ReadonlyMap<number, Meaning>;
  /** Meaning of everything else; `null`: an error. */
  readonly fallback: Meaning | null;
  /** Names and colours of the classes, where the data set has them. */
  readonly classNames: readonly string[] | null;
  readonly classColours: readonly Colour[] | null;
}

export const builtInMaps: ReadonlyMap<string, LabelMap> = new Map([builtIn("cityscapes", cityscapesLabels), builtIn("voc", vocLabels)]);

function builtIn(name: string, labels: readonly KnownLabel[]): [string, LabelMap] {
  const classes = labels.filter((label) => label.class !== null);
  // A class has its colour to itself as far as the trained labels go: those come last and win.
  const ordered = [...labels.filter((label) => label.class === null), ...classes];
  const map: LabelMap = {
    name,
    values: new Map(labels.map((label) => [label.value, label.class ?? ignore])),
    colours: new Map(ordered.map((label) => [packedColour(label.colour), label.class ?? ignore])),
    fallback: null,
    classNames: classes.map((label) => label.name),
    classColours: classes.map((label) => label.colour),
  };
  return [name, map];
}

/**
 * A map from JSON: `{"7": 0, "8": 1, "#804080": 0, "128,64,128": 0, "default": "ignore"}`. Keys are pixel values or
 * colours, values are classes or "ignore"; without "default" what is not listed is an error.
 * @throws OhemgenError E417 for anything else.
 */
export function parseLabelMap(text: string, path: string): LabelMap {
  const wrong = (what: string): never => {
    throw new OhemgenError(`${path} is not a label map: ${what}`, {
      code: "E417",
      where: path,
      hint: 'Expected is JSON such as {"7": 0, "8": 1, "#804080": 0, "default": "ignore"}: pixel values or colours to classes.',
    });
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    return wrong(`no JSON (${(cause as Error).message})`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return wrong("not an object");
  const values = new Map<number, Meaning>();
  const colours = new Map<number, Meaning>();
  let fallback: Meaning | null = null;
  for (const [key, value] of Object.entries(json)) {
    const meaning: Meaning = value === ignore || isClass(value) ? value : wrong(`"${key}" is ${JSON.stringify(value)}, neither a class nor "ignore"`);
    const colour = colourOf(key);
    if (key === "default") fallback = meaning;
    else if (/^\d+$/.test(key) && Number(key) < 65536) values.set(Number(key), meaning);
    else if (colour !== undefined) colours.set(colour, meaning);
    else return wrong(`the key "${key}" is neither a pixel value nor a colour`);
  }
  if (values.size + colours.size === 0) return wrong("it lists nothing");
  return { name: path, values, colours, fallback, classNames: null, classColours: null };
}

function isClass(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 65536;
}

function colourOf(key: string): number | undefined {
  if (/^#[\da-f]{6}$/i.test(key)) return Number.parseInt(key.slice(1), 16);
  const parts = key.split(",").map((part) => (/^\s*\d{1,3}\s*$/.test(part) ? Number(part) : 256));
  return parts.length === 3 && parts.every((part) => part < 256) ? packedColour(parts as unknown as Colour) : undefined;
}

export function packedColour([red, green, blue]: Colour): number {
  return red * 65536 + green * 256 + blue;
}

/** Classes of the map that a model of `classes` classes does not have are an error before anything is read. */
export function checkLabelMap({ name, values, colours, fallback }: LabelMap, classes: number): void {
  const highest = Math.max(-1, ...[...values.values(), ...colours.values(), fallback].filter((meaning) => typeof meaning === "number"));
  if (highest < classes) return;
  throw new OhemgenError(`the label map ${name} has the class ${highest}, but the model has ${classes} classes (0 to ${classes - 1})`, {
    code: "E417",
    where: name,
    hint: 'Map to classes of the model, or to "ignore".',
  });
}

/**
 * The mask in classes; `ignored` is the label of pixels to leave out.
 * @throws OhemgenError E414 naming `path` for a value or colour that the map does not list, E412 for colours where the map has none.
 */
export function mappedMask(mask: RawMask, map: LabelMap, ignored: number, path: string): Mask {
  const byColour = mask.kind === "colours" || (map.values.size === 0 && mask.palette !== null);
  if (byColour && map.colours.size === 0) {
    throw new OhemgenError(`${path} is a picture in colours, and the label map ${map.name} has no colours`, {
      code: "E412",
      where: path,
      hint: 'Add colours to it: {"#804080": 0, …}.',
    });
  }
  return byColour ? mappedColours(mask, map, ignored, path) : mappedNumbers(mask as RawMask & { kind: "numbers" }, map, ignored, path);
}

function mappedNumbers({ width, height, labels }: RawMask & { kind: "numbers" }, map: LabelMap, ignored: number, path: string): Mask {
  const table = Int32Array.from({ length: labels instanceof Uint8Array ? 256 : 65536 }, (_, value) => labelOf(map.values.get(value) ?? map.fallback, ignored));
  return {
    width,
    height,
    labels: mapped(
      labels,
      ignored,
      (value) => table[value] as number,
      (value) => unknown(path, map, `${value}`),
    ),
  };
}

function mappedColours(mask: RawMask, map: LabelMap, ignored: number, path: string): Mask {
  const { width, height } = mask;
  const table = new Map([...map.colours].map(([colour, meaning]) => [colour, labelOf(meaning, ignored)]));
  const rest = labelOf(map.fallback, ignored);
  const named = (colour: number): never => unknown(path, map, `#${colour.toString(16).padStart(6, "0")}`);
  if (mask.kind === "numbers") {
    const palette = (mask.palette ?? []).map(packedColour);
    const indices = Int32Array.from(palette, (colour) => table.get(colour) ?? rest);
    return {
      width,
      height,
      labels: mapped(
        mask.labels,
        ignored,
        (value) => indices[value] ?? none,
        (value) => named(palette[value] ?? 0),
      ),
    };
  }
  const { rgb } = mask;
  const packed = new Uint32Array(width * height);
  for (let i = 0; i < packed.length; i++) packed[i] = (rgb[i * 3] as number) * 65536 + (rgb[i * 3 + 1] as number) * 256 + (rgb[i * 3 + 2] as number);
  return { width, height, labels: mapped(packed, ignored, (colour) => table.get(colour) ?? rest, named) };
}

/** No label, ignored ones neither. */
const none = -(2 ** 31);

function labelOf(meaning: Meaning | null, ignored: number): number {
  return meaning === null ? none : meaning === ignore ? ignored : meaning;
}

function mapped(
  from: Uint8Array | Uint16Array | Uint32Array,
  ignored: number,
  label: (value: number) => number,
  refuse: (value: number) => never,
): Mask["labels"] {
  const labels = ignored >= 0 && ignored < 65536 ? new Uint16Array(from.length) : new Int32Array(from.length);
  for (let i = 0; i < from.length; i++) {
    const value = from[i] as number;
    const mapped = label(value);
    labels[i] = mapped === none ? refuse(value) : mapped;
  }
  return labels;
}

function unknown(path: string, { name }: LabelMap, what: string): never {
  throw new OhemgenError(`${path} has the label ${what}, which the label map ${name} does not list`, {
    code: "E414",
    where: path,
    hint: 'Add it to the map, as a class or as "ignore"; "default" stands for all that are not listed.',
  });
}
