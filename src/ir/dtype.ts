/** Element types of ONNX tensors: names used everywhere, codes and sizes of the file format. */

/** Codes of `TensorProto.DataType`; the position is the code. */
const names = [
  "undefined",
  "float32",
  "uint8",
  "int8",
  "uint16",
  "int16",
  "int32",
  "int64",
  "string",
  "bool",
  "float16",
  "float64",
  "uint32",
  "uint64",
  "complex64",
  "complex128",
  "bfloat16",
  "float8e4m3fn",
  "float8e4m3fnuz",
  "float8e5m2",
  "float8e5m2fnuz",
  "uint4",
  "int4",
  "float4e2m1",
  "float8e8m0",
  "uint2",
  "int2",
] as const;

/** `undefined` is ONNX's own member: a value whose element type is not known. */
export type DataType = (typeof names)[number];

const codes = new Map<DataType, number>(names.map((name, code) => [name, code]));

const bits: Readonly<Partial<Record<DataType, number>>> = {
  float32: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  bool: 8,
  float16: 16,
  float64: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
  float4e2m1: 4,
  float8e8m0: 8,
  uint2: 2,
  int2: 2,
};

export function dataTypeName(code: number): DataType | undefined {
  return names[code];
}

export function dataTypeCode(dtype: DataType): number {
  return codes.get(dtype) ?? 0;
}

/** Bytes that `count` packed elements occupy; `undefined` for strings and unknown types. */
export function byteLength(dtype: DataType, count: number): number | undefined {
  const width = bits[dtype];
  return width === undefined ? undefined : Math.ceil((count * width) / 8);
}

/** The largest finite float32. */
export const largestFloat32 = 3.4028234663852886e38;

export function isFloat(dtype: DataType): boolean {
  return dtype === "float32" || dtype === "float16" || dtype === "float64" || dtype === "bfloat16";
}

export function isInteger(dtype: DataType): boolean {
  return /^u?int(8|16|32|64)$/.test(dtype);
}
