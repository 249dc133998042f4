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
export function* indices(dims: readonly number[]): Generator<number[]> {
  const [first, ...rest] = dims;
  if (first === undefined) yield [];
  else for (let i = 0; i < first; i++) for (const tail of indices(rest)) yield [i, ...tail];
}

export const at = (dims: readonly number[], index: readonly number[]) => dims.reduce((flat, dim, i) => flat * dim + (index[i] as number), 0);
