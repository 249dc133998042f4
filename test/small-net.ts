/** A network of two convolutions for 32 × 32 pictures and three classes, and pictures whose classes it can learn: for devices that are slow. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "fast-png";
import type { Model } from "../src/ir/graph.ts";
import { encodeModel } from "../src/proto/encode.ts";
import { loadModel } from "../src/proto/load.ts";
import { randomStream } from "../src/support/random.ts";
import { constant, graphOf, modelOf, node, value } from "./passes/compare.ts";

const side = 32;
const classes = 3;

/** Image [1,3,H,W] → logits [1,3,H/2,W/2], of 32 × 32 pixels or `anySize`. */
export function smallNet(anySize = false): Model {
  const random = randomStream(7);
  const weights = (name: string, dims: readonly number[]) => {
    const fanIn = dims.slice(1).reduce((a, b) => a * b, 1);
    const count = dims.reduce((a, b) => a * b, 1);
    return constant(
      name,
      "float32",
      dims,
      Array.from({ length: count }, () => random.between(-1, 1) / Math.sqrt(fanIn)),
    );
  };
  const size = anySize ? ["H", "W"] : [side, side];
  const [image, hidden, active] = [value("image", "float32", [1, 3, ...size]), value("hidden"), value("active")];
  const logits = value("logits", "float32", [1, classes, ...(anySize ? ["h", "w"] : [side / 2, side / 2])]);
  const convolution = (stride: number) => ({ attrs: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [stride, stride] } });
  const nodes = [
    node("Conv", [image, weights("first.weight", [6, 3, 3, 3]), weights("first.bias", [6])], [hidden], convolution(2)),
    node("Relu", [hidden], [active]),
    node("Conv", [active, weights("last.weight", [classes, 6, 3, 3]), weights("last.bias", [classes])], [logits], convolution(1)),
  ];
  // As a file: there its weights are initializers.
  return loadModel(encodeModel(modelOf(graphOf([image], nodes, [logits]))));
}

export interface SmallData {
  readonly folder: string;
  /** Files; the pictures are in the folders `images` and `masks`. */
  readonly model: string;
  readonly anySize: string;
  readonly images: readonly string[];
  readonly masks: readonly string[];
}

/** The network and `count` pictures as files. */
export function writeSmallData(folder: string, count: number): SmallData {
  const written = { folder, model: join(folder, "small.onnx"), anySize: join(folder, "any-size.onnx"), images: [] as string[], masks: [] as string[] };
  writeFileSync(written.model, encodeModel(smallNet()));
  writeFileSync(written.anySize, encodeModel(smallNet(true)));
  for (const kind of ["images", "masks"] as const) mkdirSync(join(folder, kind));
  for (let i = 0; i < count; i++) {
    const pair = bandPicture(i);
    for (const kind of ["images", "masks"] as const) {
      written[kind].push(join(folder, kind, `band-${i}.png`));
      writeFileSync(join(folder, kind, `band-${i}.png`), pair[kind]);
    }
  }
  return written;
}

/** PNG files: three bands of red, green and blue, their borders and noise different in each; the band is the class. */
function bandPicture(index: number): { readonly images: Uint8Array; readonly masks: Uint8Array } {
  const random = randomStream(8, index);
  const [first, second] = [6 + random.below(8), 18 + random.below(8)];
  const data = new Uint8Array(side * side * 3);
  const labels = new Uint8Array(side * side);
  for (let i = 0; i < labels.length; i++) {
    const row = Math.floor(i / side);
    const label = row < first ? 0 : row < second ? 1 : 2;
    labels[i] = label;
    for (let channel = 0; channel < 3; channel++) data[i * 3 + channel] = (channel === label ? 160 : 40) + random.below(60);
  }
  const size = { width: side, height: side, depth: 8 } as const;
  return { images: encode({ ...size, channels: 3, data }), masks: encode({ ...size, channels: 1, data: labels }) };
}
