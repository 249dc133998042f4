/** Constant tensors: little-endian bytes with a type and dimensions. The bytes are views, never copied. */

import { assert, bug } from "../support/errors.ts";
import { elementCount } from "./dims.ts";
import { byteLength, type DataType } from "./dtype.ts";

export interface Tensor {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  /** Row-major, little-endian, packed as `TensorProto.raw_data`; empty for strings. */
  readonly bytes: Uint8Array;
  /** Only for the type `string`. */
  readonly strings?: readonly Uint8Array[];
}

type NumberArray = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

/** Bytes at the alignment a typed array needs; copies only where the file left them unaligned. */
function aligned(bytes: Uint8Array, width: number): Uint8Array {
  // Not bytes.slice(): a Node Buffer would give a view again.
  return bytes.byteOffset % width === 0 ? bytes : Uint8Array.from(bytes);
}

/** Numbers of a tensor. 64-bit integers become doubles: exact below 2⁵³, and saturated sentinels stay huge. */
export function tensorNumbers(tensor: Tensor): ArrayLike<number> {
  const count = elementCount(tensor.dims);
  const { dtype } = tensor;
  const width = (byteLength(dtype, 8) ?? bug(`no numbers in a tensor of ${dtype}`)) / 8;
  const bytes = aligned(tensor.bytes, Math.max(1, width));
  const at = bytes.byteOffset;
  switch (dtype) {
    case "float32":
      return new Float32Array(bytes.buffer, at, count);
    case "float64":
      return new Float64Array(bytes.buffer, at, count);
    case "int8":
      return new Int8Array(bytes.buffer, at, count);
    case "uint8":
    case "bool":
      return new Uint8Array(bytes.buffer, at, count);
    case "int16":
      return new Int16Array(bytes.buffer, at, count);
    case "uint16":
      return new Uint16Array(bytes.buffer, at, count);
    case "int32":
      return new Int32Array(bytes.buffer, at, count);
    case "uint32":
      return new Uint32Array(bytes.buffer, at, count);
    case "int64":
      return Float64Array.from(new BigInt64Array(bytes.buffer, at, count), Number);
    case "uint64":
      return Float64Array.from(new BigUint64Array(bytes.buffer, at, count), Number);
    case "float16":
      return Float32Array.from(new Uint16Array(bytes.buffer, at, count), halfToNumber);
    case "bfloat16":
      return Float32Array.from(new Uint16Array(bytes.buffer, at, count), bfloat16ToNumber);
    default:
      return bug(`no numbers in a tensor of ${dtype}`);
  }
}

function arrayFor(dtype: DataType, values: ArrayLike<number>): NumberArray | BigInt64Array | BigUint64Array {
  switch (dtype) {
    case "float32":
      return Float32Array.from(values);
    case "float64":
      return Float64Array.from(values);
    case "int8":
      return Int8Array.from(values);
    case "uint8":
      return Uint8Array.from(values);
    case "bool":
      return Uint8Array.from(values, (value) => (value ? 1 : 0));
    case "int16":
      return Int16Array.from(values);
    case "uint16":
      return Uint16Array.from(values);
    case "int32":
      return Int32Array.from(values);
    case "uint32":
      return Uint32Array.from(values);
    case "int64":
      return wholeNumbers(values);
    case "uint64":
      return BigUint64Array.from(Array.from(values, (value) => BigInt(Math.trunc(value))));
    case "float16":
      return Uint16Array.from(values, numberToHalf);
    case "bfloat16":
      return Uint16Array.from(values, numberToBfloat16);
    default:
      return bug(`cannot make a tensor of ${dtype}`);
  }
}

function wholeNumbers(values: ArrayLike<number>): BigInt64Array {
  const result = new BigInt64Array(values.length);
  for (let i = 0; i < values.length; i++) result[i] = toInt64(values[i] as number);
  return result;
}

/** Whole part, saturated: the sentinels ±2⁶³ of Slice come back as the extreme int64. */
function toInt64(value: number): bigint {
  if (value >= 2 ** 63) return 2n ** 63n - 1n;
  if (value <= -(2 ** 63)) return -(2n ** 63n);
  return BigInt(Math.trunc(value));
}

/** A tensor of the given numbers, rounded to `dtype`. */
export function tensorOf(dtype: DataType, dims: readonly number[], values: ArrayLike<number>): Tensor {
  assert(values.length === elementCount(dims), `${values.length} values for the shape [${dims}]`);
  const array = arrayFor(dtype, values);
  return { dtype, dims, bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) };
}

export function scalarTensor(dtype: DataType, value: number): Tensor {
  return tensorOf(dtype, [], [value]);
}

/** The same bytes under other dimensions. */
export function reshapeTensor(tensor: Tensor, dims: readonly number[]): Tensor {
  return { ...tensor, dims };
}

export function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

export function bfloat16ToNumber(value: number): number {
  word[0] = value << 16;
  return float[0] as number;
}

/** Rounds to nearest, ties to even. */
export function numberToBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  float[0] = value;
  const bits = word[0] as number;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Rounds to nearest, ties to even; beyond the largest half it is infinite. */
export function numberToHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  const step = 2 ** (exponent - 10);
  const steps = roundHalfEven(size / step);
  return sign | (size < 2 ** -14 ? steps : ((exponent + 15) << 10) + (steps - 1024));
}

export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
