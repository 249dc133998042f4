/**
 * Nodes of the forward pass in a cheaper form that computes the same function: transposed convolutions by phases, and
 * convolutions of resized images on the small image. For phases the tape keeps one transposed convolution.
 */

import { isStatic, type Shape } from "../ir/dims.ts";
import type { Node, Value } from "../ir/graph.ts";
import { tensorOf } from "../ir/tensor.ts";
import { dimsOf, type OpBuilder } from "../ops/builder.ts";
import { staticKernel } from "../ops/catalog/network.ts";
import { type OpAttributes, schemaOf } from "../ops/catalog.ts";
import { encodeAttributes, plainAttributes, withDefaults } from "../ops/define.ts";
import { type ConvGeometry, convAttributes, convGeometry } from "../ops/lowerings/conv-geometry.ts";
import { chooseConvolution, convolveIn } from "../ops/lowerings/convolution.ts";
import { givenScales, repeatFactors } from "../ops/lowerings/resize-gradient.ts";
import { hasSubPixelForm, subPixelConvolution, type TransposedConvolution } from "../ops/lowerings/sub-pixel.ts";

interface ConvolutionInputs {
  readonly x: Value;
  /** `[M, C/g, k…]` */
  readonly w: Value;
  /** `[M]` */
  readonly bias?: Value | undefined;
}

type Rewritten = "Conv" | "ConvTranspose" | "Resize" | "Concat";

function attributesOf<K extends Rewritten>(node: Node): OpAttributes<K> {
  return withDefaults(schemaOf(node.op as K).attrs, plainAttributes(node.attributes)) as OpAttributes<K>;
}

function transposedConvolution(op: OpBuilder, geometry: ConvGeometry, operands: TransposedConvolution): Value {
  const { x, w, bias, outputPadding } = operands;
  const given = { ...convAttributes(geometry), ...(outputPadding === undefined ? {} : { output_padding: outputPadding }) };
  const value = subPixelConvolution(op, geometry, operands);
  const attributes = encodeAttributes("ConvTranspose", schemaOf("ConvTranspose").attrs, given);
  return op.draft.mean(value, { op: "ConvTranspose", domain: "", name: value.name, inputs: bias === undefined ? [x, w] : [x, w, bias], attributes });
}

function byPhases(op: OpBuilder, node: Node, [x, w, bias]: readonly (Value | undefined)[]): Value | undefined {
  if (x === undefined || w === undefined || x.dtype !== "float32") return undefined;
  const attrs = attributesOf<"ConvTranspose">(node);
  const kernel = staticKernel(attrs, w.shape);
  if (kernel === undefined || attrs.output_shape !== undefined) return undefined;
  const geometry = convGeometry(attrs, kernel);
  const outputPadding = attrs.output_padding;
  return hasSubPixelForm(geometry, w, outputPadding) ? transposedConvolution(op, geometry, { x, w, bias, outputPadding }) : undefined;
}

/** `[k², (k + f - 1)²]`: a kernel on the enlarged image as a kernel of stride f on the small one, per axis Σ of the taps that meet one pixel. */
function enlargingKernel(op: OpBuilder, kernel: readonly number[], factor: number): Value {
  const along = kernel.map((size) =>
    Array.from({ length: size }, (_, i) => Array.from({ length: size + factor - 1 }, (_, at) => (at >= size - 1 - i && at < size - 1 - i + factor ? 1 : 0))),
  );
  const [rows, columns] = along as [number[][], number[][]];
  const elements = rows.flatMap((row) => columns.flatMap((column) => row.flatMap((a) => column.map((b) => a * b))));
  return op.constant(tensorOf("float32", [rows.length * columns.length, elements.length / (rows.length * columns.length)], elements), "enlarging_kernel");
}

interface Enlarged {
  readonly small: Value;
  readonly factor: number;
}

/** What a Resize reads that repeats every pixel f × f times, if nothing else reads its result. */
function enlarged(op: OpBuilder, value: Value, readers: (value: Value) => number): Enlarged | undefined {
  const node = op.draft.producer(value);
  const small = node?.inputs[0];
  if (node?.op !== "Resize" || node.domain !== "" || small === undefined || small.dtype !== "float32" || readers(value) !== 1) return undefined;
  const attrs = attributesOf<"Resize">(node);
  if (attrs.antialias !== 0 || attrs.mode !== "nearest" || small.shape?.length !== 4) return undefined;
  const factors = repeatFactors(attrs, small, value, givenScales(op, attrs, node.inputs[2], 4));
  const [n, c, h, w] = factors ?? [];
  return n === 1 && c === 1 && h === w && h !== undefined && h > 1 ? { small, factor: h } : undefined;
}

/** conv(enlarge(x), w) is the transposed convolution of x by w·E with stride f and pads k - 1 - p. */
function onSmallImage(op: OpBuilder, { axes }: ConvGeometry, { small, factor }: Enlarged, w: Value, bias: Value | undefined): Value | undefined {
  const [m, c, ...kernel] = dimsOf(w) as readonly number[] as [number, number, ...number[]];
  const wide = axes.map(({ size, padBegin, padEnd }) => ({
    size: size + factor - 1,
    stride: factor,
    dilation: 1,
    padBegin: size - 1 - padBegin,
    padEnd: size - 1 - padEnd,
  }));
  const geometry: ConvGeometry = { axes: wide, group: 1 };
  const shape = [c, m, ...wide.map(({ size }) => size)];
  if (!hasSubPixelForm(geometry, { ...w, shape })) return undefined;
  const rows = op.reshape(op.transpose(w, [1, 0, 2, 3]), [c * m, -1]);
  const kernelOnSmall = op.reshape(op.matmul(rows, enlargingKernel(op, kernel, factor)), shape);
  return transposedConvolution(op, geometry, { x: small, w: kernelOnSmall, bias });
}

/** A Resize of height and width alone to more pixels than it reads, if nothing else reads its result. */
function grown(op: OpBuilder, value: Value, readers: (value: Value) => number): { readonly node: Node; readonly small: Value } | undefined {
  const node = op.draft.producer(value);
  const small = node?.inputs[0];
  if (node?.op !== "Resize" || node.domain !== "" || small === undefined || small.dtype !== "float32" || readers(value) !== 1) return undefined;
  const attrs = attributesOf<"Resize">(node);
  const [from, to] = [small.shape, value.shape];
  if (attrs.axes !== undefined || attrs.keep_aspect_ratio_policy !== "stretch" || attrs.coordinate_transformation_mode === "tf_crop_and_resize")
    return undefined;
  if (from?.length !== 4 || to === undefined || from[0] !== to[0] || from[1] !== to[1] || !isStatic(from.slice(1)) || !isStatic(to.slice(1))) return undefined;
  return pixels(from) < pixels(to) ? { node, small } : undefined;
}

const pixels = (shape: Shape) => (shape[2] as number) * (shape[3] as number);

/** A convolution of single pixels before the Resize instead of behind it: the weights of an interpolation add up to 1. */
function beforeResize(op: OpBuilder, { node, small }: { readonly node: Node; readonly small: Value }, w: Value, bias: Value | undefined): Value | undefined {
  const [m, c] = dimsOf(w) as [number, number];
  // More channels behind the convolution than before it make the Resize dearer than the convolution gets cheaper.
  if (m > 2 * c) return undefined;
  const product = op.emit("Conv", bias === undefined ? [small, w] : [small, w, bias], { kernel_shape: [1, 1] });
  const [, region, scales, sizes] = node.inputs;
  const newSizes = sizes && op.concat([op.shape(product, 0, 2), op.slice(sizes, [{ axis: 0, start: 2 }])], 0);
  return op.emit("Resize", [product, region, scales, newSizes], plainAttributes(node.attributes) as Record<string, never>);
}

/** The convolution of one image in a cheaper form, if there is one. */
function ofOne(op: OpBuilder, geometry: ConvGeometry, x: Value, w: Value, bias: Value | undefined, readers: (value: Value) => number): Value | undefined {
  if (geometry.axes.every(({ size, padBegin, padEnd }) => size === 1 && padBegin === 0 && padEnd === 0)) {
    const resized = grown(op, x, readers);
    return resized && beforeResize(op, resized, w, bias);
  }
  if (geometry.axes.some(({ size }) => size === 1)) return undefined;
  const image = enlarged(op, x, readers);
  return image && onSmallImage(op, geometry, image, w, bias);
}

/** A convolution of a resized image, or of several images side by side of which some are resized. */
function ofResized(op: OpBuilder, geometry: ConvGeometry, { x, w, bias }: ConvolutionInputs, readers: (value: Value) => number): Value | undefined {
  if (geometry.axes.length !== 2 || geometry.group !== 1 || geometry.axes.some(({ stride, dilation }) => stride !== 1 || dilation !== 1)) return undefined;
  const whole = ofOne(op, geometry, x, w, bias, readers);
  if (whole !== undefined) return whole;
  const joined = op.draft.producer(x);
  if (joined?.op !== "Concat" || joined.domain !== "" || readers(x) !== 1 || ![1, -3].includes(attributesOf<"Concat">(joined).axis ?? 0)) return undefined;
  const parts = joined.inputs as readonly Value[];
  const channels = parts.map((part) => dimsOf(part)[1]);
  if (channels.some((count) => typeof count !== "number")) return undefined;
  const weights = op.split(w, 1, channels as number[]);
  const terms = parts.map((part, i) => ofOne(op, geometry, part, weights[i] as Value, undefined, readers));
  const sums = terms.filter((term) => term !== undefined);
  if (sums.length === 0) return undefined;
  const rest = parts.map((_, i) => i).filter((i) => terms[i] === undefined);
  if (rest.length === 0) {
    const total = op.sum(sums);
    return bias === undefined ? total : op.add(total, op.reshape(bias, [-1, 1, 1]));
  }
  const side = joinedAgain(
    op,
    rest.map((i) => parts[i] as Value),
  );
  const weight = joinedAgain(
    op,
    rest.map((i) => weights[i] as Value),
  );
  // The runtime adds the other terms inside this convolution.
  const last = op.emit("Conv", bias === undefined ? [side, weight] : [side, weight, bias], convAttributes(geometry));
  return op.sum([last, ...sums]);
}

/** The tape keeps the convolution as one node. */
function inCheapestForm(op: OpBuilder, node: Node, geometry: ConvGeometry, { x, w, bias }: ConvolutionInputs): Value | undefined {
  const inputs = { x, kernel: { w }, bias };
  const form = chooseConvolution(op.provider, geometry, inputs);
  if (form === "one node") return undefined;
  const value = convolveIn(op, geometry, form, inputs);
  const name = node.name === "" ? value.name : node.name;
  return op.draft.mean(value, { op: "Conv", domain: "", name, inputs: bias === undefined ? [x, w] : [x, w, bias], attributes: node.attributes });
}

function convolution(op: OpBuilder, node: Node, [x, w, bias]: readonly (Value | undefined)[], readers: (value: Value) => number): Value | undefined {
  if (x === undefined || w === undefined || x.dtype !== "float32" || !isStatic(w.shape)) return undefined;
  const geometry = convGeometry(attributesOf<"Conv">(node), w.shape.slice(2));
  return ofResized(op, geometry, { x, w, bias }, readers) ?? inCheapestForm(op, node, geometry, { x, w, bias });
}

function joinedAgain(op: OpBuilder, parts: readonly Value[]): Value {
  return parts.length === 1 ? (parts[0] as Value) : op.concat(parts, 1);
}

/**
 * @param readers how many nodes and results read a value of the graph under construction
 * @returns the output of the node, or `undefined` where the node is to be emitted as it is
 */
export function cheaperForward(op: OpBuilder, node: Node, inputs: readonly (Value | undefined)[], readers: (value: Value) => number): Value | undefined {
  // Measured on the CPU. cuDNN has kernels of its own for both; until it is timed, the file's nodes stay there.
  if (node.domain !== "" || op.provider === "cuda") return undefined;
  const scope = node.name === "" ? op : op.scope(node.name.replace(/^\/+/, ""));
  if (node.op === "ConvTranspose") return byPhases(scope, node, inputs);
  return node.op === "Conv" ? convolution(scope, node, inputs, readers) : undefined;
}
