/** What is known about every operator: its family, and whether it has a gradient. Told by the registries themselves. */

import { type GradientRule, nonDifferentiable } from "../autodiff/registry.ts";
import { families, gradients } from "../autodiff/rules.ts";
import type { Node } from "../ir/graph.ts";
import { catalog, isKnownOp } from "../ops/catalog.ts";
import { converters } from "../passes/convert.ts";

/**
 * `rule`: has a gradient. `declared`: piecewise constant or without meaning for a gradient, which is zero.
 * `decomposed`: becomes other operators at normalization. `missing`: read and written, but a gradient cannot pass.
 * `unknown`: kept as it is.
 */
export type OperatorState = "rule" | "declared" | "decomposed" | "missing" | "unknown";

export interface OperatorInfo {
  readonly op: string;
  readonly family: string;
  readonly state: OperatorState;
  /** Older or newer spellings are brought to opset 18. */
  readonly converted: boolean;
}

function stateOf(op: string): OperatorState {
  const rule = isKnownOp(op) ? (gradients[op] as GradientRule | typeof nonDifferentiable | undefined) : undefined;
  if (rule === nonDifferentiable) return "declared";
  if (rule !== undefined) return "rule";
  if (Object.hasOwn(converters, op)) return "decomposed";
  return isKnownOp(op) ? "missing" : "unknown";
}

export function operatorState(node: Pick<Node, "op" | "domain">): OperatorState {
  return node.domain === "" ? stateOf(node.op) : "unknown";
}

/** Every operator of the registry, the catalog and the converters, by name. */
export function operatorTable(): readonly OperatorInfo[] {
  const ops = new Set([...Object.keys(catalog), ...Object.keys(gradients), ...Object.keys(converters)]);
  return [...ops].sort().map((op) => ({
    op,
    family: Object.entries(families).find(([, rules]) => Object.hasOwn(rules, op))?.[0] ?? "",
    state: stateOf(op),
    converted: Object.hasOwn(converters, op),
  }));
}
