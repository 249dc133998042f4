/** The exported networks tests run on: the small ones in test/models, the others where OHEMGEN_MODELS points. */

import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { long } from "./long.ts";

const bundled = fileURLToPath(new URL("models", import.meta.url));
const shared = process.env.OHEMGEN_MODELS ?? fileURLToPath(new URL("../../shared/models", import.meta.url));

/** Folders with a model.onnx, by name; each name once. */
export function availableModels(): { name: string; dir: string }[] {
  const found = new Map<string, string>();
  for (const root of [bundled, shared]) {
    if (!existsSync(root)) continue;
    for (const name of readdirSync(root).sort()) {
      if (!found.has(name) && existsSync(`${root}/${name}/model.onnx`)) found.set(name, `${root}/${name}`);
    }
  }
  return [...found].map(([name, dir]) => ({ name, dir }));
}

/**
 * Models for tests that take seconds with each: all of them with OHEMGEN_LONG, else the two small ones that exporters wrote
 * most differently (BatchNormalization and ConvTranspose nodes; weights in Constant nodes, a normalization of groups, resizing).
 */
export function sampledModels(): { name: string; dir: string }[] {
  return availableModels().filter(({ name }) => long || name === "erfnet_bn" || name === "fpn_mobilenetv3_small");
}

/** The folder of a model. @throws Error where it is not there. */
export function modelDir(name: string): string {
  const model = availableModels().find((candidate) => candidate.name === name);
  if (model === undefined) throw new Error(`no model ${name}: set OHEMGEN_MODELS to the folder that holds it`);
  return model.dir;
}
