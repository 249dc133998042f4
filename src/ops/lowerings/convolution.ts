/** A convolution in its cheapest form: as one node, or in bands where windows reach far beyond the image. */

import type { Value } from "../../ir/graph.ts";
import type { OpBuilder } from "../builder.ts";
import { convolutionInBands } from "./conv-bands.ts";
import { type ConvGeometry, convAttributes } from "./conv-geometry.ts";
import { type Kernel, wholeKernel } from "./conv-taps.ts";

/** @param x `[N, C, …]` */
export function convolve(op: OpBuilder, geometry: ConvGeometry, x: Value, kernel: Kernel): Value {
  // Timed on the CPU; cuDNN has dilated kernels of its own, which were not.
  const bands = op.provider === "cuda" ? undefined : convolutionInBands(op, geometry, { x, kernel });
  return bands ?? op.emit("Conv", [x, wholeKernel(op, kernel)], convAttributes(geometry));
}
