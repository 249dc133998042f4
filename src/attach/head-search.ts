/** The layers that make the classes of some logits: found by following the class axis back, through nodes that keep it. */

import type { Dim, Shape } from "../ir/dims.ts";
import { type Graph, type Node, producersOf, type Value } from "../ir/graph.ts";
import { type Tensor, tensorNumbers } from "../ir/tensor.ts";
import { tensorOfConstant } from "../passes/convert/spelling.ts";
import { OhemgenError } from "../support/errors.ts";
import { type AxisContext, type AxisSource, axisSources, views } from "./class-axis.ts";
import type { Port } from "./sharing.ts";

/** A tensor of the file with a number (or a row of numbers) per class. */
export interface HeadTensor {
  readonly role: "weight" | "bias";
  readonly value: Value;
  readonly tensor: Tensor;
  /** The class axis. */
  readonly axis: number;
  /** Of a weight. */
  readonly fanIn: Dim | undefined;
  readonly ports: readonly Port[];
}

/** A list of sizes of the file that holds the number of classes. */
export interface HeadSizes {
  readonly value: Value;
  readonly tensor: Tensor;
  readonly elements: readonly number[];
  readonly ports: readonly Port[];
}

export interface HeadLayers {
  readonly tensors: readonly HeadTensor[];
  readonly sizes: readonly HeadSizes[];
}

export function inTheWay(message: string, where: string, hint: string): OhemgenError {
  return new OhemgenError(message, { code: "E230", where, hint });
}

const advice = "The class axis is followed through nodes that keep it (Add, Resize, Transpose, Reshape …) to Conv, ConvTranspose, Gemm or MatMul.";

function describe(node: Node): string {
  return node.name === "" ? `the ${node.op} that makes ${node.outputs[0]?.name}` : `${node.op} ${node.name}`;
}

/** Every constant of the file: initializers, and what Constant nodes make. */
export function constantsOf(graph: Graph): ReadonlyMap<Value, Tensor> {
  const found = new Map<Value, Tensor>();
  for (const value of graph.initializers) if (value.constant !== undefined) found.set(value, value.constant);
  for (const node of graph.nodes) {
    const tensor = node.op === "Constant" && node.domain === "" ? tensorOfConstant(node.attributes) : undefined;
    const [value] = node.outputs;
    if (tensor !== undefined && value !== undefined) found.set(value, tensor);
  }
  return found;
}

/** One number spread over a shape: what exporters write for a bias that is not there. */
function isFill(node: Node, { shapeOf }: AxisContext): boolean {
  return node.op === "Expand" && (shapeOf(node.inputs[0])?.every((size) => size === 1) ?? false);
}

interface Found {
  role: "weight" | "bias";
  axis: number;
  fanIn: Dim | undefined;
  ports: Port[];
}

/**
 * @param heads logits, whose axis 1 counts the classes
 * @param shapes sizes of every value on the way
 * @throws OhemgenError E230 that names a node which does not keep the class axis
 */
export function findHeadLayers(graph: Graph, heads: readonly Value[], shapes: ReadonlyMap<Value, Shape | undefined>): HeadLayers {
  const producers = producersOf(graph.nodes);
  const constants = constantsOf(graph);
  const tensors = new Map<Value, Found>();
  const sizes = new Map<Value, { elements: Set<number>; ports: Port[] }>();
  const seen = new Set<string>();
  const order = new Map<Value, number>();

  const root = (value: Value | undefined): Value | undefined => {
    const node = value === undefined || constants.has(value) ? undefined : producers.get(value);
    return node !== undefined && node.domain === "" && Object.hasOwn(views, node.op) ? root(node.inputs[0]) : value;
  };
  const context: AxisContext = {
    shapeOf: (value) => (value === undefined ? undefined : (shapes.get(value) ?? constants.get(value)?.dims ?? value.shape)),
    isStored: (value) => {
      const from = root(value);
      return from !== undefined && constants.has(from);
    },
  };

  const record = (value: Value, port: Port, { axis, role, fanIn }: Omit<Found, "ports">): void => {
    const known = tensors.get(value);
    if (known === undefined) tensors.set(value, { role, axis, fanIn, ports: [port] });
    else if (known.axis === axis && known.role === role) known.ports.push(port);
    else throw inTheWay(`${value.name} is read both as a weight and as a bias of the head`, value.name, "Its two uses cannot get different sizes.");
  };

  /** Follows an axis of what a node reads; `role` once it has come to numbers of the file. */
  const follow = (port: Port, axis: number, role: "axis" | "weight" | "bias", fanIn?: Dim): void => {
    const value = port.node.inputs[port.index] as Value;
    if (constants.has(value)) {
      if (role === "axis") throw inTheWay(`${describe(port.node)} reads numbers per class`, `node ${port.node.name}`, advice);
      record(value, port, { axis, role, fanIn });
      return;
    }
    visit(value, axis, role, fanIn);
  };

  const visit = (value: Value, axis: number, role: "axis" | "weight" | "bias", fanIn?: Dim): void => {
    if (!order.has(value)) order.set(value, order.size);
    const key = `${order.get(value)}/${axis}/${role}`;
    if (seen.has(key)) return;
    seen.add(key);
    const node = producers.get(value);
    if (node === undefined) throw inTheWay(`the class axis comes from ${value.name}, and no layer makes it`, value.name, advice);
    if (role === "bias" && isFill(node, context)) {
      sizeElement({ node, index: 1 }, axis);
      return;
    }
    const sources = node.outputs[0] === value || node.op === "Split" ? axisSources(node, axis, context) : undefined;
    const ofViews = role === "axis" || (node.domain === "" && Object.hasOwn(views, node.op));
    if (sources === undefined || !ofViews) throw inTheWay(`${describe(node)} is in the way: it does not keep the class axis`, `node ${node.name}`, advice);
    for (const source of sources) step(node, source, role, fanIn);
  };

  const step = (node: Node, source: AxisSource, role: "axis" | "weight" | "bias", fanIn?: Dim): void => {
    const port = { node, index: source.index };
    if (source.kind === "size") sizeElement(port, source.element);
    else if (source.kind === "axis") follow(port, source.axis, role, fanIn);
    else follow(port, source.axis, source.kind, source.kind === "weight" ? source.fanIn : undefined);
  };

  /** An element of a list of sizes: stored in the file, or taken from the shape of something that changes along. */
  const sizeElement = (port: Port, element: number): void => {
    const value = port.node.inputs[port.index];
    if (value === undefined) return;
    const tensor = constants.get(value);
    if (tensor !== undefined) {
      if ((tensorNumbers(tensor)[element] ?? 0) < 1) return;
      const known = sizes.get(value) ?? { elements: new Set<number>(), ports: [] };
      sizes.set(value, known);
      known.elements.add(element);
      known.ports.push(port);
      return;
    }
    const node = producers.get(value);
    if (node?.op === "Concat") {
      let before = 0;
      for (const [index, part] of node.inputs.entries()) {
        const [length] = context.shapeOf(part) ?? [];
        if (typeof length !== "number") return;
        if (element >= before && element < before + length) sizeElement({ node, index }, element - before);
        before += length;
      }
    } else if (node !== undefined && ["Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape"].includes(node.op)) sizeElement({ node, index: 0 }, element);
  };

  for (const head of heads) visit(head, 1, "axis");
  const inFileOrder = <T>(found: ReadonlyMap<Value, T>) => [...constants].flatMap(([value, tensor]) => (found.has(value) ? [{ value, tensor }] : []));
  return {
    tensors: inFileOrder(tensors).map((stored) => ({ ...stored, ...(tensors.get(stored.value) as Found) })),
    sizes: inFileOrder(sizes).map(({ value, tensor }) => {
      const { elements, ports } = sizes.get(value) as { elements: Set<number>; ports: Port[] };
      return { value, tensor, elements: [...elements], ports };
    }),
  };
}
