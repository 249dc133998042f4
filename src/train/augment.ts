/**
 * A window of a picture and its mask at a given size: scaled, shifted and mirrored in one resampling. What lies
 * outside the picture is the mean colour with the ignored label.
 */

import type { Random } from "../support/random.ts";
import type { Mask, Picture } from "./images.ts";

export interface Augmentation {
  /** Limits of the random scale, drawn evenly on a logarithmic axis. */
  readonly scale: readonly [low: number, high: number];
  /** Mirror every other sample. */
  readonly flip: boolean;
}

export const noAugmentation: Augmentation = { scale: [1, 1], flip: false };

/** Source pixel of window pixel i: `offset + i / scale` (both counted from pixel centres), from the right if `flip`. */
export interface Window {
  readonly height: number;
  readonly width: number;
  readonly scale: number;
  readonly top: number;
  readonly left: number;
  readonly flip: boolean;
}

/** A window at a random place; a picture smaller than the window is shifted inside it. */
export function randomWindow(
  picture: { readonly width: number; readonly height: number },
  [height, width]: readonly [number, number],
  { scale: [low, high], flip }: Augmentation,
  random: Random,
): Window {
  // All are drawn in any case: the numbers that follow do not depend on the settings.
  const [u, v, w, mirror] = [random.next(), random.next(), random.next(), random.next()];
  const scale = low * (high / low) ** u;
  return {
    height,
    width,
    scale,
    top: Math.round(v * (picture.height - height / scale)),
    left: Math.round(w * (picture.width - width / scale)),
    flip: flip && mirror < 0.5,
  };
}

/** The window whose first pixel is (top, left) of the picture at its own scale. */
export function plainWindow(height: number, width: number, top = 0, left = 0): Window {
  return { height, width, scale: 1, top, left, flip: false };
}

/** Where `copyPixels` and `copyLabels` write: sample `index` of a batch. */
export interface Normalization {
  readonly channels: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly channelOrder: "rgb" | "bgr";
}

/**
 * Writes the window as float32 planes `[C,height,width]` at `at`, bilinear, normalized as (x/255 − mean)/std.
 * Outside the picture the value is 0, the mean.
 */
export function copyPixels(picture: Picture, window: Window, target: Float32Array, at: number, normalization: Normalization): void {
  const { channels, mean, std, channelOrder } = normalization;
  const { height, width } = window;
  const rows = sourceAxis(window.top, window.scale, height, picture.height, false);
  const columns = sourceAxis(window.left, window.scale, width, picture.width, window.flip);
  const sample = channels === 1 ? greyAt : rgbAt;
  for (let channel = 0; channel < channels; channel++) {
    const source = channelOrder === "bgr" && channels === 3 ? 2 - channel : channel;
    const shift = mean[channel] ?? mean[0] ?? 0;
    const factor = 1 / (std[channel] ?? std[0] ?? 1);
    for (let y = 0; y < height; y++) {
      const [y0, y1, fy] = [rows.first[y] as number, rows.second[y] as number, rows.share[y] as number];
      const line = at + (channel * height + y) * width;
      for (let x = 0; x < width; x++) {
        const x0 = columns.first[x] as number;
        if (y0 < 0 || x0 < 0) {
          target[line + x] = 0;
          continue;
        }
        const [x1, fx] = [columns.second[x] as number, columns.share[x] as number];
        const upper = sample(picture, y0, x0, source) * (1 - fx) + sample(picture, y0, x1, source) * fx;
        const lower = sample(picture, y1, x0, source) * (1 - fx) + sample(picture, y1, x1, source) * fx;
        target[line + x] = ((upper * (1 - fy) + lower * fy) / 255 - shift) * factor;
      }
    }
  }
}

function rgbAt({ rgb, width }: Picture, y: number, x: number, channel: number): number {
  return rgb[(y * width + x) * 3 + channel] as number;
}

/** Luma of ITU-R BT.601, as PIL's mode "L". */
function greyAt({ rgb, width }: Picture, y: number, x: number): number {
  const at = (y * width + x) * 3;
  return 0.299 * (rgb[at] as number) + 0.587 * (rgb[at + 1] as number) + 0.114 * (rgb[at + 2] as number);
}

/**
 * Writes the window of the mask as `size` labels at `at`, each the nearest one. The window is given in pixels of the
 * mask at the image's size; another label size samples it more coarsely.
 */
export function copyLabels(
  mask: Mask,
  window: Window,
  [height, width]: readonly [number, number],
  target: { [index: number]: number },
  at: number,
  ignored: number,
): void {
  const rows = nearestAxis(window.top, window.scale, height, window.height, mask.height, false);
  const columns = nearestAxis(window.left, window.scale, width, window.width, mask.width, window.flip);
  for (let y = 0; y < height; y++) {
    const row = rows[y] as number;
    for (let x = 0; x < width; x++) {
      const column = columns[x] as number;
      target[at + y * width + x] = row < 0 || column < 0 ? ignored : (mask.labels[row * mask.width + column] as number);
    }
  }
}

interface Axis {
  /** −1: outside the picture. */
  readonly first: Int32Array;
  readonly second: Int32Array;
  /** Weight of the second. */
  readonly share: Float64Array;
}

function sourceAxis(offset: number, scale: number, count: number, limit: number, flip: boolean): Axis {
  const axis = { first: new Int32Array(count), second: new Int32Array(count), share: new Float64Array(count) };
  for (let i = 0; i < count; i++) {
    const position = offset + ((flip ? count - 1 - i : i) + 0.5) / scale;
    const inside = position >= 0 && position < limit;
    const clamped = Math.min(Math.max(position - 0.5, 0), limit - 1);
    axis.first[i] = inside ? Math.floor(clamped) : -1;
    axis.second[i] = Math.min(Math.floor(clamped) + 1, limit - 1);
    axis.share[i] = clamped - Math.floor(clamped);
  }
  return axis;
}

function nearestAxis(offset: number, scale: number, count: number, windowSize: number, limit: number, flip: boolean): Int32Array {
  const axis = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const inWindow = (((flip ? count - 1 - i : i) + 0.5) * windowSize) / count;
    const position = Math.floor(offset + inWindow / scale);
    axis[i] = position >= 0 && position < limit ? position : -1;
  }
  return axis;
}
