/**
 * Which tensors are trained. Roles follow from how a tensor is read: as a weight, bias, scale, slope, table. What only
 * addresses, masks, interpolates or undoes another constant is no parameter.
 */

import { elementCount } from "../ir/dims.ts";
import { isFloat } from "../ir/dtype.ts";
import type { Graph, Node, Value } from "../ir/graph.ts";
import { producersOf, readersOf } from "../ir/graph.ts";
import { type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { tensorOfConstant } from "../passes/convert/spelling.ts";
import { OhemgenError } from "../support/errors.ts";
import { matches } from "./glob.ts";

/** A float tensor the file holds: an initializer, or the output of a Constant node. */
export interface StoredTensor {
  readonly value: Value;
  readonly tensor: Tensor;
}

export interface TrainableChoice {
  readonly trained: readonly StoredTensor[];
  readonly frozen: readonly { readonly stored: StoredTensor; readonly reason: string }[];
}

/** Float tensors with at least one element, in file order: initializers, then Constant nodes. */
export function storedTensors(graph: Graph): readonly StoredTensor[] {
  const result: StoredTensor[] = [];
  const add = (value: Value | undefined, tensor: Tensor | undefined) => {
    if (value !== undefined && tensor !== undefined && isFloat(tensor.dtype) && elementCount(tensor.dims) > 0) result.push({ value, tensor });
  };
  for (const value of graph.initializers) add(value, value.constant);
  for (const node of graph.nodes) {
    if (node.op === "Constant" && node.domain === "") add(node.outputs[0], tensorOfConstant(node.attributes));
  }
  return result;
}

/** Views of a weight: whoever reads them reads the weight. */
const views = new Set(["Identity", "Transpose", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten"]);
const weighted: Readonly<Record<string, readonly number[]>> = {
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  DeformConv: [1, 3],
  Gemm: [0, 1, 2],
  MatMul: [0, 1],
  PRelu: [1],
  BatchNormalization: [1, 2],
  InstanceNormalization: [1, 2],
  LayerNormalization: [1, 2],
  GroupNormalization: [1, 2],
  RMSNormalization: [1],
  LSTM: [1, 2, 3],
  GRU: [1, 2, 3],
  RNN: [1, 2, 3],
  Gather: [0],
};
const affine = new Set(["Mul", "Add", "Sub", "Div"]);
/** A table or token that joins the activations: position embeddings, class tokens. */
const joined = new Set(["Concat", "Expand", "Resize", "Tile"]);

interface Surroundings {
  readonly readers: ReadonlyMap<Value, readonly { readonly node: Node; readonly index: number }[]>;
  readonly producers: ReadonlyMap<Value, Node>;
  readonly inputs: ReadonlySet<Value>;
  readonly stored: ReadonlySet<Value>;
}

function allEqual(tensor: Tensor, number: number): boolean {
  const numbers = tensorNumbers(tensor);
  for (let i = 0; i < numbers.length; i++) if (numbers[i] !== number) return false;
  return true;
}

/** The value a chain of views starts from. */
function source(value: Value | undefined, producers: ReadonlyMap<Value, Node>): Value | undefined {
  let current = value;
  for (;;) {
    const node = current === undefined ? undefined : producers.get(current);
    if (node === undefined || !views.has(node.op)) return current;
    current = node.inputs[0];
  }
}

/** Why a reader makes the tensor a parameter, or why it does not. */
function roleAt(stored: StoredTensor, node: Node, index: number, around: Surroundings): { parameter: boolean; reason: string } {
  const { tensor } = stored;
  const count = elementCount(tensor.dims);
  if (node.op === "InstanceNormalization" && around.producers.get(node.inputs[0] as Value)?.op === "Reshape" && allEqual(tensor, index === 1 ? 1 : 0)) {
    return { parameter: false, reason: "ones or zeros of a decomposed group normalization" };
  }
  if (weighted[node.op]?.includes(index)) {
    const other = node.op === "MatMul" ? source(node.inputs[1 - index], around.producers) : undefined;
    if (node.op === "MatMul" && (tensor.dims.length < 2 || (other !== undefined && around.stored.has(other)))) {
      return { parameter: false, reason: "a product of constants" };
    }
    return { parameter: true, reason: `${node.op} ${index === 0 ? "operand" : "weight or bias"}` };
  }
  if (affine.has(node.op)) {
    const other = source(node.inputs[1 - index], around.producers);
    if (count === 1) return { parameter: false, reason: "a scalar" };
    if (other !== undefined && around.inputs.has(other)) return { parameter: false, reason: "normalization of the picture" };
    if (other !== undefined && around.stored.has(other)) return { parameter: false, reason: "arithmetic of constants" };
    return { parameter: true, reason: "scale or shift" };
  }
  if (joined.has(node.op) && count > 1 && tensor.dims.length >= 2) return { parameter: true, reason: "a table or token" };
  return { parameter: false, reason: `read by ${node.op} only` };
}

/** The first role that makes a parameter, looking through views; else the last reason against. */
function roleOf(stored: StoredTensor, around: Surroundings): { parameter: boolean; reason: string } {
  let verdict = { parameter: false, reason: "read by no node" };
  const pending: Value[] = [stored.value];
  const seen = new Set<Value>();
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    for (const { node, index } of around.readers.get(value) ?? []) {
      if (views.has(node.op) && index === 0) {
        for (const output of node.outputs) if (output !== undefined) pending.push(output);
        continue;
      }
      const role = roleAt(stored, node, index, around);
      if (role.parameter) return role;
      verdict = role;
    }
  }
  return verdict;
}

export interface TrainableOptions {
  readonly train?: readonly string[] | undefined;
  readonly freeze?: readonly string[] | undefined;
  /** Whether a gradient can reach the tensor from the logits. */
  readonly reachable: ReadonlySet<Value>;
  /** Running statistics of batch normalization: state of their own, never parameters. */
  readonly statistics: ReadonlySet<Value>;
}

function checkPatterns(flag: string, patterns: readonly string[] | undefined, names: readonly string[]): void {
  for (const pattern of patterns ?? []) {
    if (names.some((name) => matches(pattern, name))) continue;
    throw new OhemgenError(`${flag} ${pattern} matches no tensor that can be trained`, {
      code: "E212",
      where: `${flag} ${pattern}`,
      hint: `Names look like: ${names.slice(0, 4).join(", ")}.`,
      exitCode: 2,
    });
  }
}

/**
 * A pattern in `train` chooses among the tensors that are parameters; a whole name chooses any float tensor that a
 * gradient reaches.
 *
 * @throws OhemgenError where a pattern matches nothing, or nothing is left to train
 */
export function chooseTrainable(graph: Graph, options: TrainableOptions): TrainableChoice {
  const all = storedTensors(graph);
  const around: Surroundings = {
    readers: readersOf(graph.nodes),
    producers: producersOf(graph.nodes),
    inputs: new Set(graph.inputs),
    stored: new Set(all.map(({ value }) => value)),
  };
  const trained: StoredTensor[] = [];
  const frozen: { stored: StoredTensor; reason: string }[] = [];
  const names = all.filter(({ value }) => options.reachable.has(value) && !options.statistics.has(value)).map(({ value }) => value.name);
  checkPatterns("--train", options.train, names);
  checkPatterns("--freeze", options.freeze, names);
  for (const stored of all) {
    const reason = reasonToFreeze(stored, around, options);
    if (reason === undefined) trained.push(stored);
    else frozen.push({ stored, reason });
  }
  if (trained.length === 0) {
    throw new OhemgenError("no tensor is left to train", {
      code: "E213",
      hint: names.length === 0 ? "The model holds no float weights that the logits depend on." : "Loosen --train and --freeze.",
    });
  }
  return { trained, frozen };
}

function reasonToFreeze(stored: StoredTensor, around: Surroundings, options: TrainableOptions): string | undefined {
  const { name } = stored.value;
  if (options.statistics.has(stored.value)) return "a running statistic";
  if (!options.reachable.has(stored.value)) return "does not influence the logits";
  if (options.freeze?.some((pattern) => matches(pattern, name))) return "frozen by --freeze";
  if (options.train?.includes(name)) return undefined;
  if (options.train !== undefined && !options.train.some((pattern) => matches(pattern, name))) return "not chosen by --train";
  const role = roleOf(stored, around);
  return role.parameter ? undefined : role.reason;
}
