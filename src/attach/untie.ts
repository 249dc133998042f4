/**
 * `--untie GLOB`: a tensor that several nodes read becomes one parameter per reading node. The first keeps the tensor
 * of the file, the others read copies that are initializers of their own. As for a fresh head, what that means for the
 * file is data (`ModelEdits`), which `export` derives again from the same file and the same patterns.
 */

import type { Graph, Model, Node, Value } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { inlineFunctions } from "../passes/inline-functions.ts";
import type { ModelEdits } from "../proto/edit.ts";
import { OhemgenError } from "../support/errors.ts";
import { matches } from "./glob.ts";
import { roleOf, type StoredTensor, surroundingsOf } from "./roles.ts";
import { type Port, type Sharing, shareCount, sharingIn } from "./sharing.ts";
import { storedTensors } from "./trainable.ts";

export interface UntieOptions {
  readonly patterns: readonly string[];
  /** Running statistics are separated too: they change where batch normalization uses those of the batch. */
  readonly statistics: boolean;
}

export interface UntiedTensor {
  /** Of the copy. */
  readonly name: string;
  /** The tensor of the file that it was. */
  readonly of: string;
  /** The node that reads it. */
  readonly reader: string;
}

export interface Untied {
  readonly model: Model;
  readonly edits: ModelEdits;
  readonly tensors: readonly UntiedTensor[];
}

interface Copy extends UntiedTensor {
  readonly tensor: Tensor;
  readonly ports: readonly Port[];
}

/**
 * A pattern chooses among shared tensors that are parameters; a whole name chooses any shared float tensor.
 *
 * @param file the model before its functions are inlined: a call is one node
 * @throws OhemgenError E212 where a pattern matches nothing
 */
export function untieTensors(file: Model, options: UntieOptions): Untied {
  const sharing = sharingIn(file.graph);
  const shared = storedTensors(file.graph).flatMap((stored) => {
    const found = sharing(stored.value);
    return shareCount(found) < 2 ? [] : [{ ...stored, ...found }];
  });
  const parameter = parametersOf(file, options.statistics);
  for (const pattern of options.patterns) checkPattern(pattern, file.graph, sharing, shared, parameter);
  const chosen = shared.filter(({ value }) => options.patterns.some((pattern) => pattern === value.name || (parameter(value) && matches(pattern, value.name))));
  const name = uniqueNames(file.graph);
  const copies = chosen.flatMap(({ value, tensor, readings, held }) =>
    readings
      .slice(held ? 0 : 1)
      .map(({ label, ports, node }): Copy => ({ name: name(`${value.name}@${label}`), of: value.name, reader: node.name || label, tensor, ports })),
  );
  return { model: rebuilt(file, copies), edits: editsOf(copies), tensors: copies.map(({ name: copy, of, reader }) => ({ name: copy, of, reader })) };
}

/** Whether a tensor of the main graph is a parameter, or a running statistic where those count. */
function parametersOf(file: Model, statistics: boolean): (value: Value) => boolean {
  const { graph } = inlineFunctions(file).model;
  const stored = storedTensors(graph);
  const around = surroundingsOf(graph, stored);
  const found = new Set(stored.filter((tensor) => roleOf(tensor, around).parameter).map(({ value }) => value));
  const running = graph.nodes.flatMap((node) => (node.op === "BatchNormalization" && node.domain === "" ? node.inputs.slice(3, 5) : []));
  if (statistics) for (const value of running) if (value !== undefined) found.add(value);
  return (value) => found.has(value);
}

function checkPattern(
  pattern: string,
  graph: Graph,
  sharing: (value: Value) => Sharing,
  shared: readonly StoredTensor[],
  parameter: (value: Value) => boolean,
): void {
  if (shared.some(({ value }) => pattern === value.name || (parameter(value) && matches(pattern, value.name)))) return;
  const alone = storedTensors(graph).find(({ value }) => value.name === pattern);
  const [reader] = alone === undefined ? [] : sharing(alone.value).readings;
  const names = shared.filter(({ value }) => parameter(value)).map(({ value }) => value.name);
  throw new OhemgenError(
    reader === undefined ? `--untie ${pattern} matches no parameter that several nodes read` : `--untie ${pattern}: only ${reader.label} reads it`,
    {
      code: "E212",
      where: `--untie ${pattern}`,
      hint: names.length === 0 ? "No parameter of this model is shared; leave it out." : `Shared are: ${names.slice(0, 4).join(", ")}.`,
      exitCode: 2,
    },
  );
}

/** Names that nothing in the file has, in subgraphs neither. */
function uniqueNames(graph: Graph): (wanted: string) => string {
  const taken = new Set<string>();
  const visit = ({ inputs, initializers, nodes }: Graph): void => {
    for (const value of [...inputs, ...initializers]) taken.add(value.name);
    for (const { outputs, attributes } of nodes) {
      for (const value of outputs) if (value !== undefined) taken.add(value.name);
      for (const attribute of Object.values(attributes)) if (attribute.type === "graph") visit(attribute.value);
    }
  };
  visit(graph);
  return (wanted) => {
    let name = wanted;
    while (taken.has(name)) name += "_";
    taken.add(name);
    return name;
  };
}

function rebuilt(model: Model, copies: readonly Copy[]): Model {
  const { graph } = model;
  const at = new Map<Node, Map<number, Value>>();
  const added = copies.map(({ name, tensor, ports }): Value => {
    const value: Value = { name, dtype: tensor.dtype, shape: tensor.dims, constant: tensor };
    for (const { node, index } of ports) at.set(node, (at.get(node) ?? new Map<number, Value>()).set(index, value));
    return value;
  });
  const nodes = graph.nodes.map((node): Node => {
    const changed = at.get(node);
    return changed === undefined ? node : { ...node, inputs: node.inputs.map((value, i) => changed.get(i) ?? value) };
  });
  return { ...model, graph: { ...graph, initializers: [...graph.initializers, ...added], nodes } };
}

function editsOf(copies: readonly Copy[]): ModelEdits {
  return {
    tensors: new Map(),
    added: new Map(copies.map(({ name, tensor }) => [name, tensor])),
    inputs: copies.flatMap(({ name, ports }) =>
      ports.map(({ node, index }) => ({ node: node.outputs.find((value) => value !== undefined)?.name ?? "", index, name })),
    ),
    sizes: new Map(),
  };
}
