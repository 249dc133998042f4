/** The element type a tensor of a file has, also where the file does not say: found from what it is made of. */

import { type DataType, dataTypeName, isFloat } from "../ir/dtype.ts";
import type { Node, Value } from "../ir/graph.ts";
import { tensorOfConstant } from "../passes/convert/spelling.ts";

/** Position of the input whose type an operator's float outputs have, where it is not the first. */
const carriers: Readonly<Record<string, number>> = { Where: 1, OneHot: 2, CastLike: 1, DequantizeLinear: 1, If: -1, Loop: 2 };
/** Operators whose attribute names the type. */
const named: Readonly<Record<string, string>> = { Cast: "to", RandomNormal: "dtype", RandomUniform: "dtype", EyeLike: "dtype" };

/** The type of a float tensor: its own, else that of the tensor its node takes the type from; float32 where nothing says. */
export function floatTypeOf(value: Value, producers: ReadonlyMap<Value, Node>): DataType {
  let current: Value | undefined = value;
  for (let left = producers.size; current !== undefined && left >= 0; left--) {
    if (isFloat(current.dtype)) return current.dtype;
    const node = producers.get(current);
    if (node === undefined) break;
    const attribute = node.attributes[named[node.op] ?? ""];
    const told = attribute?.type === "int" ? dataTypeName(attribute.value) : tensorOfConstant(node.attributes)?.dtype;
    if (told !== undefined && isFloat(told)) return told;
    current = node.inputs[carriers[node.op] ?? 0];
  }
  return "float32";
}
