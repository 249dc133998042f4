/**
 * Convolutions on the CPU runtime's blocked kernels (domain `com.microsoft.nchwc`): channels in blocks of 8 or 16, as
 * the processor's vectors are long. The runtime does this by itself only where a weight is constant, which in training
 * it is not. What comes out runs on machines with that block alone; every other value of the graph stays what it was.
 */

import { isStatic } from "../ir/dims.ts";
import { type Attribute, type Model, type Node, readersOf, type Value } from "../ir/graph.ts";
import { neededNodes } from "../ir/needed.ts";
import { OpBuilder } from "../ops/builder.ts";
import { bug } from "../support/errors.ts";
import { type FusedActivation, fusedActivation } from "./blocked-activation.ts";

const domain = "com.microsoft.nchwc";

/** Channels per block that processors have kernels for. */
export type BlockSize = 8 | 16;
export const blockSizes: readonly BlockSize[] = [16, 8];

/** The kernels copy channels in groups of so many. */
const aligned = 4;

/** A convolution with a weight that is computed, and the activation that the kernel takes along. */
export interface BlockableConvolution {
  readonly node: Node;
  /** `[N, C, H, W]` */
  readonly x: readonly number[];
  /** `[O, C/g, kh, kw]` */
  readonly w: readonly number[];
  readonly activation: FusedActivation | undefined;
}

type Form = "blocked input" | "plain input" | "depthwise";

/** How the kernels take a convolution of these sizes; `undefined`: not at all. */
function formOf({ x, w, node }: BlockableConvolution, block: BlockSize): Form | undefined {
  const [channels] = x.slice(1) as [number];
  const [outputs, perGroup] = w as [number, number];
  const group = channels / perGroup;
  const explicit = node.attributes["auto_pad"]?.value ?? "NOTSET";
  if (!Number.isInteger(group) || (explicit !== "NOTSET" && explicit !== "VALID")) return undefined;
  if (group === 1) return channels < block ? "plain input" : channels % aligned === 0 ? "blocked input" : undefined;
  if (perGroup === 1 && outputs === group) return outputs % aligned === 0 ? "depthwise" : undefined;
  return perGroup % block === 0 && outputs % group === 0 && (outputs / group) % block === 0 ? "blocked input" : undefined;
}

/** The convolutions of a graph that the blocked kernels could run, in order. */
export function blockableConvolutions({ graph }: Model, block: BlockSize): BlockableConvolution[] {
  const readers = readersOf(graph.nodes);
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  return graph.nodes.flatMap((node) => {
    const [x, w] = node.inputs;
    if (node.op !== "Conv" || node.domain !== "" || x?.dtype !== "float32" || w === undefined || w.constant !== undefined) return [];
    if (!isStatic(x.shape) || !isStatic(w.shape) || x.shape.length !== 4) return [];
    const convolution = { node, x: x.shape, w: w.shape, activation: fusedActivation(node, readers, outputs) };
    return formOf(convolution, block) === undefined ? [] : [convolution];
  });
}

const up = (count: number, block: number): number => Math.ceil(count / block) * block;

/**
 * `[O, I, kh, kw]`, padded to whole blocks, in the order `[O/B, I/B, kh, kw, B(in), B(out)]`, or `[O/B, I, kh, kw, B(out)]`
 * where the input is not blocked. The kernels read the sizes from the shape, which stays that of four dimensions.
 */
function orderedWeight(op: OpBuilder, weight: Value, dims: readonly number[], block: number, blockedInput: boolean): Value {
  const [outputs, inputs, kh, kw] = dims as [number, number, number, number];
  const [o, i] = [up(outputs, block), blockedInput ? up(inputs, block) : inputs];
  const whole = op.pad(weight, [0, 0, 0, 0, o - outputs, i - inputs, 0, 0]);
  const ordered = blockedInput
    ? op.transpose(op.reshape(whole, [o / block, block, i / block, block, kh, kw]), [0, 2, 4, 5, 3, 1])
    : op.transpose(op.reshape(whole, [o / block, block, i, kh, kw]), [0, 2, 3, 4, 1]);
  return op.reshape(ordered, [o, i, kh, kw]);
}

const int = (value: number): Attribute => ({ type: "int", value });

interface Blocked {
  /** Nodes of the new graph so far. */
  readonly nodes: Node[];
  readonly op: OpBuilder;
  /** Of plain values: the same in blocks. */
  readonly inBlocks: Map<Value, Value>;
}

function blockedInput({ op, inBlocks }: Blocked, x: Value, dims: readonly number[], block: number): Value {
  const known = inBlocks.get(x);
  if (known !== undefined) return known;
  const shape = dims.map((dim, i) => (i === 1 ? up(dim, block) : dim));
  const node = op.append("ReorderInput", domain, [x], {}, [{ dtype: "float32", shape }]);
  const value = node.outputs[0] as Value;
  inBlocks.set(x, value);
  return value;
}

function replace(state: Blocked, convolution: BlockableConvolution, block: BlockSize): void {
  const { node, x, w, activation } = convolution;
  const form = formOf(convolution, block);
  const [input, weight, bias] = node.inputs as readonly [Value, Value, Value | undefined];
  const output = (activation?.node ?? node).outputs[0] ?? bug("a convolution without an output");
  const shape = isStatic(output.shape) ? output.shape : bug("a convolution of unknown size");
  const [outputs] = w as [number];
  const before = state.op.draft.nodes.length;
  const op = state.op.scope(`${node.name}/blocked`);
  const from = form === "plain input" ? input : blockedInput({ ...state, op }, input, x, block);
  const kernel = orderedWeight(op, weight, w, block, form === "blocked input");
  const offset = bias === undefined ? undefined : op.pad(bias, [0, up(outputs, block) - outputs]);
  const { auto_pad: _, ...geometry } = node.attributes;
  const attributes = { ...geometry, ...(form === "depthwise" ? { group: int(up(outputs, block)) } : {}), ...activation?.attributes };
  const inBlocks = [shape[0] as number, up(outputs, block), ...shape.slice(2)];
  const convolved = op.append("Conv", domain, [from, kernel, offset], attributes, [{ dtype: "float32", shape: inBlocks }]);
  const result = convolved.outputs[0] as Value;
  state.nodes.push(...op.draft.nodes.slice(before), {
    op: "ReorderOutput",
    domain,
    name: `${node.name}/plain`,
    inputs: [result],
    outputs: [output],
    attributes: { channels: int(outputs) },
  });
  state.inBlocks.set(output, result);
}

/**
 * @param chosen which of the convolutions that could run on blocked kernels do
 * @returns the graph with those replaced; a convolution that reads the output of another takes it as it is, in blocks
 */
export function blockConvolutions(model: Model, block: BlockSize, chosen: (convolution: BlockableConvolution) => boolean): Model {
  const replaced = new Map(
    blockableConvolutions(model, block)
      .filter(chosen)
      .map((convolution) => [convolution.node, convolution]),
  );
  if (replaced.size === 0) return model;
  const activations = new Set([...replaced.values()].map(({ activation }) => activation?.node));
  const state: Blocked = { nodes: [], op: new OpBuilder("cpu"), inBlocks: new Map() };
  for (const node of model.graph.nodes) {
    const convolution = replaced.get(node);
    if (convolution !== undefined) replace(state, convolution, block);
    else if (!activations.has(node)) state.nodes.push(node);
  }
  const nodes = neededNodes(
    state.nodes,
    model.graph.outputs.map(({ value }) => value),
  );
  return { ...model, opsets: new Map([...model.opsets, [domain, 1]]), graph: { ...model.graph, nodes } };
}
