/**
 * Test run: every suite under test/; what is skipped is said at the end, with the way to get it. Most files run two at a
 * time, each on one core; `alone` has those that time something, or keep several processes busy by themselves.
 */

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { long } from "./long.ts";
import { skippedReporter } from "./skipped.ts";

const json = process.env["OHEMGEN_TEST_JSON"];

const alone = [
  "test/attach/growth.test.ts",
  "test/attach/webgpu-step.test.ts",
  "test/cli/kill.test.ts",
  "test/cli/tune.test.ts",
  "test/examples/flower.test.ts",
  "test/runtimes/*.test.ts",
  "test/web*.test.ts",
];

/** Several times what the slowest takes on two quiet cores, for slower machines and busy ones. Longer tests have their own. */
const timeout = long ? 300_000 : 120_000;

const common = { testTimeout: timeout, hookTimeout: timeout };

/** PyTorch's threads wait by spinning, which takes the core of the file beside. */
const oneThread = { OMP_NUM_THREADS: "1" };

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    reporters: ["default", skippedReporter, ...(json === undefined ? [] : (["json"] as const))],
    ...(json === undefined ? {} : { outputFile: { json } }),
    projects: [
      { extends: true, test: { ...common, name: "together", include: ["test/**/*.test.ts"], exclude: alone, maxWorkers: 2, env: oneThread } },
      { extends: true, test: { ...common, name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
