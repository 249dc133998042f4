/** How gradient rules are written, and the registry of all of them: one entry per operator, by family. */

import type { Node, Value } from "../ir/graph.ts";
import type { OpBuilder } from "../ops/builder.ts";
import type { OpAttributes, OpName } from "../ops/catalog.ts";

type AtLeastFive = readonly [Value, Value, Value, Value, Value, ...Value[]];

export interface RuleContext<K extends OpName = OpName> {
  readonly op: OpBuilder;
  readonly node: Node;
  /** Inputs the operator cannot do without; optional ones are read with `optional`. */
  readonly x: AtLeastFive;
  readonly optional: (index: number) => Value | undefined;
  readonly y: AtLeastFive;
  /** Gradient at the first output. */
  readonly dy: Value;
  /** Gradient at each output; `undefined` where nothing arrives. */
  readonly dys: readonly (Value | undefined)[];
  readonly attrs: OpAttributes<K>;
  /** Whether a gradient at this input is used. */
  readonly needs: (index: number) => boolean;
  /** The scalar 0, made from a gradient: what adds it waits for that gradient. */
  readonly after: (...gradients: readonly Value[]) => Value;
  /**
   * The scalar 0, made from the weight gradient computed last: what compares with it waits for that gradient. Masks and
   * recomputed statistics use it, because the runtime would otherwise make them all first and keep them alive.
   */
  readonly zero: () => Value;
  /** The value, which waits as what compares with `zero` does; for what has no operand to take a zero. */
  readonly later: (value: Value) => Value;
}

/**
 * One gradient per input, or `undefined` where none flows. A gradient may come in the broadcast shape: the engine
 * reduces it to the shape of its input and adds up what arrives over several edges.
 */
export type GradientRule<K extends OpName = OpName> = (context: RuleContext<K>) => readonly (Value | undefined)[];

/** Piecewise constant, or integers only: the gradient is zero wherever it exists. */
export const nonDifferentiable = "nonDifferentiable";

export type Gradients = { readonly [K in OpName]?: GradientRule<K> | typeof nonDifferentiable };

/** Gives every rule the types of its operator's attributes. */
export function defineGradients(rules: Gradients): Gradients {
  return rules;
}
