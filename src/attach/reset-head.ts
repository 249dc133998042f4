/**
 * `--reset-head N`: the model with fresh last layers for N classes. The file is not touched: what changes in it is
 * data (`ModelEdits`), which `export` makes again from the same file, the same N and the same seed.
 */

import { elementCount, type Shape } from "../ir/dims.ts";
import type { Graph, Model, Node, Value } from "../ir/graph.ts";
import { readersOf } from "../ir/graph.ts";
import { neededNodes } from "../ir/needed.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";
import { type Inlined, inlineFunctions } from "../passes/inline-functions.ts";
import { normalize } from "../passes/normalize.ts";
import type { ModelEdits } from "../proto/edit.ts";
import { OhemgenError, usageError } from "../support/errors.ts";
import { randomStream } from "../support/random.ts";
import { findHeadLayers, type HeadLayers, inTheWay } from "./head-search.ts";
import { valueByName } from "./logits.ts";
import { isNeutral, outerValues, type Port } from "./sharing.ts";

export interface HeadReset {
  readonly inlined: Inlined;
  readonly edits: ModelEdits;
  /** The tensors that were made anew, under the names and with the shapes they have now. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

export interface HeadResetOptions {
  readonly classes: number;
  readonly seed: number;
}

/**
 * Re-initializes every layer that makes the classes of `heads`: weights uniform in ±1/√fan_in (the default of PyTorch's
 * Linear and Conv layers, He et al. with a = √5), biases 0.
 *
 * @param file the model before its functions were inlined
 * @param heads logits of shape [N,C,h,w]
 * @throws OhemgenError E230 where a node does not keep the class axis, or the rest of the model needs the old number
 */
export function resetHeads(file: Model, inlined: Inlined, heads: readonly Value[], { classes, seed }: HeadResetOptions): HeadReset {
  if (!Number.isInteger(classes) || classes < 1) throw usageError(`--reset-head ${classes}: a number of classes is a whole number of at least 1`);
  const { graph } = inlined.model;
  const before = inferredShapes(inlined, heads);
  for (const head of heads) checkLogits(head, before.get(head));
  const layers = findHeadLayers(graph, heads, before);
  const replaced = replacements(graph, layers, classes, seed);
  if (inlined.model !== file) checkOutside(file.graph, replaced);
  const result = rebuilt(inlined, replaced);
  const after = checkedShapes(result, heads, before, classes);
  return {
    inlined: result,
    edits: {
      tensors: new Map(replaced.filter(({ apart }) => !apart).map(({ value, tensor }) => [value.name, tensor])),
      added: new Map(replaced.filter(({ apart }) => apart).map(({ name, tensor }) => [name, tensor])),
      inputs: replaced
        .filter(({ apart }) => apart)
        .flatMap(({ name, ports }) => ports.map(({ node, index }) => ({ node: node.outputs[0]?.name ?? "", index, name }))),
      sizes: changedSizes(graph, before, after),
    },
    tensors: replaced.filter(({ drawn }) => drawn).map(({ name, tensor }) => ({ name, shape: tensor.dims })),
  };
}

/** What `attach` did to the model, done again for `export`. */
export function headEdits(model: Model, heads: readonly string[], options: HeadResetOptions): ModelEdits {
  const inlined = inlineFunctions(model);
  const sources = heads.map((name) => valueByName(inlined.model, name));
  return resetHeads(model, inlined, sources, options).edits;
}

function checkLogits(head: Value, shape: Shape | undefined): void {
  if (shape?.length === 4 && typeof shape[1] === "number") return;
  throw inTheWay(
    `the classes of ${head.name} cannot be counted: its shape is [${shape ?? "?"}]`,
    head.name,
    "Logits are [N,C,h,w] with a fixed number of classes.",
  );
}

/** Sizes of everything, as far as they follow from the model; where a part cannot be told, of what the heads need. */
function inferredShapes({ model, versions }: Inlined, heads: readonly Value[]): ReadonlyMap<Value, Shape | undefined> {
  const { nodes } = model.graph;
  const infer = (some: readonly Node[]) => {
    const targets = some.flatMap((node) => node.outputs.filter((value) => value !== undefined && value.opaque !== true)) as Value[];
    return normalize(model, { versions, targets }).targets;
  };
  const shapesOf = (values: ReadonlyMap<Value, Value>) => new Map([...values].map(([value, { shape }]) => [value, shape]));
  try {
    return shapesOf(infer(nodes));
  } catch (error) {
    if (!(error instanceof OhemgenError)) throw error;
    return shapesOf(infer(neededNodes(nodes, heads)));
  }
}

interface Replacement {
  readonly value: Value;
  /** In the new file: the tensor's own, or a new one where others read the old tensor. */
  readonly name: string;
  readonly tensor: Tensor;
  readonly apart: boolean;
  readonly ports: readonly Port[];
  /** A weight or bias, not a list of sizes. */
  readonly drawn: boolean;
}

function replacements(graph: Graph, { tensors, sizes }: HeadLayers, classes: number, seed: number): readonly Replacement[] {
  const readers = readersOf(graph.nodes);
  const outer = outerValues(graph);
  const names = new Set([...graph.inputs, ...graph.initializers, ...graph.nodes.flatMap((node) => node.outputs)].map((value) => value?.name));
  const place = (value: Value, ports: readonly Port[]) => {
    const others = (readers.get(value) ?? []).filter((port) => !ports.some(({ node, index }) => node === port.node && index === port.index));
    const apart = outer.has(value) || others.some((port) => !isNeutral(port));
    if (!apart) return { name: value.name, apart };
    let name = `${value.name}.head`;
    while (names.has(name)) name += "_";
    names.add(name);
    return { name, apart };
  };
  const drawn = tensors.map(({ value, tensor, axis, role, fanIn, ports }, i): Replacement => {
    const dims = tensor.dims.map((size, j) => (j === axis ? classes : size));
    const numbers = new Float64Array(elementCount(dims));
    if (role === "weight") {
      const bound = 1 / Math.sqrt(fanIn as number);
      const random = randomStream(seed, i);
      for (let k = 0; k < numbers.length; k++) numbers[k] = random.between(-bound, bound);
    }
    return { value, tensor: tensorOf(tensor.dtype, dims, numbers), ports, drawn: true, ...place(value, ports) };
  });
  const listed = sizes.map(({ value, tensor, elements, ports }): Replacement => {
    const numbers = Array.from(tensorNumbers(tensor), (size, i) => (elements.includes(i) ? classes : size));
    return { value, tensor: tensorOf(tensor.dtype, tensor.dims, numbers), ports, drawn: false, ...place(value, ports) };
  });
  return [...drawn, ...listed];
}

/** A function is called in several places and shared with other models: what is in it stays as it is. */
function checkOutside(file: Graph, replaced: readonly Replacement[]): void {
  const nodes = new Set(file.nodes);
  const values = new Set<Value | undefined>([...file.initializers, ...file.nodes.flatMap((node) => node.outputs)]);
  const inside = replaced.find(({ value, apart, ports }) => !values.has(value) || (apart && ports.some(({ node }) => !nodes.has(node))));
  if (inside === undefined) return;
  throw inTheWay(
    `${inside.value.name} of the last layer is in a function of the model`,
    inside.value.name,
    "Export the model without functions, or inline them with onnx.inliner.",
  );
}

/** The model with the new tensors; every value but those stays the object it was. */
function rebuilt({ model, versions, embedded }: Inlined, replaced: readonly Replacement[]): Inlined {
  const everywhere = new Map<Value, Value>();
  const constants = new Map<Value, Tensor>();
  const at = new Map<Node, Map<number, Value>>();
  const added: Value[] = [];
  for (const { value, name, tensor, apart, ports } of replaced) {
    const fresh: Value = { name, dtype: tensor.dtype, shape: tensor.dims, ...(apart || value.constant !== undefined ? { constant: tensor } : {}) };
    if (apart) added.push(fresh);
    else everywhere.set(value, fresh);
    constants.set(value, tensor);
    for (const { node, index } of apart ? ports : []) at.set(node, (at.get(node) ?? new Map()).set(index, fresh));
  }
  const renewed = new Map<Node, number>();
  const renew = (node: Node): Node => {
    const input = (value: Value | undefined, index: number) => at.get(node)?.get(index) ?? (value === undefined ? undefined : (everywhere.get(value) ?? value));
    const [made] = node.outputs;
    const inputs = node.inputs.map(input);
    if (inputs.every((value, i) => value === node.inputs[i]) && (made === undefined || !everywhere.has(made))) return node;
    const constant = made !== undefined && everywhere.has(made) ? { outputs: [everywhere.get(made)], attributes: constantAttributes(constants.get(made)) } : {};
    const copy: Node = { ...node, inputs, ...constant };
    const version = versions.get(node);
    if (version !== undefined) renewed.set(copy, version);
    return copy;
  };
  const { graph } = model;
  const initializers = [...graph.initializers.map((value) => everywhere.get(value) ?? value), ...added];
  const nodes = graph.nodes.map(renew);
  return { model: { ...model, graph: { ...graph, initializers, nodes } }, versions: new Map([...versions, ...renewed]), embedded };
}

function constantAttributes(tensor: Tensor | undefined): Node["attributes"] {
  return tensor === undefined ? {} : { value: { type: "tensor", value: tensor } };
}

const isKnown = (size: number | string | undefined): boolean => typeof size === "number" || (size !== undefined && !size.startsWith("?"));

/** Sizes with the new heads. @throws OhemgenError E230 where they do not fit, or what was known no longer is. */
function checkedShapes(result: Inlined, heads: readonly Value[], before: ReadonlyMap<Value, Shape | undefined>, classes: number) {
  let after: ReadonlyMap<Value, Shape | undefined>;
  try {
    after = inferredShapes(result, heads);
  } catch (error) {
    if (!(error instanceof OhemgenError)) throw error;
    throw inTheWay(
      `with ${classes} classes the model does not fit together: ${error.message}`,
      error.where ?? "",
      "The number of classes is written down somewhere else in it.",
    );
  }
  for (const node of result.model.graph.nodes) {
    for (const value of node.outputs) {
      const [old, now] = [value && before.get(value), value && after.get(value)];
      if (value === undefined || old === undefined || !old.some((size, i) => isKnown(size) && !isKnown(now?.[i]))) continue;
      throw inTheWay(`${node.op} ${node.name} does not fit ${classes} classes`, `node ${node.name}`, "The number of classes is written down there.");
    }
  }
  for (const head of heads) {
    if (after.get(head)?.[1] === classes) continue;
    throw inTheWay(
      `${head.name} would have ${after.get(head)?.[1]} classes, not ${classes}`,
      head.name,
      "The number of classes is written down somewhere else in the model.",
    );
  }
  return after;
}

/** Sizes that the file records and that are others now; null where they cannot be told. */
function changedSizes(graph: Graph, before: ReadonlyMap<Value, Shape | undefined>, after: ReadonlyMap<Value, Shape | undefined>): ModelEdits["sizes"] {
  const changed = new Map<string, Map<number, number | null>>();
  for (const value of graph.nodes.flatMap((node) => node.outputs)) {
    if (value?.shape === undefined) continue;
    const [old, now] = [before.get(value), after.get(value)];
    const sizes = new Map<number, number | null>();
    value.shape.forEach((recorded, i) => {
      const size = now?.[i];
      if (typeof recorded === "string" || old?.[i] === size) return;
      if (recorded !== size) sizes.set(i, typeof size === "number" ? size : null);
    });
    if (sizes.size > 0) changed.set(value.name, sizes);
  }
  return changed;
}
