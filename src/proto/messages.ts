/**
 * Types of decoded ONNX messages. Fields that are not in the file read as their default; `hasField` tells them apart.
 * 64-bit integers are numbers where exact, else `Int64`. Empty lists are shared and frozen: to add, assign a new list.
 */

/** A 64-bit integer outside the exact range of numbers, as two signed halves. */
export interface Int64 {
  readonly low: number;
  readonly high: number;
  readonly unsigned: boolean;
}

export type Integer = number | Int64;

export interface StringEntry {
  key: string;
  value: string;
}

export interface OperatorSetIdProto {
  domain?: string;
  version: Integer;
}

export interface ModelProto {
  irVersion: Integer;
  opsetImport: OperatorSetIdProto[];
  producerName: string;
  producerVersion: string;
  domain: string;
  modelVersion: Integer;
  docString: string;
  graph: GraphProto;
  metadataProps: StringEntry[];
  trainingInfo: unknown[];
  functions: FunctionProto[];
  configuration: unknown[];
}

export interface GraphProto {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  sparseInitializer: SparseTensorProto[];
  docString: string;
  input: ValueInfoProto[];
  output: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
  quantizationAnnotation: unknown[];
  metadataProps: StringEntry[];
}

export interface NodeProto {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  domain: string;
  overload: string;
  attribute: AttributeProto[];
  docString: string;
  metadataProps: StringEntry[];
}

/** Values of `AttributeProto.type`. */
export const attributeTypes = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  tensors: 9,
  graphs: 10,
  sparseTensor: 11,
  sparseTensors: 12,
  typeProto: 13,
  typeProtos: 14,
} as const;

export interface AttributeProto {
  name: string;
  refAttrName: string;
  type: number;
  f: number;
  i: Integer;
  s: Uint8Array;
  t: TensorProto;
  g: GraphProto;
  sparseTensor: SparseTensorProto;
  floats: number[];
  ints: Integer[];
  strings: Uint8Array[];
  tensors: TensorProto[];
  graphs: GraphProto[];
}

export interface TensorProto {
  dims: Integer[];
  dataType: number;
  /** Chunks of packed data as they stand in the file, here and below. */
  floatData: Uint8Array[];
  int32Data: Uint8Array[];
  stringData: Uint8Array[];
  int64Data: Uint8Array[];
  doubleData: Uint8Array[];
  uint64Data: Uint8Array[];
  name: string;
  rawData: Uint8Array;
  externalData: StringEntry[];
  /** 1: the bytes are in another file. */
  dataLocation: number;
  /** Fields outside the schema, tag included: unpacked numbers are among them. */
  $unknowns?: Uint8Array[];
}

export interface SparseTensorProto {
  values: TensorProto;
  indices: TensorProto;
  dims: Integer[];
}

export interface ValueInfoProto {
  name: string;
  type: TypeProto | null;
}

export interface TypeProto {
  tensorType?: TensorTypeProto | null;
}

export interface TensorTypeProto {
  elemType: number;
  shape?: { dim: DimensionProto[] } | null;
}

export interface DimensionProto {
  dimValue?: Integer;
  dimParam?: string;
}

export interface FunctionProto {
  name: string;
  input: string[];
  output: string[];
  attribute: string[];
  attributeProto: AttributeProto[];
  node: NodeProto[];
  opsetImport: OperatorSetIdProto[];
  domain: string;
  overload: string;
  valueInfo: ValueInfoProto[];
}

export function hasField<T extends object>(message: T, field: keyof T): boolean {
  return Object.hasOwn(message, field) && message[field] !== null && message[field] !== undefined;
}

/** The nearest number; exact up to 2⁵³. */
export function integerValue(value: Integer): number {
  if (typeof value === "number") return value;
  return (value.unsigned ? value.high >>> 0 : value.high) * 2 ** 32 + (value.low >>> 0);
}

/** For encoding; beyond 64 bits it saturates, so that the sentinels ±2⁶³ of Slice survive. */
export function integerOf(value: number): Integer {
  if (value >= 2 ** 63) return { low: -1, high: 0x7fffffff, unsigned: false };
  if (value <= -(2 ** 63)) return { low: 0, high: -0x80000000, unsigned: false };
  return value;
}
