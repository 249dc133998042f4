/** The schema of `--config` files: the options of `attach` under the names of the library's `AttachOptions`. */

import { targets } from "../attach/options.ts";
import { providers } from "../ops/provider.ts";
import type { JsonSchema } from "./json-schema.ts";

const number: JsonSchema = { type: "number" };
const flag: JsonSchema = { type: "boolean" };
const text: JsonSchema = { type: "string" };
const numbers: JsonSchema = { type: "array", items: number, minItems: 1 };
const texts: JsonSchema = { type: "array", items: text, minItems: 1 };
const numbersOrNull: JsonSchema = { anyOf: [numbers, { type: "null" }] };

function choice(...values: readonly string[]): JsonSchema {
  return { type: "string", enum: values };
}

function object(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return { type: "object", properties, additionalProperties: false };
}

const minKept: JsonSchema = {
  description: "350000, 1/16 of all or of the valid pixels, or so many per image",
  anyOf: [{ type: "integer" }, text, object({ fraction: { anyOf: [number, text] }, of: choice("all", "valid") }), object({ perImage: { type: "integer" } })],
};

const lossSchema: JsonSchema = object({
  ce: object({
    weight: number,
    threshold: number,
    minKept,
    atCut: choice("exclude", "include"),
    budget: choice("batch", "image"),
    hardness: choice("probability", "loss"),
    mining: choice("on", "off"),
    classWeights: numbersOrNull,
    normalizer: choice("kept", "weights", "valid", "all"),
    labelSmoothing: number,
  }),
  lovasz: object({
    weight: number,
    classes: { anyOf: [choice("present", "all"), { type: "array", items: { type: "integer" }, minItems: 1 }] },
    perImage: flag,
    classWeights: numbersOrNull,
    ignore: choice("same", "none"),
    method: choice("exact", "histogram"),
    bins: { type: "integer" },
    binary: choice("hinge", "hinge-elu", "sigmoid"),
  }),
  ignoreIndex: { type: "integer" },
  upsample: choice("half_pixel", "align_corners"),
});

const optimizerSettings = {
  momentum: number,
  nesterov: flag,
  beta1: number,
  beta2: number,
  eps: number,
  weightDecay: number,
  clipNorm: number,
  ema: number,
};

const optimizer = object({
  kind: choice("sgd", "adamw"),
  ...optimizerSettings,
  decayExclude: texts,
  learningRateFactors: { type: "array", items: object({ pattern: text, factor: number }) },
});

const properties: Readonly<Record<string, JsonSchema>> = {
  $schema: text,
  logits: text,
  heads: { type: "array", items: object({ logits: text, name: text, weight: number, loss: lossSchema }) },
  classes: { type: "integer" },
  inputShapes: {
    type: "object",
    additionalProperties: { type: "array", items: { anyOf: [{ type: "integer" }, text] }, minItems: 1 },
  },
  labelSize: { anyOf: [choice("full", "logits"), { type: "array", items: { type: "integer" }, minItems: 2, maxItems: 2 }] },
  labelType: choice("auto", "uint8", "int32", "int64"),
  train: texts,
  freeze: texts,
  untie: texts,
  batchNorm: choice("frozen", "batch"),
  resetHead: { type: "integer" },
  seed: { type: "integer" },
  preset: text,
  loss: lossSchema,
  optimizer,
  classNames: texts,
  classColours: { type: "array", items: { type: "array", items: { type: "integer" }, minItems: 3, maxItems: 3 }, minItems: 1 },
  mean: numbers,
  std: numbers,
  channelOrder: choice("rgb", "bgr"),
  externalData: { type: "boolean" },
  target: choice(...targets),
  requiredOperators: flag,
  provider: choice(...providers),
  checkpointActivations: { type: "boolean" },
};

export const configSchema: JsonSchema & { readonly $schema: string; readonly title: string } = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "ohemgen attach --config",
  ...object(properties),
};

const size: JsonSchema = { anyOf: [{ type: "integer" }, text] };

/** What `emit` takes of it, and the sizes of its graph. */
export const emitSchema: JsonSchema & { readonly $schema: string; readonly title: string } = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "ohemgen emit --config",
  ...object({
    $schema: text,
    preset: text,
    loss: lossSchema,
    logitsShape: { type: "array", items: size, minItems: 4, maxItems: 4 },
    labelSize: { anyOf: [choice("full", "logits"), { type: "array", items: size, minItems: 2, maxItems: 2 }] },
    labelType: choice("auto", "uint8", "int32", "int64"),
    provider: choice(...providers),
    optimizer: object(optimizerSettings),
    parameters: size,
  }),
};
