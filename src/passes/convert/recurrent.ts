/** LSTM, GRU and RNN unrolled over the sequence: each step a few products, so that every gradient rule is at hand. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

/** Weights of one direction, transposed for rows of a batch: `[I, G·H]`, `[H, G·H]`, and the biases `[G·H]`. */
interface Direction {
  readonly fromInput: Value;
  readonly fromState: Value;
  readonly inputBias: Value | undefined;
  readonly stateBias: Value | undefined;
  /** `[3·H]`: how the cell acts on the gates i, o, f. */
  readonly peepholes: Value | undefined;
}

interface State {
  readonly h: Value;
  readonly c: Value;
}

/** One step: what the input gives to all gates `[B, G·H]`, and the state before. */
type Cell = (op: OpBuilder, given: Value, state: State, weights: Direction) => State;

/** Longer sequences would make graphs that take minutes to load. */
const longest = 1024;

const biased = (op: OpBuilder, x: Value, bias: Value | undefined) => (bias === undefined ? x : op.add(x, bias));

function gates(op: OpBuilder, x: Value, count: number): readonly Value[] {
  const hidden = (dimsOf(x).at(-1) as number) / count;
  return op.split(x, 1, new Array<number>(count).fill(hidden));
}

const fromState = (op: OpBuilder, h: Value, weights: Direction) => biased(op, op.matmul(h, weights.fromState), weights.stateBias);

/** Gates i, o, f, c̃: c = f·c + i·c̃, h = o·tanh c. */
const lstmCell: Cell = (op, given, { h, c }, weights) => {
  const [i, o, f, g] = gates(op, op.add(given, fromState(op, h, weights)), 4) as [Value, Value, Value, Value];
  const hidden = dimsOf(g)[1] as number;
  const [pi, po, pf] = weights.peepholes === undefined ? [] : op.split(weights.peepholes, 0, [hidden, hidden, hidden]);
  const seeing = (gate: Value, cell: Value, weight: Value | undefined) => (weight === undefined ? gate : op.add(gate, op.mul(cell, weight)));
  const next = op.add(op.mul(op.sigmoid(seeing(f, c, pf)), c), op.mul(op.sigmoid(seeing(i, c, pi)), op.tanh(g)));
  return { h: op.mul(op.sigmoid(seeing(o, next, po)), op.tanh(next)), c: next };
};

const rnnCell: Cell = (op, given, { h, c }, weights) => ({ h: op.tanh(op.add(given, fromState(op, h, weights))), c });

/** Gates z, r, h̃: h = (1 - z)·h̃ + z·h; the reset gate acts before or behind the product with the state. */
function gruCell(resetBehind: boolean): Cell {
  return (op, given, { h, c }, weights) => {
    const [z, r, candidate] = gates(op, given, 3) as [Value, Value, Value];
    const hidden = dimsOf(candidate).at(-1) as number;
    const part = (x: Value, gate: number) => op.slice(x, [{ axis: dimsOf(x).length - 1, start: gate * hidden, end: (gate + 1) * hidden }]);
    const term = (state: Value, gate: number) =>
      biased(op, op.matmul(state, part(weights.fromState, gate)), weights.stateBias && part(weights.stateBias, gate));
    const update = op.sigmoid(op.add(z, term(h, 0)));
    const reset = op.sigmoid(op.add(r, term(h, 1)));
    const proposed = op.tanh(op.add(candidate, resetBehind ? op.mul(reset, term(h, 2)) : term(op.mul(reset, h), 2)));
    return { h: op.add(proposed, op.mul(update, op.sub(h, proposed))), c };
  };
}

function direction({ op, input, x }: ConvertContext, at: number, gateCount: number): Direction {
  const pick = (value: Value) => op.squeeze(op.slice(value, [{ axis: 0, start: at, end: at + 1 }]), [0]);
  const hidden = dimsOf(input(2))[2] as number;
  const bias = x[3] === undefined ? undefined : op.split(pick(x[3]), 0, [gateCount * hidden, gateCount * hidden]);
  const turned = (value: Value) => op.transpose(pick(value), [1, 0]);
  return { fromInput: turned(input(1)), fromState: turned(input(2)), inputBias: bias?.[0], stateBias: bias?.[1], peepholes: x[7] && pick(x[7]) };
}

/** The initial state of one direction, zeros where it is left out: `[B, H]`. */
function initial({ op, x, input }: ConvertContext, index: number, at: number): Value {
  const given = x[index];
  if (given !== undefined) return op.squeeze(op.slice(given, [{ axis: 0, start: at, end: at + 1 }]), [0]);
  const shape = op.concat([op.dim(input(0), 1), op.ints([dimsOf(input(2))[2] as number])], 0);
  return op.expand(op.scalar("float32", 0), shape);
}

function checkPlain(context: ConvertContext): number {
  const { node, input, int } = context;
  const [length] = dimsOf(input(0));
  const special = ["activations", "clip", "activation_alpha", "activation_beta"].find((name) => node.attributes[name] !== undefined);
  const odd = special ?? (int("input_forget", 0) === 0 ? undefined : "input_forget");
  if (odd === undefined && typeof length === "number" && length <= longest && typeof dimsOf(input(2))[2] === "number") return length;
  throw new OhemgenError(odd === undefined ? `${node.op} over a dynamic or very long sequence` : `${node.op} with ${odd}`, {
    code: "E131",
    where: `node ${node.name}`,
    hint: odd === undefined ? "Fix the size with --input-shape." : "Freeze the weights before it, or export it with the defaults.",
  });
}

/** With the batch first (`layout` 1) X, Y and the states are turned: the sequence or the direction comes second. */
function unrolled(context: ConvertContext, gateCount: number, cell: Cell): readonly Value[] {
  const { op, x, int } = context;
  if (int("layout", 0) === 0) return sequenceFirst(context, gateCount, cell);
  const turned = x.map((value, i) => (value !== undefined && (i === 0 || i === 5 || i === 6) ? op.transpose(value, [1, 0, 2]) : value));
  const inner = { ...context, x: turned, input: (index: number) => turned[index] ?? context.input(index) };
  const [y, h, c] = sequenceFirst(inner, gateCount, cell) as [Value, Value, Value];
  return [op.transpose(y, [2, 0, 1, 3]), op.transpose(h, [1, 0, 2]), op.transpose(c, [1, 0, 2])];
}

/** @returns Y `[T, D, B, H]`, the last h and c `[D, B, H]` */
function sequenceFirst(context: ConvertContext, gateCount: number, cell: Cell): readonly Value[] {
  const { op, x, input, string } = context;
  const length = checkPlain(context);
  const steps = Array.from({ length }, (_, t) => t);
  const kind = string("direction", "forward");
  const runs = (kind === "bidirectional" ? [false, true] : [kind === "reverse"]).map((backwards, at) => {
    const weights = direction(context, at, gateCount);
    const given = biased(op, op.matmul(input(0), weights.fromInput), weights.inputBias);
    const rows = new Array<Value>(length);
    let state: State = { h: initial(context, 5, at), c: initial(context, 6, at) };
    for (const t of backwards ? steps.toReversed() : steps) {
      const next = cell(op, op.squeeze(op.slice(given, [{ axis: 0, start: t, end: t + 1 }]), [0]), state, weights);
      // Behind its end a sequence gives zeros and keeps its state.
      const within = x[4] === undefined ? undefined : op.unsqueeze(op.greater(x[4], op.scalar(x[4].dtype, t)), [1]);
      const kept = (made: Value, before: Value) => (within === undefined ? made : op.where(within, made, before));
      state = { h: kept(next.h, state.h), c: kept(next.c, state.c) };
      rows[t] = op.unsqueeze(within === undefined ? next.h : op.where(within, next.h, 0), [0]);
    }
    return { y: op.unsqueeze(op.concat(rows, 0), [1]), h: op.unsqueeze(state.h, [0]), c: op.unsqueeze(state.c, [0]) };
  });
  return [
    op.concat(
      runs.map(({ y }) => y),
      1,
    ),
    op.concat(
      runs.map(({ h }) => h),
      0,
    ),
    op.concat(
      runs.map(({ c }) => c),
      0,
    ),
  ];
}

const lstm: Converter = (context) => unrolled(context, 4, lstmCell);
const gru: Converter = (context) => unrolled(context, 3, gruCell(context.int("linear_before_reset", 0) !== 0));
const rnn: Converter = (context) => unrolled(context, 1, rnnCell);

export const recurrent = defineConverters({ LSTM: lstm, GRU: gru, RNN: rnn });
