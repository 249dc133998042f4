/** Pictures in the report: small, with their masks, as data of the page itself. */

import { encode } from "fast-png";
import type { Colour } from "../../attach/colours.ts";
import type { Mask, Picture } from "../masks.ts";

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

/** Up to `most` numbers below `size`, evenly apart and the same every time. */
export function sampleIndices(size: number, most = 6): readonly number[] {
  const number = Math.min(size, most);
  return Array.from({ length: number }, (_, i) => Math.floor(((i + 0.5) * size) / number));
}

export function samplePicture({ name, step, picture, label, prediction }: Sample, colours: readonly Colour[]): SamplePicture {
  const factor = Math.max(1, Math.ceil(picture.width / mostAcross));
  const [width, height] = [Math.ceil(picture.width / factor), Math.ceil(picture.height / factor)];
  let labelled = 0;
  let right = 0;
  label.labels.forEach((wanted, i) => {
    if (wanted >= colours.length || wanted < 0) return;
    labelled += 1;
    if (prediction.labels[i] === wanted) right += 1;
  });
  return {
    name,
    step,
    width,
    height,
    picture: dataAddress(encode({ width, height, data: averaged(picture, factor, width, height), channels: 3, depth: 8 })),
    label: maskAddress(label, factor, width, height, colours),
    prediction: maskAddress(prediction, factor, width, height, colours),
    accuracy: labelled === 0 ? null : right / labelled,
  };
}

function dataAddress(png: Uint8Array): string {
  return `data:image/png;base64,${Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString("base64")}`;
}

/** Means of squares of `factor` pixels: what is left out of a photograph must not alias. */
function averaged({ width: across, height: down, rgb }: Picture, factor: number, width: number, height: number): Uint8Array {
  if (factor === 1) return rgb;
  const result = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [right, bottom] = [Math.min(across, (x + 1) * factor), Math.min(down, (y + 1) * factor)];
      const area = (right - x * factor) * (bottom - y * factor);
      for (let channel = 0; channel < 3; channel++) {
        let total = 0;
        for (let j = y * factor; j < bottom; j++) for (let i = x * factor; i < right; i++) total += rgb[(j * across + i) * 3 + channel] as number;
        result[(y * width + x) * 3 + channel] = Math.round(total / area);
      }
    }
  }
  return result;
}

/** The label in the middle of each square: a mean of classes is no class. */
function maskAddress({ width: across, height: down, labels }: Mask, factor: number, width: number, height: number, colours: readonly Colour[]): string {
  const at = (x: number, y: number): number =>
    labels[Math.min(down - 1, y * factor + (factor >> 1)) * across + Math.min(across - 1, x * factor + (factor >> 1))] as number;
  const known = (label: number): boolean => label >= 0 && label < colours.length;
  if (colours.length > ignored.index) {
    const data = new Uint8Array(width * height * 3);
    for (let i = 0; i < width * height; i++) {
      const label = at(i % width, Math.floor(i / width));
      data.set(known(label) ? (colours[label] as Colour) : ignored.colour, i * 3);
    }
    return dataAddress(encode({ width, height, data, channels: 3, depth: 8 }));
  }
  const data = Uint8Array.from({ length: width * height }, (_, i) => {
    const label = at(i % width, Math.floor(i / width));
    return known(label) ? label : ignored.index;
  });
  const palette = Array.from({ length: 256 }, (_, i) => [...(colours[i] ?? ignored.colour)]);
  return dataAddress(encode({ width, height, data, channels: 1, depth: 8, palette }));
}
