/** Prediction of a folder of images, with an exported model or with a training folder's checkpoint. */

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Colour, classColours } from "../attach/colours.ts";
import type { Manifest } from "../attach/manifest.ts";
import { writeStagedFolder } from "../files/staged-folder.ts";
import { readTrainingFolder } from "../files/training-folder.ts";
import { overlay } from "../train/colours.ts";
import { readPicture } from "../train/disk-pictures.ts";
import { decodePicture, encodePicture } from "../train/images.ts";
import { encodeMask } from "../train/masks.ts";
import { listImages } from "../train/pairing.ts";
import { type InferenceModel, predictPicture } from "../train/predict.ts";
import type { Provider } from "../train/session.ts";
import { paddedNote } from "../train/size-multiple.ts";
import { exportModel, stateAt, trainedTensors } from "./export-file.ts";
import { openInference } from "./inference.ts";
import type { Output } from "./output.ts";

export interface PredictionRequest {
  readonly images: string;
  readonly out: string;
  readonly force: boolean;
  readonly checkpoint: string | undefined;
  readonly mean: readonly number[] | undefined;
  readonly std: readonly number[] | undefined;
  readonly channelOrder: "rgb" | "bgr" | undefined;
  readonly threads: number | undefined;
  readonly provider: Provider | undefined;
}

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], channelOrder: "rgb" } as const;

/** Returns the number of images. */
export async function predictFolder(source: string, request: PredictionRequest, output: Output): Promise<number> {
  const images = listImages(request.images);
  await writeStagedFolder(request.out, ["masks", "overlays"], { force: request.force }, async (write) => {
    await withModel(
      source,
      request,
      (text) => output.note(text),
      async (model, colours) => {
        let done = 0;
        for (const [stem, path] of images) {
          const picture = await decodePicture(await readPicture(path), path);
          const mask = await predictPicture(model, picture);
          write(`masks/${stem}.png`, encodeMask(mask, colours));
          write(`overlays/${stem}.png`, await encodePicture(overlay(picture, mask, colours)));
          output.progress(`predicted ${++done}/${images.size} images`, { last: done === images.size });
        }
      },
    );
  });
  return images.size;
}

async function withModel(
  source: string,
  request: PredictionRequest,
  note: (text: string) => void,
  work: (model: InferenceModel, colours: readonly Colour[]) => Promise<void>,
): Promise<void> {
  const { mean, std, channelOrder, threads, provider, checkpoint } = request;
  const open = async (path: string, manifest?: Manifest): Promise<void> => {
    const recorded = manifest?.preprocessing ?? imagenet;
    const preprocessing = { mean: mean ?? recorded.mean, std: std ?? recorded.std, channelOrder: channelOrder ?? recorded.channelOrder };
    const model = await openInference(path, { manifest, preprocessing, threads, provider });
    try {
      if (model.multiple > 1) note(paddedNote);
      await work(
        model,
        classColours(256).map((colour, i) => manifest?.classColours[i] ?? colour),
      );
    } finally {
      await model.session.close();
    }
  };
  if (!statSync(source, { throwIfNoEntry: false })?.isDirectory()) return open(source);
  const folder = readTrainingFolder(source);
  const temporary = mkdtempSync(join(tmpdir(), "ohemgen-"));
  try {
    const path = join(temporary, "model.onnx");
    exportModel(folder, trainedTensors(folder.manifest, stateAt(folder, checkpoint)), path, { force: false });
    await open(path, folder.manifest);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
