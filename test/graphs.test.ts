/** graphs/ holds what the code makes: `npm run emit-graphs` writes it anew. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { configSchema } from "../src/cli/config-schema.ts";
import { lossGraph } from "../src/cli/emit-file.ts";
import { encodeModel } from "../src/proto/encode.ts";

const graphs = fileURLToPath(new URL("../graphs/", import.meta.url));

describe("graphs/", () => {
  test.each(["ohem-ce", "lovasz-softmax", "ohem-lovasz"] as const)("%s.onnx", (kind) => {
    expect(readFileSync(`${graphs}${kind}.onnx`).equals(encodeModel(lossGraph(kind, {})))).toBe(true);
  });

  test("the schema of --config", () => {
    expect(JSON.parse(readFileSync(`${graphs}attach.schema.json`, "utf8"))).toEqual(configSchema);
  });
});
