/** Resampling. */

import { resizeGradient } from "../../ops/lowerings/resize-gradient.ts";
import { defineGradients } from "../registry.ts";

export const sampling = defineGradients({
  Resize: ({ op, x: [x], optional, dy, attrs }) => [resizeGradient(op, attrs, x, optional(2), dy)],
});
