/** The benchmark measures the networks it names: they compute what the exported models of the same names compute. */

import { dirname } from "node:path";
import { expect } from "vitest";
import { availableModels } from "./models.ts";
import { python, pythonTest } from "./python.ts";

pythonTest("the networks of the benchmark are those of the exported models", { timeout: 300_000 }, () => {
  const roots = [...new Set(availableModels().map(({ dir }) => dirname(dir)))];
  const lines = python("../bench/check_networks.py", roots).trim().split("\n");
  // Each sample model is the same network as one of the benchmark.
  expect(lines).toHaveLength(availableModels().length);
  for (const line of lines) expect(line).toContain("same weights, logits within");
});
