/** Which tensors are trained: those whose role is that of a parameter (roles.ts), less what options freeze. */

import { elementCount } from "../ir/dims.ts";
import { isFloat } from "../ir/dtype.ts";
import type { Graph, Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { tensorOfConstant } from "../passes/convert/spelling.ts";
import { OhemgenError } from "../support/errors.ts";
import { matches } from "./glob.ts";
import { type Role, roleOf, type StoredTensor, type Surroundings, surroundingsOf } from "./roles.ts";

export type { StoredTensor };

export interface TrainedTensor extends StoredTensor {
  /** "Conv weight", "LayerNormalization scale". */
  readonly role: string;
}

export interface TrainableChoice {
  readonly trained: readonly TrainedTensor[];
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

export interface TrainableOptions {
  readonly train?: readonly string[] | undefined;
  readonly freeze?: readonly string[] | undefined;
  /** Whether a gradient can reach the tensor from the logits. */
  readonly reachable: ReadonlySet<Value>;
  /** Running statistics of batch normalization: state of their own, never parameters. */
  readonly statistics: ReadonlySet<Value>;
  /** What new numbers could not be written back to. */
  readonly embedded?: ReadonlySet<Value>;
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
  const around = surroundingsOf(graph, all);
  const trained: TrainedTensor[] = [];
  const frozen: { stored: StoredTensor; reason: string }[] = [];
  const { reachable, statistics, embedded } = options;
  const names = all.filter(({ value }) => reachable.has(value) && !statistics.has(value) && !embedded?.has(value)).map(({ value }) => value.name);
  checkPatterns("--train", options.train, names);
  checkPatterns("--freeze", options.freeze, names);
  for (const stored of all) {
    const { parameter, reason } = verdictOn(stored, around, options);
    if (parameter) trained.push({ ...stored, role: reason });
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

function verdictOn(stored: StoredTensor, around: Surroundings, options: TrainableOptions): Role {
  const { name } = stored.value;
  const frozen = (reason: string): Role => ({ parameter: false, reason });
  if (options.statistics.has(stored.value)) return frozen("a running statistic");
  if (!options.reachable.has(stored.value)) return frozen("does not influence the logits");
  if (options.embedded?.has(stored.value)) return frozen("inside a function of the model, where export cannot write");
  if (options.freeze?.some((pattern) => matches(pattern, name))) return frozen("frozen by --freeze");
  const role = roleOf(stored, around);
  if (options.train?.includes(name)) return role.parameter ? role : { parameter: true, reason: "named by --train" };
  if (options.train !== undefined && !options.train.some((pattern) => matches(pattern, name))) return frozen("not chosen by --train");
  return role;
}
