/**
 * A window of a picture and its mask at a given size: scaled, shifted and mirrored in one resampling. What lies
 * outside the picture is the mean colour with the ignored label.
 */

import type { Random } from "../support/random.ts";
import { type ColourMap, luma, mapColours } from "./colour-jitter.ts";
import type { Mask, Picture } from "./masks.ts";

export interface Augmentation {
  /** Limits of the random scale, drawn evenly on a logarithmic axis. */
  readonly scale: readonly [low: number, high: number];
  /** Mirror every other sample. */
  readonly flip: boolean;
  /** Strength of the colour jitter, 0 for none: see `randomColours`. */
  readonly color: number;
}

export const noAugmentation: Augmentation = { scale: [1, 1], flip: false, color: 0 };

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
  { scale: [low, high], flip }: Omit<Augmentation, "color">,
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

export interface Normalization {
  readonly channels: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly channelOrder: "rgb" | "bgr";
}

/**
 * Writes the window as float32 planes `[C,height,width]` at `at`, bilinear, normalized as (x/255 − mean)/std.
 * Outside the picture the value is 0, the mean. `jitter` changes the colours before that.
 */
export function copyPixels(picture: Picture, window: Window, target: Float32Array, at: number, normalization: Normalization, jitter?: ColourMap): void {
  const { channels } = normalization;
  const { height, width } = window;
  const rows = sourceAxis(window.top, window.scale, height, picture.height, false);
  const columns = sourceAxis(window.left, window.scale, width, picture.width, window.flip);
  const planes = Array.from({ length: channels }, (_, channel) => planeOf(channel, normalization));
  const line = new Float64Array(width * 3);
  for (let y = 0; y < height; y++) {
    const inside = (rows.first[y] as number) >= 0;
    if (inside) sampleLine(picture, rows, y, columns, line);
    if (inside && jitter !== undefined) mapColours(line, jitter);
    for (let channel = 0; channel < channels; channel++) {
      const start = at + (channel * height + y) * width;
      if (inside) writeLine(line, columns.first, planes[channel] as Plane, target.subarray(start, start + width));
      else target.fill(0, start, start + width);
    }
  }
}

/** Value of a plane: `shift + red·r + green·g + blue·b`. */
interface Plane {
  readonly red: number;
  readonly green: number;
  readonly blue: number;
  readonly shift: number;
}

function planeOf(channel: number, { channels, mean, std, channelOrder }: Normalization): Plane {
  const deviation = std[channel] ?? std[0] ?? 1;
  const shift = -(mean[channel] ?? mean[0] ?? 0) / deviation;
  const factor = 1 / (255 * deviation);
  if (channels === 1) return { red: luma[0] * factor, green: luma[1] * factor, blue: luma[2] * factor, shift };
  const source = channelOrder === "bgr" ? 2 - channel : channel;
  const of = (index: number): number => (index === source ? factor : 0);
  return { red: of(0), green: of(1), blue: of(2), shift };
}

/** One row of the window in RGB, bilinear. */
function sampleLine({ rgb, width }: Picture, rows: Axis, y: number, columns: Axis, line: Float64Array): void {
  const upperRow = (rows.first[y] as number) * width;
  const lowerRow = (rows.second[y] as number) * width;
  const fy = rows.share[y] as number;
  for (let x = 0; x < columns.first.length; x++) {
    const x0 = columns.first[x] as number;
    if (x0 < 0) continue;
    const x1 = columns.second[x] as number;
    const fx = columns.share[x] as number;
    const [a, b, c, d] = [(upperRow + x0) * 3, (upperRow + x1) * 3, (lowerRow + x0) * 3, (lowerRow + x1) * 3];
    for (let channel = 0; channel < 3; channel++) {
      const upper = (rgb[a + channel] as number) * (1 - fx) + (rgb[b + channel] as number) * fx;
      const lower = (rgb[c + channel] as number) * (1 - fx) + (rgb[d + channel] as number) * fx;
      line[x * 3 + channel] = upper * (1 - fy) + lower * fy;
    }
  }
}

function writeLine(line: Float64Array, first: Int32Array, { red, green, blue, shift }: Plane, target: Float32Array): void {
  for (let x = 0; x < target.length; x++) {
    const [r, g, b] = [line[x * 3] as number, line[x * 3 + 1] as number, line[x * 3 + 2] as number];
    target[x] = (first[x] as number) < 0 ? 0 : shift + red * r + green * g + blue * b;
  }
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
