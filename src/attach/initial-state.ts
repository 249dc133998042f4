/**
 * The state before the first step: the weights of the file, moments and counters at zero, `ema` at the weights. In
 * pieces that are views of the model's bytes where they can be: what is written is never in memory a second time.
 */

import { elementCount } from "../ir/dims.ts";
import type { DataType } from "../ir/dtype.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";
import { stateNames } from "../optim/options.ts";
import type { Plan } from "./plan.ts";

/** A tensor whose bytes come one piece after another; asked again, they come again. */
export interface TensorInPieces {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly pieces: () => Iterable<Uint8Array>;
}

const zeroBlock = 1 << 20;

function zeros(count: number): TensorInPieces {
  return {
    dtype: "float32",
    dims: [count],
    *pieces() {
      const block = new Uint8Array(Math.min(zeroBlock, count * 4));
      for (let left = count * 4; left > 0; left -= block.length) yield block.subarray(0, Math.min(left, block.length));
    },
  };
}

/** Tensors one after another as one float32 vector; those of another type are converted when their turn comes. */
function inARow(tensors: readonly Tensor[], count: number): TensorInPieces {
  return {
    dtype: "float32",
    dims: [count],
    *pieces() {
      for (const tensor of tensors) yield tensor.dtype === "float32" ? tensor.bytes : tensorOf("float32", tensor.dims, tensorNumbers(tensor)).bytes;
    },
  };
}

/** By the name of the input, in the order of the inputs. */
export function initialState({ layout, optimizer, statistics }: Plan): ReadonlyMap<string, TensorInPieces> {
  const params = inARow(
    layout.tensors.map(({ tensor }) => tensor),
    layout.length,
  );
  const state = new Map([["params", params]]);
  for (const name of stateNames(optimizer)) {
    if (name === "step") state.set(name, { dtype: "int64", dims: [1], pieces: () => [new Uint8Array(8)] });
    else state.set(name, name === "ema" ? params : zeros(layout.length));
  }
  if (statistics.length > 0) {
    const initial = statistics.map((statistic) => statistic.initial.tensor);
    state.set(
      "running_stats",
      inARow(
        initial,
        initial.reduce((sum, { dims }) => sum + elementCount(dims), 0),
      ),
    );
  }
  return state;
}

/** The tensor whole. */
export function joinPieces({ dtype, dims, pieces }: TensorInPieces): Tensor {
  const bytes = new Uint8Array(elementCount(dims) * (dtype === "int64" ? 8 : 4));
  let at = 0;
  for (const piece of pieces()) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { dtype, dims, bytes };
}
