/** The size of training crops, which the graphs, the user or the pictures decide, in this order. */

import { usageError } from "../support/errors.ts";
import type { Layout } from "./layout.ts";
import { sizeMultiple } from "./tiles.ts";

/**
 * The graph's size; where it takes any, what was asked for, or the picture's rounded down.
 * @throws OhemgenError E002 where the graph takes no such crops
 */
export function cropSize(
  asked: readonly [height: number, width: number] | undefined,
  { height, width }: Pick<Layout, "height" | "width">,
  picture: { readonly height: number; readonly width: number },
): readonly [height: number, width: number] {
  if (asked !== undefined) {
    if ((height !== null && asked[0] !== height) || (width !== null && asked[1] !== width)) {
      throw usageError(
        `crops of ${asked[0]} × ${asked[1]}: these graphs take pictures of ${height ?? "any"} × ${width ?? "any"}`,
        "Leave the crop out, or attach with --input-shape to change the graphs.",
      );
    }
    return asked;
  }
  const rounded = (size: number): number => Math.max(sizeMultiple, Math.floor(size / sizeMultiple) * sizeMultiple);
  return [height ?? rounded(picture.height), width ?? rounded(picture.width)];
}
