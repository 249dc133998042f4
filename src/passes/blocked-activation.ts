/** Activations that the runtime's convolution kernels apply while they write: those whose input nothing else reads. */

import type { Attribute, Attributes, Node, readersOf, Value } from "../ir/graph.ts";
import { tensorNumbers } from "../ir/tensor.ts";

export interface FusedActivation {
  readonly node: Node;
  /** What says so on the convolution. */
  readonly attributes: Attributes;
}

const floats = (value: readonly number[]): Attribute => ({ type: "floats", value });

const scalarOf = (value: Value | undefined): number | undefined => (value?.constant === undefined ? undefined : tensorNumbers(value.constant)[0]);

/** Parameters of an activation that a kernel can apply; `undefined` for any other node. */
function parametersOf({ op, domain, inputs, attributes }: Node): readonly number[] | undefined {
  if (domain !== "") return undefined;
  const number = (name: string, preset: number) => (attributes[name]?.value as number | undefined) ?? preset;
  switch (op) {
    case "Relu":
    case "Sigmoid":
    case "Tanh":
      return [];
    case "LeakyRelu":
      return [number("alpha", 0.01)];
    case "HardSigmoid":
      return [number("alpha", 0.2), number("beta", 0.5)];
    case "Clip": {
      const bounds = [scalarOf(inputs[1]), scalarOf(inputs[2])];
      return bounds.every((bound) => bound !== undefined) ? (bounds as number[]) : undefined;
    }
    default:
      return undefined;
  }
}

export function fusedActivation(node: Node, readers: ReturnType<typeof readersOf>, outputs: ReadonlySet<Value>): FusedActivation | undefined {
  const [value] = node.outputs;
  if (value === undefined || outputs.has(value)) return undefined;
  const reading = readers.get(value) ?? [];
  const [only] = reading;
  const parameters = only === undefined || reading.length !== 1 || only.index !== 0 ? undefined : parametersOf(only.node);
  if (only === undefined || parameters === undefined) return undefined;
  const attributes: Attributes = {
    activation: { type: "string", value: only.node.op },
    ...(parameters.length === 0 ? {} : { activation_params: floats(parameters) }),
  };
  return { node: only.node, attributes };
}
