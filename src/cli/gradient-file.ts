/** From a model on disk to its gradient on disk. Whatever can refuse does so before anything is written. */

import { type GradientResult, gradientModel } from "../attach/gradient-model.ts";
import { shapeInfo } from "../attach/manifest.ts";
import { refuseExisting, writeFileAtomically } from "../files/atomic.ts";
import { dumpInto } from "../files/dump.ts";
import { readModelFile } from "../files/model-file.ts";
import { encodeModelChunks } from "../proto/encode.ts";
import { parseInputShape } from "./attach-options.ts";
import { inModel } from "./in-model.ts";

export interface GradientFileOptions {
  readonly of: string;
  readonly wrt: readonly string[];
  readonly out: string;
  readonly force: boolean | undefined;
  readonly "input-shape": readonly string[] | undefined;
  /** Folder for the model after each phase. */
  readonly dump?: string | undefined;
}

export function gradientFile(path: string, { of, wrt, out, force = false, "input-shape": shapes, dump }: GradientFileOptions) {
  refuseExisting(out, force);
  const observe = dump === undefined ? undefined : dumpInto(dump);
  const { model } = readModelFile(path);
  const inputShapes = shapes === undefined ? {} : { inputShapes: Object.fromEntries(shapes.map(parseInputShape)) };
  const result = inModel(path, () => gradientModel(model, { of, wrt, ...inputShapes }, observe));
  const chunks = encodeModelChunks(result.model);
  writeFileAtomically(out, chunks, { force });
  return { nodes: result.model.graph.nodes.length, bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0), ...described(result) };
}

function described({ of, wrt }: GradientResult) {
  return { of: { ...of, shape: shapeInfo(of.shape) }, wrt: wrt.map((tensor) => ({ ...tensor, shape: shapeInfo(tensor.shape) })) };
}
