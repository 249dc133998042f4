/** Says after a run what was skipped and how to get it: a suite that quietly does nothing is no test. */

import type { Reporter, TestModule } from "vitest/node";

const ways = [
  "Comparisons with PyTorch and the ONNX checker need Python 3 with pinned packages:",
  "  python3 -m venv .venv && .venv/bin/pip install -r test/requirements.txt",
  "or another interpreter that has them: OHEMGEN_PYTHON=/path/to/python npm test",
  "The on-device training API needs Python up to 3.11 in an environment of its own:",
  "  python3 -m venv .venv-training && .venv-training/bin/pip install -r test/requirements-training.txt",
  "or another interpreter that has it: OHEMGEN_TRAINING_PYTHON=/path/to/python npm test",
  "WebGPU needs a device, or Debian's chromium (its software driver) and libvulkan1.",
  "Tests of pages need Chromium: apt-get install chromium, or OHEMGEN_CHROMIUM=/path/to/chromium npm test",
];

export const skippedReporter: Reporter = {
  onTestRunEnd(modules: readonly TestModule[]) {
    const skipped = modules.flatMap((module) => [...module.children.allTests("skipped")].map((test) => `${module.relativeModuleId}: ${test.fullName}`));
    if (skipped.length === 0) return;
    const listed = skipped.length > 12 ? [...skipped.slice(0, 10), `… and ${skipped.length - 10} more`] : skipped;
    process.stderr.write(`\n${skipped.length} tests were skipped:\n${listed.map((name) => `  ${name}\n`).join("")}\n${ways.join("\n")}\n`);
  },
};
