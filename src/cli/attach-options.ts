/** The flags of `attach` and the `--config` file, made into the library's `AttachOptions`; flags win. */

import { type AttachOptions, type HeadOptions, targets } from "../attach/options.ts";
import { providers } from "../ops/provider.ts";
import { usageError } from "../support/errors.ts";
import type { OptionSpecs, Values } from "./command.ts";
import { configOf, merged, readOptionFile } from "./config.ts";
import { configSchema } from "./config-schema.ts";
import { given, lossFlags, lossFromFlags } from "./loss-options.ts";
import { optimizerFlags, optimizerSettingsFromFlags } from "./optimizer-options.ts";
import { parseNumber, wrongValue } from "./values.ts";

const where = "Where the loss goes";
const what = "What is trained";
const optimizer = "Optimizer";
const form = "Form";
const record = "Recorded for the trainer";

export const attachFlags = {
  logits: { kind: "text", group: where, describe: "tensor with the logits; found by itself if there is one candidate" },
  aux: { kind: "list", group: where, describe: "further head: NAME or NAME=WEIGHT", preset: "weight 0.4" },
  classes: { kind: "integer", group: where, describe: "number of classes, checked", min: 1 },
  "input-shape": { kind: "list", group: where, describe: "sizes of an input: NAME=2,3,512,1024; a name keeps a size dynamic" },
  "label-size": { kind: "text", group: where, describe: "size of the labels: full | logits | H,W", preset: "full" },
  "label-type": { kind: "text", group: where, choices: ["auto", "uint8", "int32", "int64"], describe: "type of the labels", preset: "auto" },
  train: { kind: "list", group: what, describe: "train only tensors that match a pattern" },
  freeze: { kind: "list", group: what, describe: "do not train tensors that match a pattern" },
  untie: { kind: "list", group: what, describe: "separate tensors that several nodes read: one parameter per node" },
  bn: { kind: "text", group: what, choices: ["frozen", "batch"], describe: "statistics of batch normalization", preset: "frozen" },
  "reset-head": { kind: "integer", group: what, describe: "fresh last layers for so many classes", min: 1 },
  seed: { kind: "integer", group: what, describe: "of the numbers that --reset-head draws", min: 0, preset: "0" },
  ...lossFlags,
  optimizer: { kind: "text", group: optimizer, choices: ["sgd", "adamw"], describe: "as in torch.optim", preset: "sgd" },
  ...optimizerFlags,
  "decay-exclude": { kind: "list", group: optimizer, describe: "patterns of tensors without decay", preset: "those of one dimension" },
  "lr-mult": { kind: "list", group: optimizer, describe: "PATTERN=10: factor on the learning rate" },
  target: {
    kind: "text",
    group: form,
    choices: targets,
    describe: "graphs for any runtime | for ONNX Runtime's on-device training API 1.19.2 | both",
    preset: "stock",
  },
  for: { kind: "text", group: form, choices: providers, describe: "execution provider that operators are chosen for", preset: "any" },
  "checkpoint-activations": { kind: "flag", group: form, describe: "less memory, more time: make cheap activations again in the backward pass" },
  "external-data": { kind: "flag", group: form, describe: "large tensors in files of their own, NAME.onnx.data", preset: "from 1.5 GB on" },
  "required-operators": { kind: "flag", group: form, describe: "list the operators in a file too, for a reduced build of ONNX Runtime" },
  "class-names": { kind: "text", group: record, describe: "file with a class name per line, and its colour if you like: road #804080" },
  mean: { kind: "numbers", group: record, describe: "mean per channel, of pixels from 0 to 1", preset: "ImageNet's" },
  std: { kind: "numbers", group: record, describe: "standard deviation per channel", preset: "ImageNet's" },
  "channel-order": { kind: "text", group: record, choices: ["rgb", "bgr"], describe: "order of the channels", preset: "rgb" },
  config: { kind: "text", describe: "JSON file with any of these options; flags win" },
} as const satisfies OptionSpecs;

export type AttachValues = Values<typeof attachFlags>;

export function attachOptions(values: AttachValues): AttachOptions {
  const flags: AttachOptions = given({
    logits: values.logits,
    heads: values.aux?.map(parseAux),
    classes: values.classes,
    inputShapes: values["input-shape"] === undefined ? undefined : Object.fromEntries(values["input-shape"].map(parseInputShape)),
    labelSize: parseLabelSize(values["label-size"]),
    labelType: values["label-type"],
    train: values.train,
    freeze: values.freeze,
    untie: values.untie,
    batchNorm: values.bn,
    resetHead: values["reset-head"],
    seed: values.seed,
    preset: values.preset,
    loss: lossFromFlags(values) as Readonly<Record<string, unknown>>,
    optimizer: optimizerFromFlags(values),
    ...(values["class-names"] === undefined ? {} : readClassNames(values["class-names"])),
    mean: values.mean,
    std: values.std,
    channelOrder: values["channel-order"],
    externalData: values["external-data"],
    target: values.target,
    requiredOperators: values["required-operators"],
    provider: values.for,
    checkpointActivations: values["checkpoint-activations"],
  });
  return values.config === undefined ? flags : (merged(configOf(values.config, configSchema), flags) as AttachOptions);
}

function optimizerFromFlags(values: AttachValues): NonNullable<AttachOptions["optimizer"]> {
  return given({
    kind: values.optimizer,
    ...optimizerSettingsFromFlags(values),
    decayExclude: values["decay-exclude"],
    learningRateFactors: values["lr-mult"]?.map(parseFactor),
  });
}

/** `NAME=0.4`; a name may itself hold `=`, as long as no number follows. */
function parseAux(text: string): HeadOptions {
  const at = text.lastIndexOf("=");
  const weight = at < 0 ? undefined : parseNumber(text.slice(at + 1));
  return weight === undefined ? { logits: text } : { logits: text.slice(0, at), weight };
}

function parseFactor(text: string): { pattern: string; factor: number } {
  const at = text.lastIndexOf("=");
  const factor = at < 1 ? undefined : parseNumber(text.slice(at + 1));
  if (factor === undefined) throw wrongValue("lr-mult", text, "Expected is PATTERN=FACTOR, such as 'head.*=10'.");
  return { pattern: text.slice(0, at), factor };
}

export function parseInputShape(text: string): [string, (number | string)[]] {
  const at = text.lastIndexOf("=");
  if (at < 1) throw wrongValue("input-shape", text, "Expected is NAME=SIZES, such as input=2,3,512,1024.");
  return [text.slice(0, at), parseSizes("input-shape", text.slice(at + 1))];
}

/** Sizes with commas between; a word names a dynamic one. */
export function parseSizes(option: string, text: string, count?: number): (number | string)[] {
  const sizes = text.split(",").map((part) => parseSize(part.trim()));
  if (sizes.includes(undefined) || (count !== undefined && sizes.length !== count)) {
    throw wrongValue(option, text, `Expected are ${count ?? "the"} sizes with commas between: numbers, or names of dynamic ones.`);
  }
  return sizes as (number | string)[];
}

function parseSize(text: string): number | string | undefined {
  if (/^\d+$/.test(text)) return Number(text) > 0 && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
  return /^[A-Za-z_]\w*$/.test(text) ? text : undefined;
}

function parseLabelSize(text: string | undefined): AttachOptions["labelSize"] | undefined {
  if (text === undefined || text === "full" || text === "logits") return text;
  const [height, width, ...more] = text.split(",").map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : undefined));
  if (!height || !width || more.length > 0) throw wrongValue("label-size", text, "Expected is full, logits, or H,W such as 512,1024.");
  return [height, width];
}

/** One class per line, `name` or `name #rrggbb`; colours for all or for none. */
export function readClassNames(path: string): Pick<AttachOptions, "classNames" | "classColours"> {
  const lines = readOptionFile("class-names", path)
    .split(/\r?\n/)
    .map((line) => line.trim());
  while (lines.at(-1) === "") lines.pop();
  const classes = lines.map((line) => /^(?<name>.*?)(\s+#(?<colour>[\da-f]{6}))?$/i.exec(line)?.groups ?? {});
  const classNames = classes.map(({ name = "" }) => name);
  if (classNames.length === 0 || classNames.includes("")) {
    throw usageError(`${path}: a class has no name`, "One name per line, in the order of the classes.");
  }
  const coloured = classes.filter(({ colour }) => colour !== undefined);
  if (coloured.length === 0) return { classNames };
  if (coloured.length < classes.length) throw usageError(`${path}: some classes have a colour and some have none`, "Give all of them one, or none.");
  return { classNames, classColours: classes.map(({ colour = "" }) => colourOf(Number.parseInt(colour, 16))) };
}

function colourOf(packed: number): readonly [number, number, number] {
  return [packed >> 16, (packed >> 8) & 255, packed & 255];
}
