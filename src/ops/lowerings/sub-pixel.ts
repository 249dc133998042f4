/**
 * A transposed convolution of stride s as a convolution of stride 1 on the small input: the s·s phases of the result are
 * channels, set side by side and cut. No product is scattered, and none is made that is thrown away.
 */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { ConvGeometry } from "./conv-geometry.ts";
import { oneHotKernels } from "./pool-windows.ts";

export interface TransposedConvolution {
  readonly x: Value;
  /** `[C, M, kh, kw]` */
  readonly w: Value;
  /** `[M]` */
  readonly bias?: Value | undefined;
  readonly outputPadding?: readonly number[] | undefined;
}

/** Pixels of the interleaved result behind the last one wanted: with T = k/s taps per phase it ends at s·(size(x) - 1 + T). */
function cutEnds({ axes }: ConvGeometry, outputPadding: readonly number[] | undefined): readonly number[] {
  return axes.map(({ padEnd }, i) => padEnd - (outputPadding?.[i] ?? 0));
}

/**
 * Whether the form exists without a product by zero: two axes of equal stride s, kernels of a whole number of strides,
 * one group. Other kernels would be filled up with zeros: (s·⌈k/s⌉/k)² times the products, 16/9 for 3×3 with stride 2.
 */
export function hasSubPixelForm(geometry: ConvGeometry, w: Value, outputPadding?: readonly number[]): boolean {
  const { axes, group } = geometry;
  const stride = axes[0]?.stride ?? 1;
  const whole = axes.every((axis) => axis.stride === stride && axis.dilation === 1 && axis.size % stride === 0);
  const channels = dimsOf(w).slice(0, 2);
  return (
    group === 1 &&
    axes.length === 2 &&
    stride > 1 &&
    whole &&
    channels.every((dim) => typeof dim === "number") &&
    axes.every((axis) => axis.padBegin >= 0) &&
    cutEnds(geometry, outputPadding).every((rest) => rest >= 0)
  );
}

/**
 * Result o of a transposed convolution lies at q = o + padBegin = s·u + r; phase r at u is Σ_t x[u - t]·w[r + s·t].
 *
 * @param geometry one for which `hasSubPixelForm` holds
 * @returns `[N, M, H, W]`, equal to ConvTranspose to rounding
 */
export function subPixelConvolution(op: OpBuilder, geometry: ConvGeometry, { x, w, bias, outputPadding }: TransposedConvolution): Value {
  const { axes } = geometry;
  const stride = axes[0]?.stride ?? 1;
  const [c, m] = dimsOf(w) as [number, number];
  const [th, tw] = axes.map((axis) => axis.size / stride) as [number, number];
  // [C, M, T, s, T, s], tap t of phase r at t·s + r; a convolution reads x[u - (T - 1) + j], so taps are turned round.
  const taps = op.reshape(w, [c, m, th, stride, tw, stride]);
  const reversed = [
    { axis: 2, size: th },
    { axis: 4, size: tw },
  ].filter(({ size }) => size > 1);
  const turned =
    reversed.length === 0
      ? taps
      : op.slice(
          taps,
          reversed.map(({ axis }) => ({ axis, start: -1, step: -1 })),
        );
  const phases = op.reshape(op.transpose(turned, [1, 3, 5, 0, 2, 4]), [m * stride * stride, c, th, tw]);
  const shared = bias === undefined ? [] : [op.reshape(op.expand(op.unsqueeze(bias, [1]), op.ints([m, stride * stride])), [m * stride * stride])];
  const pads = [th - 1, tw - 1, th - 1, tw - 1];
  const small = op.emit("Conv", [x, phases, ...shared], { dilations: [1, 1], group: 1, kernel_shape: [th, tw], pads, strides: [1, 1] });
  return sideBySide(op, small, m, stride, [...axes.map(({ padBegin }) => padBegin), ...cutEnds(geometry, outputPadding)]);
}

/**
 * The phases of each channel as its pixels, without those in the margins. On the CPU as a transposed convolution with a one
 * at each phase's place: it takes half the time of DepthToSpace, which moves single elements there, and cuts as it goes.
 */
function sideBySide(op: OpBuilder, phases: Value, channels: number, stride: number, margins: readonly number[]): Value {
  if (op.provider !== "cpu") {
    const full = op.emit("DepthToSpace", [phases], { blocksize: stride, mode: "CRD" });
    const half = margins.length / 2;
    const cut = Array.from({ length: half }, (_, i) => {
      const [begin, end] = [margins[i] as number, margins[i + half] as number];
      return { axis: i + 2, start: begin, ...(end === 0 ? {} : { end: -end }) };
    }).filter(({ start, end }) => start > 0 || end !== undefined);
    return cut.length === 0 ? full : op.slice(full, cut);
  }
  const kernel = oneHotKernels(op, [stride, stride], channels);
  return op.emit("ConvTranspose", [phases, kernel], {
    dilations: [1, 1],
    group: channels,
    kernel_shape: [stride, stride],
    pads: margins,
    strides: [stride, stride],
  });
}
