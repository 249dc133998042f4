/** The loops of examples/ run as they are, end in a better model, and are what the README shows. */

import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { demo, demoModel, root, type Workplace, workplace } from "./cli/command.ts";
import { pythonPath, pythonTest } from "./python.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  expect(place.run("attach", demoModel, "-o", "model.train").code).toBe(0);
});
afterAll(() => place.remove());

function runLoop(program: string, file: string, ...more: string[]): void {
  const args = [join(root, "examples", file), "model.train", join(demo, "images"), join(demo, "masks"), "trained.safetensors", "6", ...more];
  for (const made of ["trained.safetensors", "trained.onnx"]) rmSync(place.path(made), { force: true });
  const losses = execFileSync(program, args, { cwd: place.dir, encoding: "utf8" }).match(/loss [\d.]+/g);
  expect(losses).toHaveLength(6);
  expect(place.run("export", "model.train", "--checkpoint", "trained.safetensors", "-o", "trained.onnx").code).toBe(0);
  const data = ["--images", join(demo, "val_images"), "--masks", join(demo, "val_masks"), "--json"];
  const before = JSON.parse(place.run("eval", "model.train", ...data).stdout);
  const after = JSON.parse(place.run("eval", "model.train", "--checkpoint", "trained.safetensors", ...data).stdout);
  expect(after.loss).toBeLessThan(0.9 * before.loss);
}

describe("loops", () => {
  test("JavaScript", () => runLoop(process.execPath, "loop.mjs"));
  pythonTest("Python", () => runLoop(pythonPath(), "loop.py"));
  pythonTest("Python, gradients accumulated", () => runLoop(pythonPath(), "accumulate.py"));
  pythonTest("Python, I/O binding", () => runLoop(pythonPath(), "io_binding.py", "cpu"));
});

describe("README", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");

  test.each([
    ["js", "loop.mjs"],
    ["python", "loop.py"],
  ])("its %s is part of %s", (language, file) => {
    const example = readFileSync(join(root, "examples", file), "utf8").split("\n");
    const blocks = [...readme.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map(([, code = ""]) => code);
    const shown = blocks.flatMap((code) => code.split("\n")).filter((line) => line.trim() !== "");
    expect(shown.length).toBeGreaterThan(5);
    expect(shown.filter((line) => !example.includes(line))).toEqual([]);
  });
});
