/** Set-up of the tests of `--reset-head`: how many classes from which seed, small models, and what `export` makes of them. */

import { headEdits } from "../../src/attach/reset-head.ts";
import { type Tensor, tensorOf } from "../../src/ir/tensor.ts";
import { editModel } from "../../src/proto/edit.ts";
import { loadModel } from "../../src/proto/load.ts";
import { bytesOf, floats, info, modelBytes, node, type Plain } from "../proto/build.ts";
import { openSession, toRuntime } from "../run-graph.ts";

export const classes = 5;
export const seed = 3;

/** What `export` writes of a state that was not trained. */
export function exported(bytes: Uint8Array, heads: readonly string[], n = classes): Uint8Array {
  return editModel(bytes, headEdits(loadModel(bytes), heads, { classes: n, seed }));
}

export function constants(bytes: Uint8Array): Map<string, Tensor> {
  const { graph } = loadModel(bytes);
  const found = new Map(graph.initializers.map((value) => [value.name, value.constant as Tensor]));
  for (const { op, outputs, attributes } of graph.nodes) {
    if (op === "Constant" && attributes.value?.type === "tensor") found.set(outputs[0]?.name ?? "", attributes.value.value);
  }
  return found;
}

export const int = (name: string, i: number): Plain => ({ name, i, type: 2 });
export const list = (name: string, values: readonly number[]): Plain => ({ name, ints: [...values], type: 7 });
export const sizes = (name: string, values: readonly number[]): Plain => ({
  name,
  dims: [values.length],
  dataType: 7,
  rawData: bytesOf(BigInt64Array.from(values, BigInt)),
});
export const learned = (name: string, dims: number[]): Plain => {
  const count = dims.reduce((a, b) => a * b, 1);
  return floats(
    name,
    dims,
    Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1))),
  );
};

/** image [2,3,8,8] → nodes → logits. */
export function small(nodes: Plain[], initializer: Plain[], output = info("logits", [2, 4, 8, 8]), rest: Plain = {}): Uint8Array {
  return modelBytes({ node: nodes, initializer, input: [info("image", [2, 3, 8, 8])], output: [output], ...rest });
}

export async function run(bytes: Uint8Array): Promise<Record<string, readonly number[]>> {
  const session = await openSession(bytes);
  const picture = tensorOf(
    "float32",
    [2, 3, 8, 8],
    Array.from({ length: 384 }, (_, i) => Math.sin(i)),
  );
  const outputs = await session.run({ image: toRuntime(picture) });
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.dims]));
}

export const head = [learned("w", [4, 3, 1, 1]), learned("b", [4])];
export const conv = node("Conv", ["image", "w", "b"], ["logits"], [], "classify");
