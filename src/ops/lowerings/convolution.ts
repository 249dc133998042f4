/** A convolution in its cheapest form: as one node, or in bands where windows reach far beyond the image. */

import type { Value } from "../../ir/graph.ts";
import type { OpBuilder } from "../builder.ts";
import { convolutionInBands } from "./conv-bands.ts";
import { type ConvGeometry, convAttributes } from "./conv-geometry.ts";

/** @param x `[N, C, …]`, w `[M, C/g, k…]` */
export function convolve(op: OpBuilder, geometry: ConvGeometry, x: Value, w: Value): Value {
  // Timed on the CPU; cuDNN has dilated kernels of its own, which were not.
  const bands = op.provider === "cuda" ? undefined : convolutionInBands(op, geometry, { x, w });
  return bands ?? op.emit("Conv", [x, w], convAttributes(geometry));
}
