/** Every operator the builder can emit and whose types it infers, at opset 18. One entry per operator. */

import { declared } from "./catalog/declared.ts";
import { einsum } from "./catalog/einsum.ts";
import { elementwise } from "./catalog/elementwise.ts";
import { movement } from "./catalog/movement.ts";
import { network } from "./catalog/network.ts";
import { reduction } from "./catalog/reduction.ts";
import { sampling } from "./catalog/sampling.ts";
import { selection } from "./catalog/selection.ts";
import type { AttributesOf, OpSchema } from "./define.ts";

export const catalog = { ...elementwise, ...movement, ...selection, ...reduction, ...einsum, ...network, ...sampling, ...declared } as const;

export type OpName = keyof typeof catalog;
export type OpAttributes<K extends OpName> = AttributesOf<(typeof catalog)[K]["attrs"]>;

export function isKnownOp(op: string): op is OpName {
  return Object.hasOwn(catalog, op);
}

export function schemaOf(op: OpName): OpSchema {
  return catalog[op] as unknown as OpSchema;
}
