/** A training run in a page: the same loop, batches and measures as in Node, on files that never leave the page. */

import { type AttachResult, attach } from "../attach/attach.ts";
import { trainedModel } from "../attach/trained-model.ts";
import { encodeModel } from "../proto/encode.ts";
import { loadModel } from "../proto/load.ts";
import { bug } from "../support/errors.ts";
import { openBatchQueue } from "../train/batch-queue.ts";
import { freshProgress } from "../train/checkpoint.ts";
import { cropSize } from "../train/crop-size.ts";
import { Dataset, errorOf, type SampleFailure } from "../train/dataset.ts";
import { Decoder, type Job, type JobResults } from "../train/decode-jobs.ts";
import type { DecodePool } from "../train/decode-pool.ts";
import { deviceOutputs } from "../train/device-state.ts";
import { evaluate } from "../train/evaluate.ts";
import { type Layout, layoutOf } from "../train/layout.ts";
import { type LoopHooks, type LoopSettings, train } from "../train/loop.ts";
import type { Picture } from "../train/masks.ts";
import type { Pair } from "../train/pairing.ts";
import { predictSample, sampleIndices } from "../train/report/predict-samples.ts";
import { type Session, stateFor, type Tensors } from "../train/runtime.ts";
import { evaluationMultiple } from "../train/size-multiple.ts";
import { fusedStepper } from "../train/step.ts";
import { browserPictures } from "./browser-pictures.ts";
import type { FilePair, FromWorker, Prediction, TrainingRequest } from "./protocol.ts";
import { openWebRuntime, type WebRuntime } from "./web-session.ts";

export interface RunContext {
  readonly tell: (message: FromWorker) => void;
  readonly stopping: () => boolean;
  /** Where onnxruntime-web's files are. */
  readonly runtimeBase: URL;
}

/** Bytes of decoded pictures to keep. */
const cacheLimit = 256 * 2 ** 20;

/** Pictures that are shown while it trains. */
const shown = 4;

/** @throws OhemgenError for whatever does not fit together or fails. */
export async function runInPage(request: TrainingRequest, { tell, stopping, runtimeBase }: RunContext): Promise<void> {
  tell({ kind: "stage", text: "Loading ONNX Runtime" });
  const runtime = await openWebRuntime(request.backend, runtimeBase);
  tell({ kind: "stage", text: "Attaching loss, backward pass and optimizer" });
  const source = new Uint8Array(await request.model.arrayBuffer());
  const attached = attachFor(source, request, runtime);
  const layout = layoutOf(attached.manifest);
  const data = openData(request, layout);
  const settings = settingsOf(request, layout, (await data.training.sample(0)).picture);
  tell({ kind: "stage", text: "Preparing the graphs" });
  const session = await runtime.open(encodeModel(attached.graphs.train_step), deviceOutputs(attached.manifest));
  const evaluator = await runtime.open(encodeModel(attached.graphs.eval_step));
  const stepper = fusedStepper(session, layout, runtime.read);
  tell(readyMessage(request, attached, runtime, settings));
  const failed = (failure: SampleFailure): never => {
    throw errorOf(failure);
  };
  const start = { state: stateFor(session, attached.state), progress: freshProgress(0) };
  const multiple = await evaluationMultiple(evaluator, start.state, layout);
  const validate = async (state: Tensors, step: number) => {
    const size = data.evaluation.size;
    const evaluation = await evaluate(evaluator, state, { pool: data.pool, layout, size, multiple }, { batch: settings.batch, onFailure: failed, stopping });
    if (evaluation === undefined) return undefined;
    const { loss, miou, pixelAccuracy } = evaluation;
    tell({ kind: "validation", step, scores: { loss, miou, pixelAccuracy }, predictions: await predictions(evaluator, state, data.evaluation, multiple) });
    return evaluation;
  };
  await validate(start.state, 0);
  let reached = 0;
  let saved = attached.state;
  const hooks: LoopHooks = {
    stopping,
    onFailure: failed,
    onStep({ step, loss, kept, imagesPerSecond }) {
      reached = step;
      tell({ kind: "step", step, loss, kept, imagesPerSecond });
    },
    validate: (state) => validate(state, reached),
    save: ({ state }) => {
      saved = state;
    },
  };
  const queue = openBatchQueue(data.pool, settings, 0, settings.schedule.steps);
  const outcome = await train({ stepper, queue: yielding(queue), images: data.training.size }, settings, start, hooks);
  const model = new Blob(trainedModel(source, attached.manifest, saved) as Uint8Array<ArrayBuffer>[], { type: "application/octet-stream" });
  stepper.release();
  await Promise.all([stepper.close(), evaluator.close()]);
  tell({ kind: "finished", stopped: outcome.reason !== "done", steps: reached, model });
}

function attachFor(source: Uint8Array, { resetHead, inputShapes, classNames }: TrainingRequest, { backend }: WebRuntime): AttachResult {
  return attach(loadModel(source), {
    ...(backend === "webgpu" ? { provider: backend } : {}),
    ...(resetHead === null ? {} : { resetHead }),
    ...(inputShapes === null ? {} : { inputShapes }),
    ...(classNames === null ? {} : { classNames }),
  });
}

interface OpenedData {
  readonly pool: DecodePool;
  readonly training: Dataset;
  readonly evaluation: Dataset;
}

function openData({ training, validation }: TrainingRequest, layout: Layout): OpenedData {
  const files = new Map<string, Blob>();
  // Both sets may have files of one name.
  const pairOf =
    (set: string) =>
    ({ stem, image, mask }: FilePair): Pair => {
      const [imagePath, maskPath] = [`${set} image ${stem}`, `${set} mask ${stem}`];
      files.set(imagePath, image).set(maskPath, mask);
      return { stem, image: imagePath, mask: maskPath };
    };
  const spec = (set: string, pairs: readonly FilePair[]) => ({ pairs: pairs.map(pairOf(set)), layout, labelMap: null });
  const specs = { training: spec("training", training), evaluation: spec("validation", validation ?? training) };
  const pictures = browserPictures(files);
  const decoder = new Decoder(specs, pictures, cacheLimit);
  const pool: DecodePool = {
    workers: 1,
    run: async <J extends Job>(job: J) => (await decoder.run(job)) as JobResults[J["kind"]],
    close: async () => {},
  };
  return { pool, training: new Dataset(specs.training, pictures, 0), evaluation: new Dataset(specs.evaluation, pictures, cacheLimit / 4) };
}

type RunSettings = LoopSettings & Parameters<typeof openBatchQueue>[1];

function settingsOf(request: TrainingRequest, layout: Layout, picture: Pick<Picture, "height" | "width">): RunSettings {
  const { steps, rate, scale, flip, color, validateEvery } = request;
  return {
    seed: 0,
    batch: layout.batch ?? Math.min(request.batch, request.training.length),
    size: cropSize(request.crop ?? undefined, layout, picture),
    augmentation: { scale, flip, color },
    schedule: { kind: "poly", rate, steps, warmup: Math.ceil(steps / 20) },
    validateEvery,
    saveEvery: Number.POSITIVE_INFINITY,
    patience: null,
  };
}

function readyMessage(
  { training, validation }: TrainingRequest,
  { manifest }: AttachResult,
  { backend, threads }: WebRuntime,
  settings: RunSettings,
): FromWorker {
  return {
    kind: "ready",
    backend,
    threads,
    trained: manifest.parameters.reduce((sum, { length }) => sum + length, 0),
    size: settings.size,
    batch: settings.batch,
    images: training.length,
    validationImages: validation?.length ?? null,
    classNames: manifest.classNames ?? manifest.classColours.map((_, i) => `class ${i}`),
    classColours: manifest.classColours,
  };
}

async function predictions(session: Session, state: Tensors, dataset: Dataset, multiple: number): Promise<Prediction[]> {
  const result: Prediction[] = [];
  for (const index of sampleIndices(dataset.size, shown)) {
    const { name, picture, label, prediction } =
      (await predictSample(session, state, dataset, index, multiple)) ?? bug("a picture that was measured on is gone");
    const bytes = (labels: ArrayLike<number>): Uint8Array => Uint8Array.from(labels);
    result.push({ name, width: picture.width, height: picture.height, picture: picture.rgb, label: bytes(label.labels), prediction: bytes(prediction.labels) });
  }
  return result;
}

/** A run of WebAssembly lets no message in; between two steps the page's are heard. */
function yielding(queue: ReturnType<typeof openBatchQueue>): typeof queue {
  return {
    async next() {
      await new Promise((resolve) => setTimeout(resolve, 0));
      return queue.next();
    },
    release: queue.release,
  };
}
