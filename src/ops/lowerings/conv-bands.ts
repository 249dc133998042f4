/**
 * A convolution in bands: where windows reach far beyond the image, as those of dilated kernels on small maps do, positions
 * that see the same taps of the kernel are convolved together with those taps alone. No product with padding is made.
 */

import { elementCount, isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { type ConvGeometry, combinations, convAttributes, extent, type WindowAxis } from "./conv-geometry.ts";
import { cutOut, type Interval, type Kernel, lengthOf, tapsOf } from "./conv-taps.ts";

/** Positions of the result along an axis with the taps that they see, the elements that those read, and padding left to them. */
interface Band {
  readonly positions: Interval;
  readonly taps: Interval;
  readonly elements: Interval;
  readonly pads: readonly [number, number];
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, each) => all + each, 0);

const resultSize = (axis: WindowAxis, size: number) => size + axis.padBegin + axis.padEnd - extent(axis) + 1;

/** Taps that lie inside an axis of `size` elements: position + tap·dilation - padBegin ∈ [0, size). */
function tapsInside(axis: WindowAxis, size: number, position: number): Interval {
  const start = position - axis.padBegin;
  const begin = Math.max(0, Math.ceil(-start / axis.dilation));
  return { begin, end: Math.max(begin, Math.min(axis.size, Math.floor((size - 1 - start) / axis.dilation) + 1)) };
}

/** The axis as one band, with its padding. */
function wholeAxis(axis: WindowAxis, size: number): readonly Band[] {
  const positions = { begin: 0, end: resultSize(axis, size) };
  return [{ positions, taps: { begin: 0, end: axis.size }, elements: { begin: 0, end: size }, pads: [axis.padBegin, axis.padEnd] }];
}

/** The bands of an axis in order, without padding; they cover it. */
function bandsOf(axis: WindowAxis, size: number): readonly Band[] {
  const runs: { positions: Interval; taps: Interval }[] = [];
  for (let at = 0; at < resultSize(axis, size); at++) {
    const taps = tapsInside(axis, size, at);
    const before = runs.at(-1);
    if (before?.taps.begin === taps.begin && before.taps.end === taps.end) runs[runs.length - 1] = { taps, positions: { ...before.positions, end: at + 1 } };
    else runs.push({ taps, positions: { begin: at, end: at + 1 } });
  }
  return runs.map(({ positions, taps }) => {
    const begin = positions.begin + taps.begin * axis.dilation - axis.padBegin;
    const end = positions.end + (taps.end - 1) * axis.dilation - axis.padBegin;
    return { positions, taps, elements: { begin, end }, pads: [0, 0] };
  });
}

/**
 * What copying an element takes, in multiplications: it runs on one thread and waits for memory. Measured on two cores in a
 * step of DeepLabV3-R50: 1.15 ns an element for a Slice, 137 multiplications a nanosecond for the products of what it cut.
 */
export const copyCost = 150;

/** Multiplications and copies, as multiplications, for one image. */
function costOf(sizes: readonly number[], kernel: readonly number[], [m, c]: readonly [number, number], axes: readonly (readonly Band[])[]): number {
  const results = m * elementCount(axes.map((bands) => sum(bands.map(({ positions }) => lengthOf(positions)))));
  let multiplications = 0;
  let copied = results * axes.filter((bands) => bands.length > 1).length;
  for (const bands of combinations(axes)) {
    const taps = elementCount(bands.map((band) => lengthOf(band.taps)));
    const elements = elementCount(bands.map((band) => lengthOf(band.elements)));
    multiplications += m * c * taps * elementCount(bands.map(({ positions }) => lengthOf(positions)));
    if (taps < elementCount(kernel)) copied += m * c * taps;
    if (elements < elementCount(sizes)) copied += c * elements;
  }
  return multiplications + copyCost * copied;
}

/** Bands per axis. */
export type BandForm = readonly (readonly Band[])[];

/**
 * Every axis whole or in bands; the first form is the convolution as it is. None where a stride is not 1, where a pad cuts, or
 * where a position sees padding alone.
 *
 * @param sizes of the image, per spatial axis
 */
export function bandForms({ axes }: ConvGeometry, sizes: readonly number[]): readonly BandForm[] {
  const along = axes.map((axis, i) => ({ axis, size: sizes[i] as number }));
  if (along.some(({ axis, size }) => axis.stride !== 1 || axis.padBegin < 0 || axis.padEnd < 0 || resultSize(axis, size) <= 0)) return [];
  const forms = along.map(({ axis, size }) => [wholeAxis(axis, size), bandsOf(axis, size)]);
  return forms.some((form) => form[1]?.some(({ taps }) => lengthOf(taps) === 0)) ? [] : combinations(forms);
}

export interface CostedForm {
  readonly form: BandForm;
  /** Multiplications, and copies in their terms, for one image. */
  readonly cost: number;
}

/** The form that costs least; `undefined` where that is the convolution as it is. */
export function cheapestForm(geometry: ConvGeometry, { x, kernel: { w } }: Pick<ConvInputs, "x" | "kernel">): CostedForm | undefined {
  const sizes = dimsOf(x).slice(2);
  const [m, c] = dimsOf(w);
  if (geometry.group !== 1 || !isStatic(sizes) || typeof m !== "number" || typeof c !== "number") return undefined;
  // A window that meets padding in a fifth of its positions at most meets it with less than a tenth of its taps.
  if (geometry.axes.every(({ padBegin, padEnd }, i) => padBegin + padEnd <= (sizes[i] as number) / 5)) return undefined;
  const kernel = geometry.axes.map(({ size }) => size);
  const [whole, ...others] = bandForms(geometry, sizes).map((form) => ({ form, cost: costOf(sizes, kernel, [m, c], form) }));
  if (whole === undefined) return undefined;
  const best = others.reduce((least, each) => (each.cost < least.cost ? each : least), whole);
  return best === whole ? undefined : best;
}

export interface ConvInputs {
  readonly x: Value;
  readonly kernel: Kernel;
  /** `[M]` */
  readonly bias?: Value | undefined;
}

/** @param form one of `bandForms` */
export function convolveInForm(op: OpBuilder, geometry: ConvGeometry, form: BandForm, { x, kernel, bias }: ConvInputs): Value {
  const one = (bands: readonly Band[]): Value => {
    const part = cutOut(
      op,
      x,
      bands.map(({ elements }) => elements),
    );
    const taps = tapsOf(op, { kernel, intervals: bands.map((band) => band.taps) });
    const axes = geometry.axes.map((axis, i) => {
      const { taps: along, pads } = bands[i] as Band;
      return { ...axis, size: lengthOf(along), padBegin: pads[0], padEnd: pads[1] };
    });
    return op.emit("Conv", bias === undefined ? [part, taps] : [part, taps, bias], convAttributes({ ...geometry, axes }));
  };
  const joined = (chosen: readonly Band[]): Value => {
    const bands = form[chosen.length];
    if (bands === undefined) return one(chosen);
    const parts = bands.map((band) => joined([...chosen, band]));
    return parts.length === 1 ? (parts[0] as Value) : op.concat(parts, chosen.length + 2);
  };
  return joined([]);
}
