/** Evaluation of a training folder's state, as `eval` prints it and `demo` compares it. */

import type { Manifest } from "../attach/manifest.ts";
import { graphPath, readTrainingFolder } from "../files/training-folder.ts";
import { type Evaluation, evaluate } from "../train/evaluate.ts";
import { layoutOf } from "../train/layout.ts";
import { openSession, runtimeState } from "../train/session.ts";
import type { EvaluationDocument } from "./commands/eval.ts";
import { stateAt } from "./export-file.ts";
import type { Output } from "./output.ts";
import { openDataset } from "./training-run.ts";

export interface EvaluationRequest {
  readonly images: string;
  readonly masks: string;
  readonly checkpoint?: string | undefined;
  readonly batch?: number | undefined;
  readonly threads?: number | undefined;
}

export async function evaluateFolder(dir: string, request: EvaluationRequest, output: Output): Promise<EvaluationDocument> {
  const folder = readTrainingFolder(dir);
  const dataset = openDataset(request.images, request.masks, layoutOf(folder.manifest), output);
  const state = await runtimeState(stateAt(folder, request.checkpoint));
  const session = await openSession(graphPath(folder, "eval_step"), { threads: request.threads ?? 0 });
  const evaluation = await evaluate(session, state, dataset, {
    batch: request.batch ?? 4,
    onProgress: (done) => output.progress(`evaluated ${done}/${dataset.size} images`, { last: done === dataset.size }),
  });
  await session.close();
  return evaluationDocument(evaluation, folder.manifest);
}

export function evaluationDocument(evaluation: Evaluation, { classNames }: Pick<Manifest, "classNames">): EvaluationDocument {
  const { loss, ce, lovasz, miou, pixelAccuracy, iou, pixels, confusion } = evaluation;
  const classes = iou.map((value, index) => ({ index, name: classNames?.[index] ?? null, iou: value, pixels: pixels[index] ?? 0 }));
  return { loss, ce, lovasz, miou, pixel_accuracy: pixelAccuracy, classes, confusion };
}
