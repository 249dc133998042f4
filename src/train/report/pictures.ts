/** Pictures in the report: small, with their masks, as data of the page itself. */

import { encode } from "fast-png";
import type { Colour } from "../../attach/colours.ts";
import type { Mask, Picture } from "../masks.ts";
import { shrunkSample } from "./shrink.ts";

/** Ready for the page: three images of one size as `data:` addresses. */
export interface SamplePicture {
  readonly name: string;
  /** Of the state that predicted. */
  readonly step: number;
  readonly width: number;
  readonly height: number;
  readonly picture: string;
  readonly label: string;
  readonly prediction: string;
  /** Share of the labelled pixels that are right; null without one. */
  readonly accuracy: number | null;
}

export interface Sample {
  readonly name: string;
  readonly step: number;
  readonly picture: Picture;
  readonly label: Mask;
  readonly prediction: Mask;
}

/** Pixels across: three beside each other fill a page. */
const mostAcross = 384;

/** Labels that are no class are shown in grey. */
const ignored = { index: 255, colour: [128, 128, 128] as Colour };

export function samplePicture(sample: Sample, colours: readonly Colour[]): SamplePicture {
  const { name, step } = sample;
  const { picture, label, prediction } = shrunkSample(sample, mostAcross);
  const { width, height, rgb } = picture;
  return {
    name,
    step,
    width,
    height,
    picture: dataAddress(encode({ width, height, data: rgb, channels: 3, depth: 8 })),
    label: maskAddress(label, colours),
    prediction: maskAddress(prediction, colours),
    accuracy: accuracyOf(sample, colours.length),
  };
}

function accuracyOf({ label, prediction }: Sample, classes: number): number | null {
  let labelled = 0;
  let right = 0;
  label.labels.forEach((wanted, i) => {
    if (wanted >= classes || wanted < 0) return;
    labelled += 1;
    if (prediction.labels[i] === wanted) right += 1;
  });
  return labelled === 0 ? null : right / labelled;
}

function dataAddress(png: Uint8Array): string {
  return `data:image/png;base64,${Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString("base64")}`;
}

function maskAddress({ width, height, labels }: Mask, colours: readonly Colour[]): string {
  const known = (label: number): boolean => label >= 0 && label < colours.length;
  if (colours.length > ignored.index) {
    const data = new Uint8Array(width * height * 3);
    labels.forEach((label, i) => data.set(known(label) ? (colours[label] as Colour) : ignored.colour, i * 3));
    return dataAddress(encode({ width, height, data, channels: 3, depth: 8 }));
  }
  const data = Uint8Array.from(labels, (label) => (known(label) ? label : ignored.index));
  const palette = Array.from({ length: 256 }, (_, i) => [...(colours[i] ?? ignored.colour)]);
  return dataAddress(encode({ width, height, data, channels: 1, depth: 8, palette }));
}
