/** What the graphs demand of a batch: sizes, types and normalization, read from the manifest once. */

import type { Manifest, Preprocessing, TensorInfo } from "../attach/manifest.ts";
import { OhemgenError } from "../support/errors.ts";

export type LabelType = "uint8" | "int32" | "int64";

/** `null`: the graph takes any size. */
export interface Layout {
  readonly imageInput: string;
  readonly batch: number | null;
  readonly channels: number;
  readonly height: number | null;
  readonly width: number | null;
  /** Size of the labels where it is fixed and not the image's. */
  readonly labelSize: readonly [height: number, width: number] | null;
  readonly labelType: LabelType;
  readonly classes: number;
  readonly ignoreIndex: number;
  /** How logits are brought to the size of the labels. */
  readonly upsample: "half_pixel" | "align_corners";
  readonly preprocessing: Preprocessing;
}

/** @throws OhemgenError E416 where images cannot be fed to these graphs. */
export function layoutOf(manifest: Pick<Manifest, "graphs" | "ortTraining" | "heads" | "options" | "preprocessing">): Layout {
  const inputs = manifest.graphs?.train_step.inputs ?? manifest.ortTraining?.userInputs ?? unsuitable("there are none");
  const images = inputs.filter(({ role }) => role === "image");
  const labels = inputs.find(({ role }) => role === "labels");
  const [image] = images;
  if (image === undefined || labels === undefined || images.length > 1) return unsuitable(`they have ${images.length} image inputs`);
  const [batch = null, channels = null, height = null, width = null] = image.shape;
  if (image.shape.length !== 4 || image.type !== "float32") return unsuitable(`input "${image.name}" is ${describe(image)}`);
  if (typeof channels !== "number" || (channels !== 1 && channels !== 3)) return unsuitable(`input "${image.name}" has ${channels} channels`);
  const classes = manifest.heads[0]?.classes ?? unsuitable("they have no head");
  return {
    imageInput: image.name,
    batch: numberOrNull(batch),
    channels,
    height: numberOrNull(height),
    width: numberOrNull(width),
    labelSize: labelSizeOf(labels, height, width),
    labelType: labels.type as LabelType,
    classes: Math.max(2, classes),
    ignoreIndex: mainLoss(manifest).ignoreIndex ?? 255,
    upsample: mainLoss(manifest).upsample ?? "half_pixel",
    preprocessing: manifest.preprocessing,
  };
}

function numberOrNull(dim: number | string | null): number | null {
  return typeof dim === "number" ? dim : null;
}

function labelSizeOf({ shape }: TensorInfo, height: number | string | null, width: number | string | null): Layout["labelSize"] {
  const [, labelHeight = null, labelWidth = null] = shape;
  if (labelHeight === height && labelWidth === width) return null;
  if (typeof labelHeight === "number" && typeof labelWidth === "number") return [labelHeight, labelWidth];
  // The loss takes labels of any size that is not below the logits'; the image's own always is.
  return null;
}

function mainLoss({ options }: Pick<Manifest, "options">): { readonly ignoreIndex?: number; readonly upsample?: "half_pixel" | "align_corners" } {
  const [main] = (options.heads ?? []) as readonly { readonly loss?: ReturnType<typeof mainLoss> }[];
  return main?.loss ?? {};
}

function describe({ type, shape }: TensorInfo): string {
  return `${type}[${shape.map((dim) => dim ?? "?").join(",")}]`;
}

function unsuitable(reason: string): never {
  throw new OhemgenError(`these graphs do not take pictures: ${reason}`, {
    code: "E416",
    hint: "Training here needs one float32 image input [N,C,H,W] with 1 or 3 channels; write a loop of your own for other inputs.",
  });
}
