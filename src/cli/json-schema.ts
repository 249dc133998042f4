/** Checks a JSON value against the part of JSON Schema that our published schemas use; unknown keys are errors. */

import { usageError } from "../support/errors.ts";

export interface JsonSchema {
  readonly type?: "object" | "array" | "string" | "number" | "integer" | "boolean" | "null";
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  /** Keys other than `properties`: refused, or all of one kind. */
  readonly additionalProperties?: false | JsonSchema;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly JsonSchema[];
}

/** @throws OhemgenError E002 (exit code 2) naming the place, such as `loss.ce.threshold`. */
export function checkAgainst(schema: JsonSchema, value: unknown, file: string): void {
  const problem = problemOf(schema, value, "");
  if (problem !== undefined) throw usageError(`${file}: ${problem}`, "The keys are those of the flags; see the schema in the documentation of `attach`.");
}

function problemOf(schema: JsonSchema, value: unknown, at: string): string | undefined {
  const place = at === "" ? "the whole" : at;
  if (schema.anyOf !== undefined) {
    if (schema.anyOf.some((choice) => problemOf(choice, value, at) === undefined)) return undefined;
    return `${place} is ${shown(value)}, expected is ${schema.anyOf.map(expectation).join(" or ")}`;
  }
  if (schema.type !== undefined && !hasType(schema.type, value)) return `${place} is ${shown(value)}, expected is ${expectation(schema)}`;
  if (schema.enum !== undefined && !schema.enum.includes(value as string)) return `${place} is ${shown(value)}, expected is ${expectation(schema)}`;
  if (Array.isArray(value)) return listProblem(schema, value, at);
  if (typeof value === "object" && value !== null) return keysProblem(schema, value, at);
  return undefined;
}

function listProblem({ items, minItems = 0, maxItems = Number.POSITIVE_INFINITY }: JsonSchema, list: readonly unknown[], at: string): string | undefined {
  if (list.length < minItems || list.length > maxItems) return `${at} has ${list.length} entries, expected are ${minItems}`;
  if (items === undefined) return undefined;
  return firstProblem(list.map((item, i) => problemOf(items, item, `${at}[${i}]`)));
}

function keysProblem({ properties = {}, additionalProperties }: JsonSchema, value: object, at: string): string | undefined {
  return firstProblem(
    Object.entries(value).map(([key, item]) => {
      const inner = at === "" ? key : `${at}.${key}`;
      const known = Object.hasOwn(properties, key) ? properties[key] : additionalProperties;
      if (known === false) return `unknown key ${inner}; the keys${at === "" ? "" : ` of ${at}`} are ${Object.keys(properties).join(", ")}`;
      return known === undefined ? undefined : problemOf(known, item, inner);
    }),
  );
}

function firstProblem(problems: readonly (string | undefined)[]): string | undefined {
  return problems.find((problem) => problem !== undefined);
}

function hasType(type: NonNullable<JsonSchema["type"]>, value: unknown): boolean {
  switch (type) {
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    default:
      return typeof value === type;
  }
}

function expectation({ type, enum: values, anyOf }: JsonSchema): string {
  if (values !== undefined) return values.map((value) => `"${value}"`).join(", ");
  if (anyOf !== undefined) return anyOf.map(expectation).join(" or ");
  const words = {
    object: "an object",
    array: "a list",
    string: "a text",
    number: "a number",
    integer: "a whole number",
    boolean: "true or false",
    null: "null",
  };
  return type === undefined ? "anything" : words[type];
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
