/** `--config` files: read, checked against their schema, and laid under the flags. */

import { readFileSync } from "node:fs";
import { OhemgenError, usageError } from "../support/errors.ts";
import { checkAgainst, type JsonSchema } from "./json-schema.ts";

/** @throws OhemgenError E100 where the file of an option cannot be read. */
export function readOptionFile(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new OhemgenError(`--${option}: ${path} cannot be read`, { code: "E100", where: path, hint: "Check the path.", cause });
  }
}

/** @throws OhemgenError E100, E002 (no JSON, an unknown key, a wrong type). */
export function configOf(path: string, schema: JsonSchema): Record<string, unknown> {
  const text = readOptionFile("config", path);
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw usageError(`${path} is not JSON: ${(cause as Error).message}`);
  }
  checkAgainst(schema, config, path);
  const { $schema: _, ...options } = config as Record<string, unknown>;
  return options;
}

/** `over` wins; objects are merged, lists are not. */
export function merged(under: Readonly<Record<string, unknown>>, over: object): Record<string, unknown> {
  const result: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    result[key] = isObject(below) && isObject(value) ? merged(below, value) : value;
  }
  return result;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
