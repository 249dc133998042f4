/** Evaluation of a training folder's state, as `eval` prints it and `demo` compares it. */

import type { Colour } from "../attach/colours.ts";
import type { Manifest } from "../attach/manifest.ts";
import { writeStagedFolder } from "../files/staged-folder.ts";
import { graphPath, readTrainingFolder } from "../files/training-folder.ts";
import { bug } from "../support/errors.ts";
import { colouredMask, contactSheet } from "../train/colours.ts";
import { Dataset, type DatasetSpec, errorOf } from "../train/dataset.ts";
import { openDecodePool } from "../train/decode-pool.ts";
import { diskPictures } from "../train/disk-pictures.ts";
import { type Evaluation, evaluate } from "../train/evaluate.ts";
import { encodePicture } from "../train/images.ts";
import { layoutOf } from "../train/layout.ts";
import type { Sample } from "../train/report/pictures.ts";
import { predictSample } from "../train/report/predict-samples.ts";
import { shrunkSample } from "../train/report/shrink.ts";
import { openSession, type Provider, runtimeState } from "../train/session.ts";
import { evaluationMultiple, paddedNote } from "../train/size-multiple.ts";
import { mostPixels } from "../train/tiles.ts";
import type { EvaluationDocument } from "./commands/eval.ts";
import { labelMapOption, openData } from "./data.ts";
import { stateAt } from "./export-file.ts";
import type { Output } from "./output.ts";
import { providerWarning } from "./run-machine.ts";

export interface EvaluationRequest {
  readonly images: string;
  readonly masks: string;
  readonly checkpoint?: string | undefined;
  readonly batch?: number | undefined;
  readonly threads?: number | undefined;
  readonly labelMap?: string | undefined;
  readonly provider?: Provider | undefined;
  /** Folder for the scores and for pictures of every image; none otherwise. */
  readonly out?: string | undefined;
  readonly force?: boolean | undefined;
}

const scoresFile = "scores.json";

/** Pixels across of each of the three pictures: a screen shows no more. */
const mostAcross = 1024;

/** Takes the files of the output folder, by relative name. */
type Write = (name: string, bytes: Uint8Array) => void;

/** @throws OhemgenError as the folders and files deserve, with no output folder left behind. */
export async function evaluateFolder(dir: string, request: EvaluationRequest, output: Output): Promise<EvaluationDocument> {
  if (request.out === undefined) return evaluateData(dir, request, output);
  let document: EvaluationDocument | undefined;
  await writeStagedFolder(request.out, ["pictures", scoresFile], { force: request.force ?? false }, async (write) => {
    document = await evaluateData(dir, request, output, write);
    write(scoresFile, Buffer.from(`${JSON.stringify(document, null, 2)}\n`));
  });
  return document ?? bug("an output folder that was not filled");
}

async function evaluateData(dir: string, request: EvaluationRequest, output: Output, write?: Write): Promise<EvaluationDocument> {
  const folder = readTrainingFolder(dir);
  const layout = layoutOf(folder.manifest);
  const data = openData(request, layout, labelMapOption(request.labelMap), (text) => output.warn(text));
  const size = data.pairs.length;
  const state = await runtimeState(stateAt(folder, request.checkpoint));
  const { threads = 0, provider = "cpu" } = request;
  const wrong = providerWarning(folder.manifest, provider);
  if (wrong !== undefined) output.warn(wrong);
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
    const predict: Predict = (dataset, index) => predictSample(session, state, dataset, index, multiple);
    if (write !== undefined) await writePictures(data, folder.manifest.classColours, predict, write, output);
    return evaluationDocument(evaluation ?? bug("an evaluation that nobody stopped"), folder.manifest);
  } finally {
    await Promise.all([pool.close(), session.close()]);
  }
}

type Predict = (dataset: Dataset, index: number) => Promise<Omit<Sample, "step"> | undefined>;

/** One file per image: the image, its label and the prediction beside each other. */
async function writePictures(data: DatasetSpec, colours: readonly Colour[], predict: Predict, write: Write, output: Output): Promise<void> {
  for (let index = 0; index < data.pairs.length; index++) {
    // A set of its own keeps one decoded picture, not all of them.
    const dataset = new Dataset(data, diskPictures);
    const predicted = await predict(dataset, index);
    if (predicted === undefined) {
      // It could be read a moment ago; reading it again says what has become of it.
      await dataset.sample(index);
      bug("a picture that was bad for a moment");
    }
    const { name, picture, label, prediction } = shrunkSample({ ...predicted, step: 0 }, mostAcross);
    const sheet = contactSheet([[picture, colouredMask(label, colours), colouredMask(prediction, colours)]], 1);
    write(`pictures/${name}.png`, await encodePicture(sheet));
    output.progress(`wrote ${index + 1}/${data.pairs.length} pictures`, { last: index + 1 === data.pairs.length });
  }
}

export function evaluationDocument(evaluation: Evaluation, { classNames }: Pick<Manifest, "classNames">): EvaluationDocument {
  const { loss, ce, lovasz, miou, pixelAccuracy, iou, pixels, confusion } = evaluation;
  const classes = iou.map((value, index) => ({ index, name: classNames?.[index] ?? null, iou: value, pixels: pixels[index] ?? 0 }));
  return { loss, ce, lovasz, miou, pixel_accuracy: pixelAccuracy, classes, confusion };
}
