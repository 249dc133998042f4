/**
 * Fits a training graph to one machine: every distinct convolution is measured on the plain and on the blocked kernels,
 * and those that are faster in blocks are rewritten. Measuring is the caller's; nothing here runs a graph.
 */

import type { Model, Value } from "../ir/graph.ts";
import { OpBuilder } from "../ops/builder.ts";
import { finishModel } from "../ops/finish.ts";
import { type BlockableConvolution, type BlockSize, blockableConvolutions, blockConvolutions } from "../passes/blocked.ts";
import { inline } from "../passes/inline.ts";
import { bug } from "../support/errors.ts";

/** Milliseconds of each graph; `undefined` where it does not run or gives other numbers than the first. */
export type Measure = (alternatives: readonly Model[]) => Promise<readonly (number | undefined)[]>;

export interface TunedLayer {
  /** `Conv 64→32 3×3 of [2,64,128,256]` */
  readonly layer: string;
  /** How often the graphs have it. */
  readonly count: number;
  readonly chosen: "plain" | "blocked";
  readonly before: number;
  /** `undefined`: the blocked kernel did not run. */
  readonly blocked: number | undefined;
}

/** Smaller gains are within what a measurement varies. */
const margin = 0.97;

/** A graph read from a file, with the types of all values: files hold those of inputs and outputs only. */
export function withTypes({ graph }: Model): Model {
  const op = new OpBuilder("cpu");
  const values = inline(op, graph.nodes, new Map(graph.inputs.map((value) => [value, value])));
  const outputs = graph.outputs.map(({ name, value }) => ({ name, value: values.get(value) ?? bug(`output ${name} is lost`) }));
  return finishModel(op, graph.name, graph.inputs, outputs);
}

function keyOf({ node, x, w, activation }: BlockableConvolution): string {
  return JSON.stringify([x, w, node.inputs.length, node.attributes, activation?.attributes]);
}

function labelOf({ node, x, w, activation }: BlockableConvolution): string {
  const group = (node.attributes["group"]?.value as number | undefined) ?? 1;
  const strides = (node.attributes["strides"]?.value as readonly number[] | undefined) ?? [];
  const stride = strides.some((step) => step > 1) ? ` stride ${strides.join(",")}` : "";
  return `Conv ${x[1]}→${w[0]} ${w.slice(2).join("×")}${stride}${group > 1 ? ` groups ${group}` : ""}${activation ? `+${activation.node.op}` : ""} of [${x}]`;
}

/** One convolution as a graph of its own. */
function alone({ node, activation }: BlockableConvolution): Model {
  const inputs = node.inputs
    .filter((value): value is Value => value !== undefined)
    .map((value, i): Value => ({ name: `input${i}`, dtype: value.dtype, shape: value.shape }));
  const nodes = [{ ...node, inputs }, ...(activation === undefined ? [] : [activation.node])];
  const value = nodes.at(-1)?.outputs[0] ?? bug("a convolution without an output");
  const graph = { name: "layer", inputs, outputs: [{ name: "output", value }], initializers: [], nodes };
  return { irVersion: 10, opsets: new Map([["", 18]]), producer: { name: "ohemgen", version: "" }, functions: [], graph };
}

/** The block that this machine's kernels have, found by running one; `undefined`: there are none. */
export async function machineBlock(measure: Measure, candidates: readonly BlockSize[]): Promise<BlockSize | undefined> {
  const op = new OpBuilder("cpu");
  const inputs = [op.input("x", "float32", [1, 32, 8, 8]), op.input("w", "float32", [32, 32, 3, 3])];
  const model = finishModel(op, "block", inputs, [{ name: "y", value: op.emit("Conv", inputs) }]);
  const times = await measure([model, ...candidates.map((block) => blockConvolutions(model, block, () => true))]);
  return candidates.find((_, i) => times[i + 1] !== undefined);
}

/** Measures each distinct convolution of the graphs once. */
export async function tuneGraphs<Name extends string>(
  graphs: Readonly<Record<Name, Model>>,
  block: BlockSize,
  measure: Measure,
  progress: (done: number, all: number, layer: string) => void,
): Promise<{ graphs: Record<Name, Model>; layers: TunedLayer[] }> {
  const names = Object.keys(graphs) as Name[];
  const distinct = grouped(
    names.flatMap((name) => blockableConvolutions(graphs[name], block)),
    keyOf,
  );
  const faster = new Set<string>();
  const layers: TunedLayer[] = [];
  for (const [key, all] of distinct) {
    const [first = bug("a layer that is nowhere")] = all;
    progress(layers.length, distinct.size, labelOf(first));
    const model = alone(first);
    const [before, blocked] = await measure([model, blockConvolutions(model, block, () => true)]);
    if (before === undefined) continue;
    const chosen = blocked !== undefined && blocked < margin * before ? "blocked" : "plain";
    if (chosen === "blocked") faster.add(key);
    layers.push({ layer: labelOf(first), count: all.length, chosen, before, blocked });
  }
  const tuned = names.map((name) => [name, blockConvolutions(graphs[name], block, (convolution) => faster.has(keyOf(convolution)))] as const);
  return { graphs: Object.fromEntries(tuned) as Record<Name, Model>, layers };
}

function grouped(convolutions: readonly BlockableConvolution[], key: (convolution: BlockableConvolution) => string): Map<string, BlockableConvolution[]> {
  const groups = new Map<string, BlockableConvolution[]>();
  for (const convolution of convolutions) groups.set(key(convolution), [...(groups.get(key(convolution)) ?? []), convolution]);
  return groups;
}
