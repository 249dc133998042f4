/** The examples around a loss graph run as they are and end in a better model. */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { pythonPath, pythonTest } from "../python.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The numbers after `word` in what the example prints. */
function numbersAfter(word: string, text: string): number[] {
  return [...text.matchAll(new RegExp(`${word} ([\\d.]+)`, "g"))].map((match) => Number(match[1]));
}

function runExample(file: string, ...graphs: readonly string[]): string {
  const args = [join(root, "examples", file), ...graphs.map((name) => join(root, "graphs", name))];
  return execFileSync(pythonPath(), args, { encoding: "utf8" });
}

pythonTest.each(["ohem-lovasz.onnx", "ohem-lovasz-upsampled.onnx"])("pytorch_loss.py with %s", (graph) => {
  const text = runExample("pytorch_loss.py", graph);
  const losses = numbersAfter("loss", text);
  expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] as number));
  expect(numbersAfter("mean IoU", text).at(-1)).toBeGreaterThan(0.7);
});

pythonTest("numpy_loop.py", () => {
  const text = runExample("numpy_loop.py", "ohem-lovasz.onnx", "adamw.onnx");
  expect(numbersAfter("right", text)[0]).toBeLessThan(0.5);
  expect(numbersAfter("right", text).at(-1)).toBeGreaterThan(0.9);
});
