/** How a model file is fed and read for plain inference: from its own inputs and outputs, and the manifest if there is one. */

import { logitsCandidates } from "../attach/logits.ts";
import type { Manifest, Preprocessing } from "../attach/manifest.ts";
import { readModelFile } from "../files/model-file.ts";
import type { Dim } from "../ir/dims.ts";
import type { Graph, Value } from "../ir/graph.ts";
import { typeText } from "../ir/graph.ts";
import { OhemgenError } from "../support/errors.ts";
import { layoutOf } from "../train/layout.ts";
import type { InferenceModel } from "../train/predict.ts";
import { openSession, type Provider, runtimeTensor } from "../train/session.ts";
import { sizeMultipleOf } from "../train/size-multiple.ts";

export interface InferenceOptions {
  /** Of the training folder that the model belongs to. */
  readonly manifest?: Manifest | undefined;
  readonly preprocessing: Preprocessing;
  readonly threads?: number | undefined;
  readonly provider?: Provider | undefined;
}

export async function openInference(path: string, { manifest, preprocessing, threads = 0, provider = "cpu" }: InferenceOptions): Promise<InferenceModel> {
  const { graph } = readModelFile(path).model;
  const image = imageInput(graph, path);
  const [batch, channels, height, width] = image.shape as readonly Dim[];
  if (channels !== 1 && channels !== 3) throw unsuitable(path, `its input ${image.name} is ${typeText(image)}`);
  const fixed = (dim: Dim | undefined): number | null => (typeof dim === "number" ? dim : null);
  const size = { batch: fixed(batch), channels, height: fixed(height), width: fixed(width) };
  const session = await openSession(path, { threads, provider });
  const multiple = await sizeMultipleOf(size, async (h, w) => {
    const dims = [size.batch ?? 1, channels, h, w];
    await session.run(new Map([[image.name, await runtimeTensor(new Float32Array(dims.reduce((product, dim) => product * dim)), dims)]]));
  });
  return {
    session,
    input: image.name,
    ...size,
    multiple,
    ...outputToRead(graph, manifest?.heads[0]?.logits, path),
    preprocessing,
    upsample: manifest === undefined ? "half_pixel" : layoutOf(manifest).upsample,
  };
}

function imageInput(graph: Graph, path: string): Value {
  const images = graph.inputs.filter(({ shape, dtype }) => shape?.length === 4 && dtype === "float32");
  const [image] = images;
  if (image === undefined || graph.inputs.length !== 1)
    throw unsuitable(path, `its inputs are ${graph.inputs.map((value) => `${value.name} ${typeText(value)}`).join(", ")}`);
  return image;
}

/** The logits if they are an output, else the output that is made from them. */
function outputToRead(graph: Graph, logits: string | undefined, path: string): { output: string; threshold: number } {
  const direct = graph.outputs.find(({ name }) => name === logits);
  if (direct !== undefined) return { output: direct.name, threshold: 0 };
  const candidates = logitsCandidates(graph);
  const [chosen] = logits === undefined ? candidates : candidates.filter(({ value }) => value.name === logits);
  const output = chosen?.output ?? graph.outputs[0]?.name;
  if (output === undefined) throw unsuitable(path, "it has no output");
  return { output, threshold: chosen?.value.name === output ? 0 : 0.5 };
}

function unsuitable(path: string, reason: string): OhemgenError {
  return new OhemgenError(`${path} cannot be run on pictures: ${reason}`, {
    code: "E416",
    where: path,
    hint: "One float32 input [N,C,H,W] with 1 or 3 channels is needed.",
  });
}
