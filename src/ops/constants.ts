/** The constants of a graph under construction: an equal small tensor exists once, under the name it was first asked for. */

import type { DataType } from "../ir/dtype.ts";
import type { Value } from "../ir/graph.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../ir/tensor.ts";

/** Larger tensors are taken as they are: comparing them costs more than what may be found. */
const largestShared = 1024;

const intsKey = (values: readonly number[]): string => `ints ${values.join(",")}`;

/** Equal for equal tensors alone; that of int64 vectors, which are most, is the one that `ints` asks for. */
function keyOf(tensor: Tensor): string {
  const { dtype, dims, bytes } = tensor;
  const numbers = dtype === "int64" && dims.length === 1 ? Array.from(tensorNumbers(tensor)) : undefined;
  return numbers?.every(Number.isSafeInteger) ? intsKey(numbers) : `${dtype}[${dims}]${bytes.join(" ")}`;
}

export class Constants {
  private readonly values = new Map<string, Value>();

  tensor(tensor: Tensor, name: string): Value {
    const small = tensor.bytes.length <= largestShared && !tensor.strings;
    const make = (): Value => ({ name, dtype: tensor.dtype, shape: tensor.dims, constant: tensor });
    return small ? this.known(keyOf(tensor), make) : make();
  }

  /** Found without making its tensor again, as is a vector. */
  scalar(dtype: DataType, value: number, name: string): Value {
    return this.known(`${dtype} ${Object.is(value, -0) ? "-0" : value}`, () => this.tensor(tensorOf(dtype, [], [value]), name));
  }

  /** An int64 vector. */
  ints(values: readonly number[], name: string): Value {
    return this.known(intsKey(values), () => this.tensor(tensorOf("int64", [values.length], values), name));
  }

  private known(key: string, make: () => Value): Value {
    const known = this.values.get(key);
    if (known !== undefined) return known;
    const value = make();
    this.values.set(key, value);
    return value;
  }
}
