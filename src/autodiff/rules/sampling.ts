/** Resampling. */

import { gridOptions, gridSampleGradients } from "../../ops/lowerings/grid-sample.ts";
import { resizeGradient } from "../../ops/lowerings/resize-gradient.ts";
import { roiAlignGradient } from "../../ops/lowerings/roi-align-gradient.ts";
import { defineGradients } from "../registry.ts";

export const sampling = defineGradients({
  Resize: ({ op, x: [x], optional, dy, attrs }) => [resizeGradient(op, attrs, x, { scales: optional(2), sizes: optional(3) }, dy)],
  GridSample({ op, x: [x, grid], dy, attrs, needs }) {
    const gradients = gridSampleGradients(op, x, grid, dy, gridOptions(attrs), { x: needs(0), grid: needs(1) });
    return [gradients.x, gradients.grid];
  },
  // Regions are detections: no gradient flows to them, as in torchvision.
  RoiAlign: ({ op, x: [x, regions, pictures], dy, attrs }) => [roiAlignGradient(op, attrs, x, regions, pictures, dy)],
});
