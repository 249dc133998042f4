/** Folders of images and masks, and what their masks mean, as options name them. */

import type { DatasetSpec } from "../train/dataset.ts";
import { builtInMaps, checkLabelMap, type LabelMap, parseLabelMap } from "../train/label-map.ts";
import type { Layout } from "../train/layout.ts";
import { pairFiles } from "../train/pairing.ts";
import { readOptionFile } from "./config.ts";
import { plural } from "./table.ts";

export interface DataFolders {
  readonly images: string;
  readonly masks: string;
}

/** `--label-map cityscapes | voc | FILE.json`. @throws OhemgenError E100, E417. */
export function labelMapOption(value: string | undefined): LabelMap | null {
  if (value === undefined) return null;
  return builtInMaps.get(value) ?? parseLabelMap(readOptionFile("label-map", value), value);
}

/** @throws OhemgenError E410, E411 (folders, pairs), E417 (a label map for another number of classes). */
export function openData({ images, masks }: DataFolders, layout: Layout, labelMap: LabelMap | null, warn: (text: string) => void): DatasetSpec {
  if (labelMap !== null) checkLabelMap(labelMap, layout.classes);
  const { pairs, unusedMasks } = pairFiles(images, masks, labelMap?.name === "cityscapes" ? "cityscapes" : "plain");
  if (unusedMasks.length > 0) {
    warn(`${plural(unusedMasks.length, "mask")} in ${masks} without an image, not used: ${unusedMasks.slice(0, 3).join(", ")}`);
  }
  return { pairs, layout, labelMap };
}
