/** Gradient cases, and the models made of them: one node, its constants as initializers. */

import type { DataType } from "../../src/ir/dtype.ts";
import type { Attribute, Attributes, Model, Value } from "../../src/ir/graph.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import type { Provider } from "../../src/ops/provider.ts";
import type { Operand } from "./operands.ts";

export interface Case {
  readonly op: string;
  /** What the case is about. */
  readonly about?: string;
  readonly inputs: readonly (Operand | undefined)[];
  readonly attrs?: Readonly<Record<string, unknown>>;
  /** Opset of the file (default 18). */
  readonly opset?: number;
  readonly outputs?: number;
  /** Providers whose lowerings differ. */
  readonly providers?: readonly Provider[];
  /** Static only, with the reason. */
  readonly staticOnly?: string;
  /** The finite difference runs the normalized model, with the reason: the runtime cannot run the node itself. */
  readonly viaNormalized?: string;
}

export type Form = "static" | "symbolic";

export interface BuiltCase {
  readonly model: Model;
  /** By position of the operand. */
  readonly values: readonly (Value | undefined)[];
}

const floatNames = new Set([
  "alpha",
  "beta",
  "gamma",
  "epsilon",
  "lambd",
  "bias",
  "value",
  "cubic_coeff_a",
  "extrapolation_value",
  "spatial_scale",
  "momentum",
  "ratio",
  "scale",
  "softcap",
  "delta",
]);
const floatLists = new Set(["scales", "value_floats"]);

function attributeOf(name: string, value: unknown): Attribute {
  if (typeof value === "string") return { type: "string", value };
  if (typeof value === "number") return { type: floatNames.has(name) || !Number.isInteger(value) ? "float" : "int", value };
  if (Array.isArray(value) && typeof value[0] === "string") return { type: "strings", value };
  if (Array.isArray(value)) return { type: floatLists.has(name) ? "floats" : "ints", value };
  return { type: "tensor", value: value as Tensor };
}

export function attributesOf(attrs: Readonly<Record<string, unknown>>): Attributes {
  return Object.fromEntries(Object.entries(attrs).map(([name, value]) => [name, attributeOf(name, value)]));
}

/** The case as a file would hold it; the types of the outputs once they are known. */
export function buildCase(given: Case, tensors: readonly (Tensor | undefined)[], form: Form, types: readonly DataType[] = []): BuiltCase {
  const values = given.inputs.map((operand, i): Value | undefined => {
    if (operand === undefined) return undefined;
    const { dtype, dims, role, fixed } = operand;
    if (role === "constant") return { name: `input${i}`, dtype, shape: dims, constant: tensors[i] as Tensor };
    const symbolic = form === "symbolic" && role !== "parameter";
    return { name: `input${i}`, dtype, shape: symbolic ? dims.map((dim, axis) => (fixed.includes(axis) ? dim : `d${i}_${axis}`)) : dims };
  });
  const outputs = Array.from({ length: given.outputs ?? 1 }, (_, i): Value => ({ name: `output${i}`, dtype: types[i] ?? "undefined", shape: undefined }));
  const known = values.filter((value) => value !== undefined);
  const model: Model = {
    irVersion: 8,
    opsets: new Map([["", given.opset ?? 18]]),
    producer: { name: "test", version: "" },
    functions: [],
    graph: {
      name: "case",
      inputs: known.filter((value) => value.constant === undefined),
      initializers: known.filter((value) => value.constant !== undefined),
      outputs: outputs.map((value) => ({ name: value.name, value })),
      nodes: [{ op: given.op, domain: "", name: given.op, inputs: values, outputs, attributes: attributesOf(given.attrs ?? {}) }],
    },
  };
  return { model, values };
}

export function caseName({ op, about, opset }: Case): string {
  return [op, about, opset === undefined ? undefined : `opset ${opset}`].filter((part) => part !== undefined).join(", ");
}
