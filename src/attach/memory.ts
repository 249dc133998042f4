/** How much memory a graph of known sizes takes when its nodes run in order and tensors are freed after their last reader. */

import { elementCount, isStatic } from "../ir/dims.ts";
import { byteLength } from "../ir/dtype.ts";
import type { Model, Value } from "../ir/graph.ts";

/** Share the bytes of their first input. */
const views = new Set(["Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"]);

export interface Memory {
  /** Initializers. */
  readonly constants: number;
  /** Inputs fed to a run. */
  readonly inputs: number;
  /** The largest sum of computed tensors that exist at one time, outputs included. */
  readonly peak: number;
  /** Tensors whose size is not known beforehand, counted as nothing. */
  readonly unknown: number;
}

function bytesOf({ dtype, shape }: Value): number | undefined {
  return isStatic(shape) ? byteLength(dtype, elementCount(shape)) : undefined;
}

/** Buffers inside an operator (packed weights, unrolled convolutions) are not seen. */
export function memoryOf({ graph }: Model): Memory {
  const owner = new Map<Value, Value>();
  const root = (value: Value): Value => owner.get(value) ?? value;
  const fixed = new Set<Value>(graph.inputs);
  const constants = new Set<Value>();
  const lastRead = new Map<Value, number>();
  graph.nodes.forEach((node, i) => {
    for (const value of node.inputs) {
      if (value === undefined) continue;
      if (value.constant !== undefined) constants.add(value);
      lastRead.set(root(value), i);
    }
    const [input] = node.inputs;
    const [output] = node.outputs;
    if (views.has(node.op) && input !== undefined && output !== undefined) owner.set(output, root(input));
  });
  for (const { value } of graph.outputs) lastRead.set(root(value), graph.nodes.length);
  const freedAt = new Map<number, Value[]>();
  for (const [value, at] of lastRead) freedAt.set(at, [...(freedAt.get(at) ?? []), value]);
  let [live, peak, unknown] = [0, 0, 0];
  const alive = new Map<Value, number>();
  graph.nodes.forEach((node, i) => {
    for (const value of node.outputs) {
      if (value === undefined || owner.has(value) || !lastRead.has(value)) continue;
      const bytes = bytesOf(value);
      if (bytes === undefined) unknown += 1;
      alive.set(value, bytes ?? 0);
      live += bytes ?? 0;
    }
    peak = Math.max(peak, live);
    for (const value of freedAt.get(i) ?? []) {
      if (fixed.has(value)) continue;
      live -= alive.get(value) ?? 0;
      alive.delete(value);
    }
  });
  const sum = (values: Iterable<Value>) => [...values].reduce((total, value) => total + (bytesOf(value) ?? 0), 0);
  return { constants: sum(constants), inputs: sum(graph.inputs), peak, unknown };
}
