/** A convolution in its cheapest form: as one node, by minimal filters, or in bands where windows reach far beyond the image. */

import { elementCount, isStatic } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import type { Provider } from "../provider.ts";
import { type BandForm, bandForms, type ConvInputs, cheapestForm, convolveInForm } from "./conv-bands.ts";
import { type ConvGeometry, convAttributes } from "./conv-geometry.ts";
import { type Kernel, wholeKernel } from "./conv-taps.ts";
import { convolveByWinograd, type WinogradForm, winogradCost, winogradForm, worthIt } from "./conv-winograd.ts";

/** What of a convolution's inputs its form is chosen by: their shapes. */
export type ConvSizes = Pick<ConvInputs, "x" | "kernel">;

export type ConvForm = "one node" | { readonly bands: BandForm } | { readonly winograd: WinogradForm };

/** Every form that a convolution has on a provider, chosen or not. */
export function convolutionForms(provider: Provider, geometry: ConvGeometry, sizes: ConvSizes): readonly ConvForm[] {
  const spatial = dimsOf(sizes.x).slice(2);
  const [, ...bands] = isStatic(spatial) && geometry.group === 1 ? bandForms(geometry, spatial) : [];
  const winograd = provider === "cpu" ? winogradForm(geometry, sizes) : undefined;
  return ["one node", ...bands.map((form) => ({ bands: form })), ...(winograd === undefined ? [] : [{ winograd }])];
}

/** Multiplications of the convolution as one node, for one image. */
function wholeCost({ line, vertical, group, image: [c], result }: WinogradForm): number {
  return (elementCount(result) * c * vertical.size * line.axis.size) / group;
}

/** The form that costs least on a provider. */
export function chooseConvolution(provider: Provider, geometry: ConvGeometry, sizes: ConvSizes): ConvForm {
  // Timed on the CPU; cuDNN has dilated kernels of its own, which were not.
  if (provider === "cuda" || !isStatic(dimsOf(sizes.kernel.w))) return "one node";
  const bands = cheapestForm(geometry, sizes);
  const winograd = provider === "cpu" ? winogradForm(geometry, sizes) : undefined;
  if (winograd !== undefined && winogradCost(winograd) < worthIt * (bands?.cost ?? wholeCost(winograd))) return { winograd };
  return bands === undefined ? "one node" : { bands: bands.form };
}

/** @param form one of `convolutionForms` */
export function convolveIn(op: OpBuilder, geometry: ConvGeometry, form: ConvForm, inputs: ConvInputs): Value {
  if (form === "one node") {
    const { x, kernel, bias } = inputs;
    const w = wholeKernel(op, kernel);
    return op.emit("Conv", bias === undefined ? [x, w] : [x, w, bias], convAttributes(geometry));
  }
  return "winograd" in form ? convolveByWinograd(op, form.winograd, inputs) : convolveInForm(op, geometry, form.bands, inputs);
}

/** @param x `[N, C, …]` */
export function convolve(op: OpBuilder, geometry: ConvGeometry, x: Value, kernel: Kernel): Value {
  const inputs = { x, kernel };
  return convolveIn(op, geometry, chooseConvolution(op.provider, geometry, inputs), inputs);
}
