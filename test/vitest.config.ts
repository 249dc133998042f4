/** Test run: every suite under test/; what is skipped is said at the end, with the way to get it. */

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { skippedReporter } from "./skipped.ts";

const json = process.env["OHEMGEN_TEST_JSON"];

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default", skippedReporter, ...(json === undefined ? [] : (["json"] as const))],
    ...(json === undefined ? {} : { outputFile: { json } }),
  },
});
