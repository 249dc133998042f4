/** The loss flags, shared by `attach` and `emit`, and what they mean as options of the loss. */

import { parseMinKept } from "../loss/fraction.ts";
import { type LossOptions, presets } from "../loss/options.ts";
import type { OptionSpecs, Values } from "./command.ts";
import { parseNumber, wrongValue } from "./values.ts";

const group = "Loss";

export const lossFlags = {
  preset: { kind: "text", group, choices: Object.keys(presets), describe: "settings of published code; other flags win", preset: "default" },
  threshold: { kind: "number", group, describe: "a pixel whose class has a lower score is hard", preset: "0.6" },
  "min-kept": { kind: "text", group, describe: "keep at least: 350000 | 1/16 | 1/16@valid | 100000@image", preset: "1/16" },
  "at-cut": { kind: "text", group, choices: ["exclude", "include"], describe: "pixels exactly at the cut", preset: "exclude" },
  budget: { kind: "text", group, choices: ["batch", "image"], describe: "rank all images together or each by itself", preset: "batch" },
  hardness: { kind: "text", group, choices: ["probability", "loss"], describe: "what pixels are ranked by", preset: "probability" },
  mining: { kind: "text", group, choices: ["on", "off"], describe: "off: every labelled pixel counts", preset: "on" },
  normalizer: { kind: "text", group, choices: ["kept", "weights", "valid", "all"], describe: "what the cross-entropy is divided by", preset: "kept" },
  "class-weights": { kind: "numbers", group, describe: "weight of each class in the cross-entropy, with commas" },
  "label-smoothing": { kind: "number", group, describe: "share of the target spread over all classes", preset: "0" },
  "ignore-index": { kind: "integer", group, describe: "label of pixels to leave out", preset: "255" },
  "align-corners": { kind: "flag", group, describe: "upsample the logits with aligned corners" },
  ce: { kind: "number", group, describe: "weight of the cross-entropy", preset: "1" },
  lovasz: { kind: "number", group, describe: "weight of the Lovász term", preset: "1" },
  "lovasz-method": { kind: "text", group, choices: ["exact", "histogram"], describe: "sort, or count into bins", preset: "exact" },
  "lovasz-bins": { kind: "integer", group, describe: "bins of the histogram", preset: "1024" },
  "lovasz-classes": { kind: "text", group, describe: "classes averaged: present | all | 0,1,3", preset: "present" },
  "lovasz-per-image": { kind: "flag", group, describe: "each image by itself" },
  "lovasz-ignore": { kind: "text", group, choices: ["same", "none"], describe: "none: ignored pixels are background", preset: "same" },
  "lovasz-class-weights": { kind: "numbers", group, describe: "weight of each class in the Lovász term" },
  "lovasz-binary": { kind: "text", group, choices: ["hinge", "hinge-elu", "sigmoid"], describe: "form for one-channel heads", preset: "hinge" },
} as const satisfies OptionSpecs;

/** Only what was given. */
export function lossFromFlags(values: Values<typeof lossFlags>): LossOptions {
  const upsample = values["align-corners"] === undefined ? undefined : values["align-corners"] ? "align_corners" : "half_pixel";
  return given({
    ce: given({
      weight: values.ce,
      threshold: values.threshold,
      minKept: values["min-kept"] === undefined ? undefined : parseMinKept(values["min-kept"]),
      atCut: values["at-cut"],
      budget: values.budget,
      hardness: values.hardness,
      mining: values.mining,
      normalizer: values.normalizer,
      classWeights: values["class-weights"],
      labelSmoothing: values["label-smoothing"],
    }),
    lovasz: given({
      weight: values.lovasz,
      method: values["lovasz-method"],
      bins: values["lovasz-bins"],
      classes: lovaszClasses(values["lovasz-classes"]),
      perImage: values["lovasz-per-image"],
      ignore: values["lovasz-ignore"],
      classWeights: values["lovasz-class-weights"],
      binary: values["lovasz-binary"],
    }),
    ignoreIndex: values["ignore-index"],
    upsample,
  });
}

function lovaszClasses(text: string | undefined): "present" | "all" | number[] | undefined {
  if (text === undefined || text === "present" || text === "all") return text;
  return text.split(",").map((part) => {
    const index = parseNumber(part.trim());
    if (index === undefined) throw wrongValue("lovasz-classes", text, "Expected is present, all, or class numbers with commas between.");
    return index;
  });
}

/** The entries that are set: an option left out must not hide a preset or a file's value. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined && !isEmpty(value));
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}
