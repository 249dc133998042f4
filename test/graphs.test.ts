/** graphs/ holds what the code makes, byte for byte: `npm run emit-graphs` writes it anew. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { configSchema, emitSchema } from "../src/cli/config-schema.ts";
import { checkAgainst } from "../src/cli/json-schema.ts";
import { graphFiles } from "./graph-files.ts";
import { readCases } from "./loss/harness.ts";

const graphs = fileURLToPath(new URL("../graphs/", import.meta.url));
const files = graphFiles();

describe("graphs/", () => {
  test.each(files.map(([name, bytes]) => ({ name, bytes })))("$name", ({ name, bytes }) => {
    expect(readFileSync(`${graphs}${name}`).equals(bytes), "npm run emit-graphs").toBe(true);
  });

  test("holds nothing else, and its README names every graph", () => {
    expect(readdirSync(graphs).sort()).toEqual([...files.map(([name]) => name), "README.md"].sort());
    const readme = readFileSync(`${graphs}README.md`, "utf8");
    for (const [name] of files.filter(([file]) => !file.endsWith(".txt"))) expect(readme).toContain(name);
  });
});

describe.each([
  ["attach", configSchema],
  ["emit", emitSchema],
])("the schema of %s --config", (_, schema) => {
  test("accepts the options of every reference case", () => {
    for (const { name, options, preset, presetOverrides } of readCases()) {
      checkAgainst(schema, { loss: options }, name);
      if (preset !== undefined) checkAgainst(schema, { preset, loss: presetOverrides ?? {} }, name);
    }
  });

  test.each([
    [{ los: {} }, "unknown key los"],
    [{ loss: { threshold: 0.6 } }, "unknown key loss.threshold"],
    [{ loss: { ce: { treshold: 0.6 } } }, "unknown key loss.ce.treshold"],
    [{ loss: { lovasz: { bin: 16 } } }, "unknown key loss.lovasz.bin"],
    [{ loss: { ce: { minKept: { part: "1/16" } } } }, "loss.ce.minKept"],
    [{ loss: { ce: { threshold: "0.6" } } }, "loss.ce.threshold"],
    [{ loss: { lovasz: { classes: "some" } } }, "loss.lovasz.classes"],
    [{ optimizer: { momentun: 0.9 } }, "unknown key optimizer.momentun"],
  ])("refuses %j", (config, message) => {
    expect(() => checkAgainst(schema, config, "config.json")).toThrow(message);
  });
});
