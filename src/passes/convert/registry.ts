/**
 * Converters bring a node of any opset from 7 on to its spelling at opset 18. An operator without a converter is
 * spelled the same in all of them.
 */

import type { Node, Value } from "../../ir/graph.ts";
import type { OpBuilder } from "../../ops/builder.ts";

/** Which statistics BatchNormalization takes: stored ones, those of the batch, or what the attributes of the node say. */
export type BatchNormMode = "frozen" | "batch" | "file";

export interface ConvertContext {
  readonly op: OpBuilder;
  /** The node as the file has it. */
  readonly node: Node;
  /** Its inputs in the new graph. */
  readonly x: readonly (Value | undefined)[];
  readonly input: (index: number) => Value;
  readonly int: (name: string, otherwise: number) => number;
  readonly ints: (name: string) => readonly number[] | undefined;
  readonly float: (name: string, otherwise: number) => number;
  readonly string: (name: string, otherwise: string) => string;
  /** Opset of the file for the node's domain. */
  readonly version: number;
  /** Emits the node as it stands, with these changes. */
  readonly same: (changes?: { inputs?: readonly (Value | undefined)[]; attrs?: Readonly<Record<string, unknown>>; op?: string }) => readonly Value[];
  /** Number of nodes and outputs that read a value of the file. */
  readonly readers: (value: Value | undefined) => number;
  readonly batchNorm: BatchNormMode;
  /** Records new running statistics, made by a BatchNormalization in batch mode. */
  readonly updateStatistic: (source: Value, next: Value) => void;
}

/** One value per output of the node; `undefined` where nobody reads it. */
export type Converter = (context: ConvertContext) => readonly (Value | undefined)[];

export function defineConverters(converters: Readonly<Record<string, Converter>>): Readonly<Record<string, Converter>> {
  return converters;
}
