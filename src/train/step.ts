/**
 * One update of the state: a single run of `train_step.onnx`, or several of `gradient.onnx` whose mean gradient goes
 * through `update.onnx`. Two sets of state tensors are written in turn, so that a step allocates nothing large.
 */

import { bug } from "../support/errors.ts";
import type { Batch } from "./batches.ts";
import { batchFeeds } from "./evaluate.ts";
import type { Layout } from "./layout.ts";
import { disposeOnDevice, type RuntimeTensor, type Session, scalarOf, type Tensors } from "./runtime.ts";

export interface StepResult {
  readonly state: Tensors;
  readonly loss: number;
  readonly ce: number;
  readonly lovasz: number;
  /** Pixels kept by the mining, and labelled ones. */
  readonly kept: number;
  readonly valid: number;
  readonly gradNorm: number;
  /** False: something was not finite, and the state is as it was. */
  readonly finite: boolean;
}

export interface Stepper {
  /** Batches of one update. */
  readonly batches: number;
  /** The state given is not written to; that of the step before last may be. */
  run(state: Tensors, next: () => Promise<BorrowedBatch>, rate: number): Promise<StepResult>;
  /** The state in memory of the CPU, wherever it is kept between steps. */
  read(state: Tensors): Promise<Tensors>;
  /** Gives back the memory that its states have on a device; before its sessions are closed. */
  release(): void;
  close(): Promise<void>;
}

/** A batch and what to do when the graph has read it. */
export interface BorrowedBatch {
  readonly batch: Batch;
  readonly release: () => void;
}

/** State that is in memory of the CPU already. */
const asItIs = async (state: Tensors): Promise<Tensors> => state;

/** One batch per update. @param read fetches state that stays on a device */
export function fusedStepper(session: Session, layout: Layout, read: Stepper["read"] = asItIs): Stepper {
  const buffers = new StateBuffers();
  return {
    batches: 1,
    async run(state, next, rate) {
      const { batch, release } = await next();
      const feeds = batchFeeds(batch, layout, session, state);
      feeds.set("learning_rate", learningRateTensor(session, rate));
      const result = await session.run(feeds, session.outputs, buffers.outputs(state));
      release();
      return { state: buffers.taken(state, result), ...lossesOf([result]), gradNorm: scalarOf(result, "grad_norm"), finite: scalarOf(result, "finite") === 1 };
    },
    read,
    release: () => buffers.dispose(),
    close: () => session.close(),
  };
}

/** The gradient is the mean over `batches` batches; running statistics pass through all of them. */
export function accumulatingStepper(gradient: Session, update: Session, layout: Layout, batches: number, read: Stepper["read"] = asItIs): Stepper {
  const buffers = new StateBuffers();
  const apply = async (state: Tensors, sum: Float32Array, rate: number): Promise<Map<string, RuntimeTensor>> => {
    const feeds = new Map([...state].filter(([name]) => update.inputs.includes(name)));
    feeds.set("params.grad", update.tensor(sum, [sum.length]));
    feeds.set("learning_rate", learningRateTensor(update, rate));
    return update.run(feeds, update.outputs, buffers.outputs(state, update.outputs));
  };
  return {
    batches,
    async run(state, next, rate) {
      const results: Tensors[] = [];
      let statistics = state.get("running_stats");
      let sum: Float32Array | undefined;
      for (let i = 0; i < batches; i++) {
        const { batch, release } = await next();
        const current = statistics === undefined ? state : new Map([...state, ["running_stats", statistics]]);
        const result = await gradient.run(batchFeeds(batch, layout, gradient, current));
        release();
        statistics = result.get("running_stats.next") ?? statistics;
        sum = added(sum, (result.get("params.grad") as RuntimeTensor).data as Float32Array, 1 / batches);
        results.push(withoutGradient(result));
      }
      const losses = lossesOf(results);
      const finite = results.every((result) => scalarOf(result, "finite") === 1);
      const result = await apply(state, sum ?? bug("no batch"), rate);
      const gradNorm = scalarOf(result, "grad_norm");
      if (!finite || scalarOf(result, "finite") !== 1) {
        disposeOnDevice(result);
        return { state, ...losses, gradNorm, finite: false };
      }
      if (statistics !== undefined) result.set("running_stats.next", statistics);
      return { state: buffers.taken(state, result), ...losses, gradNorm, finite: true };
    },
    read,
    release: () => buffers.dispose(),
    async close() {
      await Promise.all([gradient.close(), update.close()]);
    },
  };
}

function learningRateTensor(session: Session, rate: number): RuntimeTensor {
  return session.tensor(Float32Array.of(rate), []);
}

function added(sum: Float32Array | undefined, gradient: Float32Array, factor: number): Float32Array {
  const result = sum ?? new Float32Array(gradient.length);
  for (let i = 0; i < gradient.length; i++) result[i] = (result[i] as number) + (gradient[i] as number) * factor;
  return result;
}

function withoutGradient(result: Tensors): Tensors {
  return new Map([...result].filter(([name]) => name !== "params.grad"));
}

/** Means over the batches; a head's own losses are left to the graph's total. */
function lossesOf(results: readonly Tensors[]): Pick<StepResult, "loss" | "ce" | "lovasz" | "kept" | "valid"> {
  const sum = (name: string): number => results.reduce((total, result) => total + (result.has(name) ? scalarOf(result, name) : Number.NaN), 0);
  const mean = (name: string): number => sum(name) / results.length;
  return { loss: mean("loss"), ce: mean("ce"), lovasz: mean("lovasz"), kept: sum("kept"), valid: sum("valid") };
}

/**
 * Memory of the next state: two sets, of which one holds the present state. On a device the runtime allocates, and
 * the older set is given back.
 */
class StateBuffers {
  readonly #sets: [Tensors | undefined, Tensors | undefined] = [undefined, undefined];

  /** Tensors to write the outputs into, by output name; none in the first two steps. */
  outputs(present: Tensors, names?: readonly string[]): Tensors {
    const [first, second] = this.#sets;
    const other = present === first ? second : first;
    const entries = [...(other ?? [])].filter(([, { location }]) => location === "cpu").map(([name, tensor]) => [`${name}.next`, tensor] as const);
    return new Map(entries.filter(([name]) => names === undefined || names.includes(name)));
  }

  /** The next state out of a run's outputs. */
  taken(present: Tensors, result: Tensors): Tensors {
    const next = new Map([...present.keys()].map((name) => [name, result.get(`${name}.next`) ?? bug(`no next ${name}`)] as const));
    const index = present === this.#sets[0] ? 1 : 0;
    disposeOnDevice(this.#sets[index]);
    this.#sets[index] = next;
    return next;
  }

  dispose(): void {
    for (const set of this.#sets) disposeOnDevice(set);
  }
}
