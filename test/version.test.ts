/** The version is written in two places. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { version } from "../src/support/version.ts";

test("the version in the source is the package's", () => {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect((JSON.parse(text) as { version: string }).version).toBe(version);
});
