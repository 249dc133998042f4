/** The constants of a graph under construction: an equal small tensor exists once, under the name it was first asked for. */

import type { DataType } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";
import { mixed } from "./node-table.ts";

/** Larger tensors are taken as they are: comparing them costs more than what may be found. */
const largestShared = 1024;

/** Equal for equal tensors alone. */
const keyOf = ({ dtype, dims, bytes }: Tensor): string => `${dtype}[${dims}]${bytes.join(" ")}`;

interface Vector {
  readonly numbers: readonly number[];
  readonly value: Value;
}

export class Constants {
  private readonly values = new Map<string, Value>();
  /** int64 vectors by the hash of their numbers: most constants are, and are asked for again and again. */
  private readonly vectors = new Map<number, Vector[]>();

  tensor(tensor: Tensor, name: string): Value {
    const make = (): Value => ({ name, dtype: tensor.dtype, shape: tensor.dims, constant: tensor });
    if (tensor.bytes.length > largestShared || tensor.strings) return make();
    if (tensor.dtype !== "int64" || tensor.dims.length !== 1) return this.known(keyOf(tensor), make);
    const numbers = Array.from(tensorNumbers(tensor));
    return numbers.every(Number.isSafeInteger) ? this.vector(numbers, () => ({ ...make(), content: numbers })) : this.known(keyOf(tensor), make);
  }

  /** Found without making its tensor again; `prefix` of the name. */
  scalar(dtype: DataType, value: number, prefix: string): Value {
    return this.known(`${dtype} ${Object.is(value, -0) ? "-0" : value}`, () => this.tensor(tensorOf(dtype, [], [value]), `${prefix}constant`));
  }

  /** An int64 vector, found without making its tensor again. */
  ints(numbers: readonly number[], prefix: string): Value {
    return this.vector(numbers, () => {
      const constant = tensorOf("int64", [numbers.length], numbers);
      const name = `${prefix}constant`;
      if (!numbers.every(Number.isSafeInteger)) return this.known(keyOf(constant), () => ({ name, dtype: "int64", shape: constant.dims, constant }));
      return { name, dtype: "int64", shape: constant.dims, constant, content: numbers };
    });
  }

  /** A tensor that its key tells, however large. */
  shared(key: string, make: () => Tensor, name: string): Value {
    return this.known(key, () => {
      const constant = make();
      return { name, dtype: constant.dtype, shape: constant.dims, constant };
    });
  }

  private known(key: string, make: () => Value): Value {
    const known = this.values.get(key);
    if (known !== undefined) return known;
    const value = make();
    this.values.set(key, value);
    return value;
  }

  private vector(numbers: readonly number[], make: () => Value): Value {
    let hash = numbers.length;
    for (const number of numbers) hash = mixed(hash, number);
    const alike = this.vectors.get(hash);
    const known = alike?.find((vector) => sameNumbers(vector.numbers, numbers));
    if (known !== undefined) return known.value;
    const value = make();
    const vector = { numbers, value };
    if (alike === undefined) this.vectors.set(hash, [vector]);
    else alike.push(vector);
    return value;
  }
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
