/** What the numbers of a constant say: fills, masks, ramps of coordinates, interpolation matrices. Learned tensors are none of these. */

import { elementCount } from "../ir/dims.ts";
import { type Tensor, tensorNumbers } from "../ir/tensor.ts";

/** All elements are the same number, or this one. */
export function isUniform(tensor: Tensor, number?: number): boolean {
  const numbers = tensorNumbers(tensor);
  const first = number ?? numbers[0];
  for (let i = 0; i < numbers.length; i++) if (numbers[i] !== first) return false;
  return true;
}

/** Factors of 0 and 1, or summands of 0 and a large negative number (attention: −100, −10⁴, −∞). */
export function isMask(tensor: Tensor, op: string): boolean {
  const numbers = tensorNumbers(tensor);
  if (op === "Div" || isUniform(tensor)) return false;
  const on = (x: number) => (op === "Mul" ? x === 1 : x <= -50);
  for (let i = 0; i < numbers.length; i++) if (numbers[i] !== 0 && !on(numbers[i] as number)) return false;
  return true;
}

/** Equal steps along one axis, at least four, and no change along the others: pixel coordinates, positions. */
export function isCoordinates({ dims, ...rest }: Tensor): boolean {
  const numbers = tensorNumbers({ dims, ...rest });
  const long = dims.flatMap((size, axis) => (size > 1 ? [axis] : []));
  return long.some((axis) => {
    const size = dims[axis] as number;
    if (size < 4) return false;
    const stride = elementCount(dims.slice(axis + 1));
    const [first, last] = [numbers[0] as number, numbers[(size - 1) * stride] as number];
    const step = (last - first) / (size - 1);
    if (!(Math.abs(step) > 0)) return false;
    const tolerance = 1e-5 * Math.max(Math.abs(first), Math.abs(last), Math.abs(step));
    for (let i = 0; i < numbers.length; i++) {
      const expected = first + step * (Math.floor(i / stride) % size);
      if (!(Math.abs((numbers[i] as number) - expected) <= tolerance)) return false;
    }
    return true;
  });
}

/** A matrix whose rows, or columns, are up to four neighbouring weights that add up to 1, and 0 elsewhere. */
export function isInterpolation({ dims, ...rest }: Tensor): boolean {
  const long = dims.filter((size) => size > 1);
  if (long.length !== 2 || Math.max(...long) < 6) return false;
  const [rows, columns] = long as [number, number];
  const numbers = tensorNumbers({ dims, ...rest });
  const lines = (count: number, length: number, at: (line: number, i: number) => number) =>
    Array.from({ length: count }, (_, line) => line).every((line) => isStencil(length, (i) => at(line, i)));
  return lines(rows, columns, (row, i) => numbers[row * columns + i] as number) || lines(columns, rows, (column, i) => numbers[i * columns + column] as number);
}

function isStencil(length: number, at: (i: number) => number): boolean {
  let [first, last, sum] = [-1, -1, 0];
  for (let i = 0; i < length; i++) {
    const x = at(i);
    if (x === 0) continue;
    if (first < 0) first = i;
    last = i;
    sum += x;
  }
  return first >= 0 && last - first < Math.min(4, length - 1) && Math.abs(sum - 1) < 1e-4;
}
