/**
 * Options of the loss: their defaults, presets and complete validation. A resolved set is plain JSON, lists every
 * option, and resolves to itself again.
 */

import { usageError } from "../support/errors.ts";
import { type MinKept, type ResolvedMinKept, resolveMinKept } from "./fraction.ts";

export interface CrossEntropyOptions {
  /** Factor of the cross-entropy in the loss; 0 leaves it out. */
  readonly weight: number;
  /** Score below which a pixel is hard; compared in float32. */
  readonly threshold: number;
  readonly minKept: MinKept;
  readonly atCut: "exclude" | "include";
  readonly budget: "batch" | "image";
  readonly hardness: "probability" | "loss";
  readonly mining: "on" | "off";
  /** One weight per class; `null`: all 1. A one-channel head has two, of the labels 0 and 1. */
  readonly classWeights: readonly number[] | null;
  readonly normalizer: "kept" | "weights" | "valid" | "all";
  readonly labelSmoothing: number;
}

export interface LovaszOptions {
  /** Factor of the Lovász term in the loss; 0 leaves it out. */
  readonly weight: number;
  readonly classes: "present" | "all" | readonly number[];
  readonly perImage: boolean;
  readonly classWeights: readonly number[] | null;
  readonly ignore: "same" | "none";
  readonly method: "exact" | "histogram";
  readonly bins: number;
  /** For heads of one channel only. */
  readonly binary: "hinge" | "hinge-elu" | "sigmoid";
}

/** What a caller gives: anything left out takes the preset's value. */
export interface LossOptions {
  readonly ce?: Partial<CrossEntropyOptions>;
  readonly lovasz?: Partial<LovaszOptions>;
  readonly ignoreIndex?: number;
  readonly upsample?: "half_pixel" | "align_corners";
}

export interface ResolvedLossOptions {
  readonly ce: Omit<CrossEntropyOptions, "minKept"> & { readonly minKept: ResolvedMinKept };
  readonly lovasz: LovaszOptions;
  readonly ignoreIndex: number;
  readonly upsample: "half_pixel" | "align_corners";
}

const defaults: ResolvedLossOptions = {
  ce: {
    weight: 1,
    threshold: 0.6,
    minKept: { fraction: "1/16", of: "all" },
    atCut: "exclude",
    budget: "batch",
    hardness: "probability",
    mining: "on",
    classWeights: null,
    normalizer: "kept",
    labelSmoothing: 0,
  },
  lovasz: { weight: 1, classes: "present", perImage: false, classWeights: null, ignore: "same", method: "exact", bins: 1024, binary: "hinge" },
  ignoreIndex: 255,
  upsample: "half_pixel",
};

/** Settings of published code; each differs from the defaults only in what is listed. */
export const presets = {
  default: {},
  origin: { ce: { threshold: 0.6, minKept: 350000 } },
  hrnet: { ce: { threshold: 0.9, minKept: 131072 }, lovasz: { weight: 0 }, upsample: "align_corners" },
  torchseg: { ce: { threshold: 0.7, minKept: 100000, atCut: "include", normalizer: "weights" }, lovasz: { weight: 0 } },
  mmseg: { ce: { threshold: 0.7, minKept: { perImage: 100000 }, normalizer: "all" }, lovasz: { weight: 0 } },
  bisenet: { ce: { threshold: 0.7, minKept: { fraction: "1/16", of: "valid" }, atCut: "include", hardness: "loss" }, lovasz: { weight: 0 } },
  deeplab: { ce: { threshold: 0, minKept: { fraction: "1/5", of: "all" }, atCut: "include", hardness: "loss" }, lovasz: { weight: 0 } },
} as const satisfies Readonly<Record<string, LossOptions>>;

export type PresetName = keyof typeof presets;

type Check<T> = (given: unknown, where: string) => T;

function invalid(where: string, given: unknown, wanted: string): Error {
  return usageError(`loss option ${where} is ${JSON.stringify(given) ?? String(given)}`, `It must be ${wanted}.`, "E010");
}

const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(", ");

const oneOf =
  <const T extends string>(...allowed: readonly T[]): Check<T> =>
  (given, where) => {
    if (!allowed.includes(given as T)) throw invalid(where, given, `one of ${quoted(allowed)}`);
    return given as T;
  };

const number =
  (wanted: string, accepts: (value: number) => boolean): Check<number> =>
  (given, where) => {
    if (typeof given !== "number" || !accepts(given)) throw invalid(where, typeof given === "number" ? `${given}` : given, wanted);
    return given;
  };

/** Numbers the graph can hold as float32, with room for products. */
const fits = (value: number): boolean => value >= 0 && value <= 1e30;
const factor = number("a number from 0 to 1e30", fits);

const boolean: Check<boolean> = (given, where) => {
  if (typeof given !== "boolean") throw invalid(where, given, "true or false");
  return given;
};

const weights: Check<readonly number[] | null> = (given, where) => {
  if (given === null) return null;
  if (!Array.isArray(given) || given.length === 0 || !given.every((value) => typeof value === "number" && fits(value))) {
    throw invalid(where, given, "one number from 0 to 1e30 per class");
  }
  return [...given] as number[];
};

const classes: Check<LovaszOptions["classes"]> = (given, where) => {
  if (given === "present" || given === "all") return given;
  const wanted = '"present", "all", or a list of different class indices';
  if (!Array.isArray(given) || given.length === 0 || !given.every((value) => Number.isSafeInteger(value) && value >= 0)) {
    throw invalid(where, given, wanted);
  }
  if (new Set(given).size !== given.length) throw invalid(where, given, wanted);
  return [...given] as number[];
};

const crossEntropyChecks: { readonly [K in keyof CrossEntropyOptions]: Check<ResolvedLossOptions["ce"][K]> } = {
  weight: factor,
  threshold: factor,
  minKept: resolveMinKept,
  atCut: oneOf("exclude", "include"),
  budget: oneOf("batch", "image"),
  hardness: oneOf("probability", "loss"),
  mining: oneOf("on", "off"),
  classWeights: weights,
  normalizer: oneOf("kept", "weights", "valid", "all"),
  labelSmoothing: number("a number from 0 to 1", (value) => value >= 0 && value <= 1),
};

const lovaszChecks: { readonly [K in keyof LovaszOptions]: Check<LovaszOptions[K]> } = {
  weight: factor,
  classes,
  perImage: boolean,
  classWeights: weights,
  ignore: oneOf("same", "none"),
  method: oneOf("exact", "histogram"),
  bins: number("a whole number from 1 to 1048576", (value) => Number.isInteger(value) && value >= 1 && value <= 1 << 20),
  binary: oneOf("hinge", "hinge-elu", "sigmoid"),
};

const wholeChecks: { readonly [K in "ignoreIndex" | "upsample"]: Check<ResolvedLossOptions[K]> } = {
  ignoreIndex: number("a whole number", Number.isSafeInteger),
  upsample: oneOf("half_pixel", "align_corners"),
};

/** Checks an object key by key; keys left out or `undefined` keep the value of `base`. */
function applyGroup<T extends object>(name: string, checks: { readonly [K in keyof T]: Check<T[K]> }, given: unknown, base: T): T {
  const result = { ...base } as Record<string, unknown>;
  for (const [key, value] of entriesOf(given, name, Object.keys(checks))) {
    const check = checks[key as keyof T];
    result[key] = check(value, `${name}.${key}`);
  }
  return result as T;
}

function entriesOf(given: unknown, where: string, allowed: readonly string[]): readonly [string, unknown][] {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw invalid(where, given, `an object with any of ${quoted(allowed)}`);
  const unknown = Object.keys(given).filter((key) => !allowed.includes(key));
  if (unknown.length > 0) {
    const place = where === "loss" ? "the loss options" : `the loss options "${where}"`;
    throw usageError(`unknown key ${quoted(unknown)} in ${place}`, `Known keys: ${quoted(allowed)}.`, "E010");
  }
  return Object.entries(given).filter(([, value]) => value !== undefined);
}

function apply(base: ResolvedLossOptions, given: unknown): ResolvedLossOptions {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of entriesOf(given, "loss", ["ce", "lovasz", ...Object.keys(wholeChecks)])) {
    if (key === "ce") result[key] = applyGroup("ce", crossEntropyChecks, value, base.ce);
    else if (key === "lovasz") result[key] = applyGroup("lovasz", lovaszChecks, value, base.lovasz);
    else result[key] = wholeChecks[key as keyof typeof wholeChecks](value, key);
  }
  return result as unknown as ResolvedLossOptions;
}

/**
 * Every option with its value: what is given, else the preset's, else the default.
 * @throws OhemgenError E010 (exit code 2) naming the key or value and what is allowed.
 */
export function resolveLossOptions(given: LossOptions | Readonly<Record<string, unknown>> = {}, preset = "default"): ResolvedLossOptions {
  if (!Object.hasOwn(presets, preset)) {
    throw usageError(`unknown loss preset "${preset}"`, `Presets: ${Object.keys(presets).join(", ")}.`, "E010");
  }
  return apply(apply(defaults, presets[preset as PresetName]), given);
}

/**
 * Checks what only a head's number of channels can tell. `undefined`: the number is not known.
 * @throws OhemgenError E010 (exit code 2)
 */
export function checkForChannels(options: ResolvedLossOptions, channels: number | undefined): void {
  const { ce, lovasz } = options;
  const binary = channels === 1;
  const listed = typeof lovasz.classes === "string" ? [] : lovasz.classes;
  if (channels === undefined && (ce.classWeights !== null || lovasz.classWeights !== null || listed.length > 0)) {
    throw usageError("class weights and class lists need a fixed number of classes", "Give the logits a number as their second dimension.", "E010");
  }
  const expectLength = (where: string, list: readonly number[] | null, lengths: readonly number[]) => {
    if (list === null || channels === undefined || lengths.includes(list.length)) return;
    throw usageError(
      `loss option ${where} has ${list.length} weights, the logits have ${channels} channel${binary ? "" : "s"}`,
      `Give ${lengths.join(" or ")}.`,
      "E010",
    );
  };
  expectLength("ce.classWeights", ce.classWeights, [binary ? 2 : (channels ?? 0)]);
  expectLength("lovasz.classWeights", lovasz.classWeights, binary ? [2, 1] : [channels ?? 0]);
  for (const index of listed) {
    if (binary ? index === 1 : index < (channels ?? 0)) continue;
    const hint = binary ? "A head of one channel has the class 1 only." : `The classes are 0 to ${(channels ?? 0) - 1}.`;
    throw usageError(`loss option lovasz.classes lists ${index}`, hint, "E010");
  }
  if (binary && lovasz.weight > 0 && lovasz.method === "histogram" && lovasz.binary !== "sigmoid") {
    throw usageError(
      `lovasz.method "histogram" with lovasz.binary "${lovasz.binary}"`,
      'Hinge errors have no bounds: use method "exact", or binary "sigmoid".',
      "E010",
    );
  }
}
