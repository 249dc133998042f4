/**
 * Weight gradient for stride 1 in two dimensions: dW[m,c,i,j] = Σ dy[m,h,w]·x[c, h + i·d - p, w + j·d - p] splits into
 * vertical shifts of the larger operand, stacked by one Gather over rows, and horizontal shifts of the smaller, made by
 * Pad with negative ends. That leaves one large product per column of the kernel instead of one small one per element.
 */

import { addDims, type Dim, elementCount, subDims } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../builder.ts";
import { type ConvGeometry, type ConvOperands, inGroups, type WindowAxis } from "./conv-geometry.ts";
import { imageSum } from "./image-sum.ts";

/** One operand: the tensor and its channels per group. */
export interface Side {
  readonly value: Value;
  readonly channels: number;
}

/** How the kernel moves the rows of one operand against those of the other: shift i begins at row first + i·step. */
export interface RowShifts {
  readonly count: number;
  readonly first: number;
  readonly step: number;
}

/** The rows of the smaller operand that are handled together; `count` is symbolic where they are all of them. */
export interface RowRun {
  readonly begin: number;
  readonly count: Dim;
}

/** Row of `from` that stands in row r of shift i, or the zero row behind the last. */
function rowTable(op: OpBuilder, from: Value, rows: () => Value, run: RowRun, { count, first, step }: RowShifts): Value {
  const height = dimsOf(from)[2] as Dim;
  if (typeof height === "number" && typeof run.count === "number") {
    const table: number[] = [];
    for (let i = 0; i < count; i++) {
      for (let r = run.begin; r < run.begin + run.count; r++) {
        const row = r + first + i * step;
        table.push(row >= 0 && row < height ? row : height);
      }
    }
    return op.ints(table);
  }
  const end = op.dim(from, 2);
  const range = op.emit("Range", [op.scalar("int64", 0), op.squeeze(rows(), [0]), op.scalar("int64", 1)]);
  const shifts = op.reshape(op.ints(Array.from({ length: count }, (_, i) => first + i * step)), [count, 1]);
  const wanted = op.add(op.unsqueeze(range, [0]), shifts);
  const inside = op.and(op.greaterOrEqual(wanted, 0), op.less(wanted, end));
  return op.reshape(op.where(inside, wanted, end), [-1]);
}

/** `[N, C, H, W]` to `[N, g, C/g·k, rows·W]`: every vertical shift of every channel, as rows of a matrix. */
export function stackedRows(op: OpBuilder, side: Side, group: number, rows: () => Value, run: RowRun, shifts: RowShifts): Value {
  let stacked = side.value;
  if (!(shifts.count === 1 && shifts.first === 0 && dimsOf(side.value)[2] === run.count)) {
    const withZeroRow = op.pad(side.value, [0, 0, 0, 0, 0, 0, 1, 0]);
    stacked = op.gather(withZeroRow, rowTable(op, side.value, rows, run, shifts), 2);
  }
  return inGroups(op, stacked, group, side.channels * shifts.count);
}

/** A product writes each of its elements once, which takes as long as so many multiplications: it counts where maps are small. */
export const writeCost = 64;

/** What moving an element takes in multiplications where all threads do it: in stacked rows, and in columns made by Pad. */
export const moveCost = 40;

/** What putting the elements of the gradient into their order takes in multiplications, once for all images: its share of one. */
export function placeCost({ w, dy }: ConvOperands): number {
  const [images] = dimsOf(dy);
  return (60 * elementCount(dimsOf(w) as readonly number[])) / (typeof images === "number" ? images : 1);
}

/** Multiplications and copies, as multiplications, for one image. Spatial sizes have to be known. */
export function rowsCost({ axes, group }: ConvGeometry, operands: ConvOperands): number {
  const { x, w, dy } = operands;
  const [vertical, horizontal] = axes as readonly [WindowAxis, WindowAxis];
  const [m, perGroup] = dimsOf(w) as readonly number[] as [number, number];
  const [height, width] = dimsOf(dy).slice(2) as [number, number];
  const begins = Array.from({ length: horizontal.size }, (_, j) => horizontal.padBegin - j * horizontal.dilation);
  const seen = begins.filter((begin) => begin < (dimsOf(x)[3] as number) && begin > -width).length;
  const [larger, smaller] = [Math.max(m, perGroup * group), Math.min(m, perGroup * group)];
  const copied = larger * (vertical.size > 1 ? vertical.size : 0) + smaller * (seen - 1);
  return m * perGroup * vertical.size * seen * (height * width + writeCost) + height * width * moveCost * copied + placeCost(operands);
}

/** Bytes of stacked rows at once: what high resolution holds beside the activations. */
const mostBytes = 16 << 20;

/** The rows of the smaller operand in runs whose stacked rows are no more than some bytes; one run of unknown sizes. */
function rowRuns(left: Side, right: Side, shifts: RowShifts, bytesAtOnce: number): RowRun[] {
  const count = dimsOf(right.value)[2] as Dim;
  const [images, channels, , width] = dimsOf(left.value);
  const bytes = 4 * Number(images) * Number(channels) * Number(width) * shifts.count * Number(count);
  if (typeof count !== "number" || !(bytes > bytesAtOnce)) return [{ begin: 0, count }];
  const length = Math.ceil(count / Math.ceil(bytes / bytesAtOnce));
  return Array.from({ length: Math.ceil(count / length) }, (_, i) => ({ begin: i * length, count: Math.min(length, count - i * length) }));
}

/** Whether a shift leaves nothing of a row: dilated kernels reach beyond small maps. */
function shiftedOut(side: Side, begin: number, like: Value): boolean {
  const [from, to] = [dimsOf(side.value)[3], dimsOf(like)[3]];
  return typeof from === "number" && typeof to === "number" && (begin <= -from || begin >= to);
}

/** Pads of the width that shift a tensor by `begin` and make it `width` wide; run-time sizes where they are symbolic. */
function shiftedColumns(op: OpBuilder, side: Side, begin: number, like: Value): Value {
  const widen = subDims(dimsOf(like)[3] as Dim, addDims(dimsOf(side.value)[3] as Dim, begin));
  if (typeof widen === "number") return op.pad(side.value, [0, 0, 0, begin, 0, 0, 0, widen]);
  const end = op.sub(op.sub(op.dim(like, 3), op.dim(side.value, 3)), begin);
  return op.emit("Pad", [side.value, op.concat([op.ints([0, 0, 0, begin, 0, 0, 0]), end], 0)]);
}

/** Where all operands of a group are one or two channels, the kernel's columns go into one product too. */
const narrow = 4;

/** Bytes of shifted columns that stay in the cache of a processor: joining them costs less there than a product for each. */
const cachedBytes = 1 << 19;

function isOneProduct(group: number, left: Side, right: Side, kernelWidth: number, bytesJoined: number): boolean {
  if (right.channels * kernelWidth <= narrow * 2 && left.channels <= narrow) return true;
  const [images, , rows] = dimsOf(right.value);
  const bytes = 4 * Number(images) * group * right.channels * kernelWidth * Number(rows) * Number(dimsOf(left.value)[3]);
  return bytes <= bytesJoined;
}

export interface RowOperands {
  readonly x: Value;
  readonly dy: Value;
  /** `[M, C/g, kh, kw]` */
  readonly weightDims: readonly number[];
  /** Of stacked rows. */
  readonly bytesAtOnce?: number;
  /** Of the columns that go into one product; more are a product each. */
  readonly bytesJoined?: number;
}

export function weightGradientByRows(
  op: OpBuilder,
  { axes, group }: ConvGeometry,
  { x, dy, weightDims, bytesAtOnce = mostBytes, bytesJoined = cachedBytes }: RowOperands,
): Value {
  const [vertical, horizontal] = axes as readonly [WindowAxis, WindowAxis];
  const [m, perGroup] = weightDims as readonly [number, number, number, number];
  const input: Side = { value: x, channels: perGroup };
  const output: Side = { value: dy, channels: m / group };
  const inputLeft = input.channels >= output.channels;
  const [left, right] = inputLeft ? [input, output] : [output, input];
  // x moves by +i·d - p against dy, and dy by the opposite against x.
  const sign = inputLeft ? 1 : -1;
  const shifts: RowShifts = { count: vertical.size, first: -sign * vertical.padBegin, step: sign * vertical.dilation };
  const begins = Array.from({ length: horizontal.size }, (_, j) => sign * (j * horizontal.dilation - horizontal.padBegin));
  const runs = rowRuns(left, right, shifts, bytesAtOnce);
  // A run is complete before the next begins, so that only one holds its stacked rows.
  const products = op.sum(runs.map((run) => productsOf(op, group, left, right, { run, shifts, begins, bytesJoined })));
  // [g, L, kh, kw, R] to [g, M/g, C/g, kh, kw].
  return op.reshape(op.transpose(products, inputLeft ? [0, 4, 1, 2, 3] : [0, 1, 4, 2, 3]), weightDims);
}

interface Windows {
  readonly run: RowRun;
  readonly shifts: RowShifts;
  /** Where each column of the kernel begins. */
  readonly begins: readonly number[];
  readonly bytesJoined: number;
}

/** Every element of the kernel for some rows of the smaller operand: `[g, L, kh, kw, R]`. */
function productsOf(op: OpBuilder, group: number, left: Side, whole: Side, { run, shifts, begins, bytesJoined }: Windows): Value {
  const all = run.begin === 0 && run.count === dimsOf(whole.value)[2];
  const cut = () => op.slice(whole.value, [{ axis: 2, start: run.begin, end: run.begin + Number(run.count) }]);
  const right: Side = all ? whole : { ...whole, value: cut() };
  const stacked = stackedRows(op, left, group, () => op.dim(right.value, 2), run, shifts);
  const columns = begins.map((begin) => (shiftedOut(right, begin, left.value) ? undefined : shiftedColumns(op, right, begin, left.value)));
  const flat = (value: Value) => inGroups(op, value, group, right.channels);
  // [N, g, L·kh, R] per column of the kernel, summed over the batch.
  const times = (column: Value) => imageSum(op, op.matmul(stacked, op.transpose(column, [0, 1, 3, 2])));
  const [kh, kw] = [shifts.count, begins.length];
  const seen = columns.filter((column) => column !== undefined);
  if (kw > 1 && seen.length === kw && isOneProduct(group, left, right, kw, bytesJoined)) {
    const joined = group === 1 ? inGroups(op, op.concat(seen, 1), 1, kw * right.channels) : op.concat(seen.map(flat), 2);
    return op.reshape(times(joined), [group, left.channels, kh, kw, right.channels]);
  }
  const shape = [group, left.channels, kh, 1, right.channels];
  const zeros = () => op.expand(op.scalar(whole.value.dtype, 0), op.ints(shape));
  return op.concat(
    columns.map((column) => (column === undefined ? zeros() : op.reshape(times(flat(column)), shape))),
    3,
  );
}
