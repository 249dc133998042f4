/** Raw command line values → checked values of the declared kinds; a wrong one is a usage error that names the option. */

import { type OhemgenError, usageError } from "../support/errors.ts";
import type { OptionSpec, OptionSpecs, Values } from "./command.ts";

/** As yargs hands them over: everything is text, a repeated option a list. */
export type RawValues = Readonly<Record<string, unknown>>;

export function checkedValues<Specs extends OptionSpecs>(raw: RawValues, specs: Specs): Values<Specs> {
  const values: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(specs)) {
    const given = raw[name];
    if (given === undefined && spec.required) throw usageError(`${flag(name)} is missing`, `It is: ${spec.describe}`);
    values[name] = given === undefined ? undefined : checkedValue(name, spec, given);
  }
  return values as Values<Specs>;
}

function flag(name: string): string {
  return `--${name}`;
}

function checkedValue(name: string, spec: OptionSpec, given: unknown): unknown {
  if (spec.kind === "list") return (Array.isArray(given) ? given : [given]).map((item) => nonEmpty(name, String(item)));
  if (Array.isArray(given)) throw usageError(`${flag(name)} is given ${given.length} times`, "Give it once.");
  if (spec.kind === "flag") return given === true;
  const text = nonEmpty(name, String(given));
  if (spec.choices !== undefined && !spec.choices.includes(text)) {
    throw wrongValue(name, text, `The choices are: ${spec.choices.join(", ")}.`);
  }
  switch (spec.kind) {
    case "text":
      return text;
    case "numbers":
      return text.split(",").map((part) => checkedNumber(name, spec, part.trim(), text));
    default:
      return checkedNumber(name, spec, text, text);
  }
}

function nonEmpty(name: string, text: string): string {
  if (text === "") throw usageError(`${flag(name)} has no value`);
  return text;
}

function checkedNumber(name: string, spec: OptionSpec, text: string, whole: string): number {
  const value = parseNumber(text);
  if (value === undefined) throw wrongValue(name, whole, spec.kind === "numbers" ? "Numbers with commas between are expected." : "A number is expected.");
  if (spec.kind === "integer" && !Number.isSafeInteger(value)) throw wrongValue(name, whole, "A whole number is expected.");
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = spec;
  if (value < min || value > max) throw wrongValue(name, whole, `It must be ${rangeText(min, max)}.`);
  return value;
}

/** Decimal numbers only: no hexadecimal, no infinity, no empty text. */
export function parseNumber(text: string): number | undefined {
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function rangeText(min: number, max: number): string {
  if (max === Number.POSITIVE_INFINITY) return `at least ${min}`;
  return min === Number.NEGATIVE_INFINITY ? `at most ${max}` : `between ${min} and ${max}`;
}

export function wrongValue(name: string, value: string, hint: string): OhemgenError {
  return usageError(`--${name} cannot be "${value}"`, hint);
}
