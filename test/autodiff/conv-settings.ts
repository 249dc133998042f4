/** The convolutions of the case table as geometries, for tests of every lowering. */

import { windowAxes } from "../../src/ops/catalog/network.ts";
import { type ConvGeometry, extent } from "../../src/ops/lowerings/conv-geometry.ts";
import { convolution } from "./cases/convolution.ts";

export interface Setting {
  readonly about: string;
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly dy: readonly number[];
  readonly geometry: ConvGeometry;
}

export const settings: readonly Setting[] = convolution
  .filter(({ op, attrs }) => op === "Conv" && attrs?.["auto_pad"] === undefined)
  .map(({ about, inputs, attrs }) => {
    const given = (attrs ?? {}) as Record<string, readonly number[]>;
    const [x, w] = [inputs[0]?.dims as readonly number[], inputs[1]?.dims as readonly number[]];
    const axes = windowAxes({ auto_pad: "NOTSET", dilations: given["dilations"], pads: given["pads"], strides: given["strides"] }, w.slice(2));
    const spatial = axes.map((axis, i) => Math.floor(((x[i + 2] as number) + axis.padBegin + axis.padEnd - extent(axis)) / axis.stride) + 1);
    const group = (attrs?.["group"] as number | undefined) ?? 1;
    return { about: about as string, x, w, dy: [x[0] as number, w[0] as number, ...spatial], geometry: { axes, group } };
  });

/** All index tuples below `dims`. */
function* indices(dims: readonly number[]): Generator<number[]> {
  const [first, ...rest] = dims;
  if (first === undefined) yield [];
  else for (let i = 0; i < first; i++) for (const tail of indices(rest)) yield [i, ...tail];
}

const at = (dims: readonly number[], index: readonly number[]) => dims.reduce((flat, dim, i) => flat * dim + (index[i] as number), 0);

/** Flat indices of the elements that meet in each product: y[n,m,o] has Σ of w[m,c,k]·x[n, g·C/G + c, o·s + k·d - p], m in group g. */
export function* products({ x, w, dy, geometry: { axes, group } }: Setting): Generator<{ readonly x: number; readonly w: number; readonly dy: number }> {
  const [m, perGroup] = w as [number, number];
  for (const [channel, c, ...k] of indices(w) as Generator<[number, number, ...number[]]>) {
    const input = Math.floor(channel / (m / group)) * perGroup + c;
    for (const [n, ...o] of indices([dy[0] as number, ...dy.slice(2)]) as Generator<[number, ...number[]]>) {
      const position = axes.map((axis, i) => (o[i] as number) * axis.stride + (k[i] as number) * axis.dilation - axis.padBegin);
      if (position.some((element, i) => element < 0 || element >= (x[i + 2] as number))) continue;
      yield { x: at(x, [n, input, ...position]), w: at(w, [channel, c, ...k]), dy: at(dy, [n, channel, ...o]) };
    }
  }
}
