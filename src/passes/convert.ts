/** All converters by operator, and the operators that can only be refused. */

import { attention } from "./convert/attention.ts";
import { decoders } from "./convert/decoders.ts";
import { functions } from "./convert/functions.ts";
import { layers } from "./convert/layers.ts";
import { norms } from "./convert/norms.ts";
import { padding } from "./convert/padding.ts";
import { pooling } from "./convert/pooling.ts";
import { quantization } from "./convert/quantization.ts";
import { recurrent } from "./convert/recurrent.ts";
import type { Converter } from "./convert/registry.ts";
import { sampling } from "./convert/sampling.ts";
import { sequences } from "./convert/sequences.ts";
import { spelling } from "./convert/spelling.ts";

export const converters: Readonly<Record<string, Converter>> = {
  ...spelling,
  ...functions,
  ...padding,
  ...norms,
  ...layers,
  ...pooling,
  ...sampling,
  ...attention,
  ...decoders,
  ...quantization,
  ...recurrent,
  ...sequences,
};

/** Came after opset 18 and have no decomposition here. */
export const newerOperators: ReadonlySet<string> = new Set(["BitCast", "ImageDecoder", "RegexFullMatch", "StringConcat", "StringSplit"]);
