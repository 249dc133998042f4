/** A network of two convolutions for 32 × 32 pictures and three classes, and pictures whose classes it can learn: for devices that are slow. */

import { encode } from "fast-png";
import type { Model } from "../src/ir/graph.ts";
import { randomStream } from "../src/support/random.ts";
import { constant, graphOf, modelOf, node, value } from "./passes/compare.ts";

const side = 32;
export const classes = 3;

/** Image [1,3,32,32] → logits [1,3,16,16]. */
export function smallNet(): Model {
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
  const [image, hidden, active, logits] = [
    value("image", "float32", [1, 3, side, side]),
    value("hidden", "float32", [1, 6, side / 2, side / 2]),
    value("active", "float32", [1, 6, side / 2, side / 2]),
    value("logits", "float32", [1, classes, side / 2, side / 2]),
  ];
  const convolution = (stride: number) => ({ attrs: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [stride, stride] } });
  const nodes = [
    node("Conv", [image, weights("first.weight", [6, 3, 3, 3]), weights("first.bias", [6])], [hidden], convolution(2)),
    node("Relu", [hidden], [active]),
    node("Conv", [active, weights("last.weight", [classes, 6, 3, 3]), weights("last.bias", [classes])], [logits], convolution(1)),
  ];
  return modelOf(graphOf([image], nodes, [logits]));
}

export interface PicturePair {
  readonly name: string;
  readonly image: Uint8Array;
  readonly mask: Uint8Array;
}

/** PNG files: three bands of red, green and blue, their borders and noise different in each; the band is the class. */
export function bandPictures(count: number): PicturePair[] {
  return Array.from({ length: count }, (_, index) => {
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
    return { name: `band-${index}.png`, image: encode({ ...size, channels: 3, data }), mask: encode({ ...size, channels: 1, data: labels }) };
  });
}
