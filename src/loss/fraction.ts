/**
 * Exact fractions of a pixel count and the spellings of `minKept`. A decimal is taken at its decimal value
 * (0.29 is 29/100), so that ⌊P·f⌋ never depends on a binary rounding.
 */

import { usageError } from "../support/errors.ts";

export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** How many pixels are kept at least: a count, a part of all or of the valid pixels, a count per image. */
export type MinKept = number | { readonly fraction: string | number; readonly of: "all" | "valid" } | { readonly perImage: number };

/** The same in its canonical form: fractions are reduced and written `1/16`. */
export type ResolvedMinKept = number | { readonly fraction: string; readonly of: "all" | "valid" } | { readonly perImage: number };

const minKeptForms = 'a whole number of pixels, {"fraction": "1/16", "of": "all" | "valid"}, or {"perImage": 100000}';

function invalid(where: string, given: unknown, wanted: string): Error {
  return usageError(`${where} is ${JSON.stringify(given)}`, `It must be ${wanted}.`, "E010");
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

function reduced(numerator: bigint, denominator: bigint): Rational {
  const common = gcd(numerator, denominator);
  return { numerator: numerator / common, denominator: denominator / common };
}

/**
 * The rational that `1/16`, `0.29`, `1e-3` or a number's decimal text stands for.
 * @throws OhemgenError E010 if it is none or lies outside 0…1.
 */
export function parseFraction(given: string | number, where = "minKept.fraction"): Rational {
  const wanted = "a fraction between 0 and 1, such as 1/16 or 0.25";
  const text = String(given).trim();
  const ratio = /^(\d{1,30})\s*\/\s*(\d{1,30})$/.exec(text);
  const decimal = /^(\d{0,30})(?:\.(\d{0,30}))?(?:[eE]([+-]?\d{1,2}))?$/.exec(text);
  let value: Rational | undefined;
  if (ratio !== null && BigInt(ratio[2] as string) > 0n) {
    value = reduced(BigInt(ratio[1] as string), BigInt(ratio[2] as string));
  } else if (decimal !== null && /\d/.test(text)) {
    const [, whole = "", part = "", exponent = "0"] = decimal;
    const shift = Number(exponent) - part.length;
    const digits = BigInt(`${whole}${part}` || "0");
    const power = 10n ** BigInt(Math.abs(shift));
    value = shift >= 0 ? reduced(digits * power, 1n) : reduced(digits, power);
  }
  if (value === undefined || value.numerator > value.denominator) throw invalid(where, given, wanted);
  return value;
}

/**
 * The largest fraction ≤ `value` whose denominator is at most `limit`. For every count n ≤ `limit`,
 * ⌊n·value⌋/n is such a fraction, so ⌊n·result⌋ = ⌊n·value⌋: the product fits int64 whatever was written.
 */
export function lowerApproximation(value: Rational, limit: bigint): Rational {
  if (value.denominator <= limit) return value;
  // Stern–Brocot: a/b ≤ value < c/d, neighbours; each turn takes as many mediant steps as fit.
  let [a, b, c, d] = [0n, 1n, 1n, 0n];
  const { numerator: p, denominator: q } = value;
  for (;;) {
    const up = (p * b - q * a) / (q * c - p * d);
    const stepsUp = d === 0n ? up : up < (limit - b) / d ? up : (limit - b) / d;
    [a, b] = [a + stepsUp * c, b + stepsUp * d];
    const gap = p * b - q * a;
    if (gap === 0n || stepsUp < up) return { numerator: a, denominator: b };
    // Strictly above the value: c/d may not reach it.
    const down = (q * c - p * d - 1n) / gap;
    const room = (limit - d) / b;
    const stepsDown = down < room ? down : room;
    [c, d] = [c + stepsDown * a, d + stepsDown * b];
    if (b + d > limit) return { numerator: a, denominator: b };
  }
}

function wholeCount(given: number, where: string): number {
  if (!Number.isSafeInteger(given) || given < 0) throw invalid(where, given, "a whole number of pixels, 0 or more");
  return given;
}

/**
 * The spelling of the command line: `350000`, `1/16`, `0.25`, `1/16@valid`, `100000@image`.
 * @throws OhemgenError E010
 */
export function parseMinKept(text: string): ResolvedMinKept {
  const [amount = "", of, ...rest] = text.trim().split("@");
  const wanted = "like 350000, 1/16, 1/16@valid or 100000@image";
  if (rest.length > 0 || (of !== undefined && !["all", "valid", "image"].includes(of))) throw invalid("min-kept", text, wanted);
  const whole = /^\d+$/.test(amount);
  if (of === "image") {
    if (!whole) throw invalid("min-kept", text, wanted);
    return { perImage: wholeCount(Number(amount), "min-kept") };
  }
  if (whole && of === undefined) return wholeCount(Number(amount), "min-kept");
  return { fraction: fractionText(amount, "min-kept"), of: of === "valid" ? "valid" : "all" };
}

function fractionText(given: string | number, where: string): string {
  const { numerator, denominator } = parseFraction(given, where);
  return `${numerator}/${denominator}`;
}

/** The canonical form of any accepted spelling. @throws OhemgenError E010 */
export function resolveMinKept(given: unknown, where = "ce.minKept"): ResolvedMinKept {
  if (typeof given === "string") return parseMinKept(given);
  if (typeof given === "number") return wholeCount(given, where);
  if (typeof given !== "object" || given === null) throw invalid(where, given, minKeptForms);
  const { fraction, of = "all", perImage, ...rest } = given as Record<string, unknown>;
  if (Object.keys(rest).length > 0 || (fraction === undefined) === (perImage === undefined)) throw invalid(where, given, minKeptForms);
  if (perImage !== undefined) {
    if (typeof perImage !== "number" || "of" in given) throw invalid(where, given, minKeptForms);
    return { perImage: wholeCount(perImage, `${where}.perImage`) };
  }
  if ((typeof fraction !== "string" && typeof fraction !== "number") || (of !== "all" && of !== "valid")) throw invalid(where, given, minKeptForms);
  return { fraction: fractionText(fraction, `${where}.fraction`), of };
}
