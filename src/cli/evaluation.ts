/** Evaluation of a training folder's state, as `eval` prints it and `demo` compares it. */

import type { Manifest } from "../attach/manifest.ts";
import { graphPath, readTrainingFolder } from "../files/training-folder.ts";
import { bug } from "../support/errors.ts";
import { errorOf } from "../train/dataset.ts";
import { openDecodePool } from "../train/decode-pool.ts";
import { type Evaluation, evaluate } from "../train/evaluate.ts";
import { layoutOf } from "../train/layout.ts";
import { openSession, type Provider, runtimeState } from "../train/session.ts";
import { evaluationMultiple, paddedNote } from "../train/size-multiple.ts";
import { mostPixels } from "../train/tiles.ts";
import type { EvaluationDocument } from "./commands/eval.ts";
import { labelMapOption, openData } from "./data.ts";
import { stateAt } from "./export-file.ts";
import type { Output } from "./output.ts";

export interface EvaluationRequest {
  readonly images: string;
  readonly masks: string;
  readonly checkpoint?: string | undefined;
  readonly batch?: number | undefined;
  readonly threads?: number | undefined;
  readonly labelMap?: string | undefined;
  readonly provider?: Provider | undefined;
}

export async function evaluateFolder(dir: string, request: EvaluationRequest, output: Output): Promise<EvaluationDocument> {
  const folder = readTrainingFolder(dir);
  const layout = layoutOf(folder.manifest);
  const data = openData(request, layout, labelMapOption(request.labelMap), (text) => output.warn(text));
  const size = data.pairs.length;
  const state = await runtimeState(stateAt(folder, request.checkpoint));
  const { threads = 0, provider = "cpu" } = request;
  const session = await openSession(graphPath(folder, "eval_step"), { threads, provider });
  const pool = openDecodePool({ evaluation: data });
  try {
    const multiple = await evaluationMultiple(session, state, layout);
    if (multiple > 1) output.note(paddedNote);
    const evaluation = await evaluate(
      session,
      state,
      { pool, layout, size, multiple },
      {
        ...(request.batch === undefined ? { batch: 4, pixels: mostPixels / 2 } : { batch: request.batch }),
        onFailure: (failure) => {
          throw errorOf(failure);
        },
        onProgress: (done) => output.progress(`evaluated ${done}/${size} images`, { last: done === size }),
      },
    );
    return evaluationDocument(evaluation ?? bug("an evaluation that nobody stopped"), folder.manifest);
  } finally {
    await Promise.all([pool.close(), session.close()]);
  }
}

export function evaluationDocument(evaluation: Evaluation, { classNames }: Pick<Manifest, "classNames">): EvaluationDocument {
  const { loss, ce, lovasz, miou, pixelAccuracy, iou, pixels, confusion } = evaluation;
  const classes = iou.map((value, index) => ({ index, name: classNames?.[index] ?? null, iou: value, pixels: pixels[index] ?? 0 }));
  return { loss, ce, lovasz, miou, pixel_accuracy: pixelAccuracy, classes, confusion };
}
