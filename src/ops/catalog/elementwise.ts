/** Elementwise operators: one output in the broadcast shape. */

import { addDims, type Dim, floorDivDims, mulDims, productOfDims, subDims } from "../../ir/dims.ts";
import { type DataType, dataTypeName, isFloat } from "../../ir/dtype.ts";
import {
  type AttributeSpecs,
  broadcastShapes,
  contentOf,
  defineOp,
  float,
  type InferContext,
  int,
  type OpSchema,
  type OutputType,
  optionalInt,
  required,
  string,
} from "../define.ts";

function unary<const S extends AttributeSpecs>(attrs: S, dtype?: DataType): OpSchema<S> {
  return defineOp({
    attrs,
    infer: (context) => {
      const x = required(context, 0);
      return [{ dtype: dtype ?? x.dtype, shape: x.shape }];
    },
  });
}

function broadcastAll(context: InferContext<unknown>, from = 0): OutputType["shape"] {
  return context.x
    .slice(from)
    .map((value, i) => value?.shape ?? required(context, from + i).shape)
    .reduce((a, b) => broadcastShapes(context.op, a, b, context.fresh));
}

const combine: Readonly<Record<string, (a: Dim, b: Dim) => Dim | undefined>> = {
  Add: addDims,
  Sub: subDims,
  Mul: mulDims,
  // Integer division truncates; of sizes, which are not negative, that is the floor.
  Div: (a, b) => (b === 0 ? undefined : typeof a === "number" && typeof b === "number" ? Math.trunc(a / b) : floorDivDims(a, b)),
  Max: (a, b) => (typeof a === "number" && typeof b === "number" ? Math.max(a, b) : a === b ? a : undefined),
  Min: (a, b) => (typeof a === "number" && typeof b === "number" ? Math.min(a, b) : a === b ? a : undefined),
};

/** Sizes computed from sizes: small integer vectors keep their symbolic elements through arithmetic. */
function combinedContent(context: InferContext<unknown>): readonly Dim[] | undefined {
  const rule = combine[context.op];
  const a = contentOf(context.x[0]);
  const b = contentOf(context.x[1]);
  if (rule === undefined || a === undefined || b === undefined || context.x.length !== 2) return undefined;
  if (a.length > 64 || b.length > 64) return undefined;
  if (isFloat(required(context, 0).dtype)) {
    // Whole factors only: 2*H is exact, H/2 as a float is not a size.
    if (context.op !== "Mul" || ![...a, ...b].every((dim) => typeof dim === "string" || Number.isInteger(dim))) return undefined;
  }
  const count = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let i = 0; i < count; i++) {
    const dim = rule(a[a.length === 1 ? 0 : i] as Dim, b[b.length === 1 ? 0 : i] as Dim);
    if (dim === undefined) return undefined;
    result.push(dim);
  }
  return result;
}

function variadic<const S extends AttributeSpecs>(attrs: S, dtype?: DataType): OpSchema<S> {
  return defineOp({
    attrs,
    infer: (context) => {
      const shape = broadcastAll(context);
      const content = shape !== undefined && shape.length <= 1 ? combinedContent(context) : undefined;
      return [{ dtype: dtype ?? required(context, 0).dtype, shape, content }];
    },
  });
}

const sameContent = <const S extends AttributeSpecs>(attrs: S): OpSchema<S> =>
  defineOp({
    attrs,
    infer: (context) => {
      const x = required(context, 0);
      return [{ dtype: x.dtype, shape: x.shape, content: x.content, parts: x.parts }];
    },
  });

export const elementwise = {
  Abs: unary({}),
  Acos: unary({}),
  Acosh: unary({}),
  Asin: unary({}),
  Asinh: unary({}),
  Atan: unary({}),
  Atanh: unary({}),
  BitwiseNot: unary({}),
  Ceil: sameContent({}),
  Celu: unary({ alpha: float(1) }),
  Clip: unary({}),
  Cos: unary({}),
  Cosh: unary({}),
  Elu: unary({ alpha: float(1) }),
  Erf: unary({}),
  Exp: unary({}),
  Floor: sameContent({}),
  HardSigmoid: unary({ alpha: float(0.2), beta: float(0.5) }),
  HardSwish: unary({}),
  Hardmax: unary({ axis: int(-1) }),
  Identity: sameContent({}),
  IsInf: unary({ detect_negative: int(1), detect_positive: int(1) }, "bool"),
  IsNaN: unary({}, "bool"),
  LeakyRelu: unary({ alpha: float(0.01) }),
  Log: unary({}),
  LogSoftmax: unary({ axis: int(-1) }),
  Mish: unary({}),
  Neg: unary({}),
  Not: unary({}, "bool"),
  Reciprocal: unary({}),
  Relu: unary({}),
  Round: unary({}),
  Selu: unary({ alpha: float(1.6732632423543772), gamma: float(1.0507009873554805) }),
  Shrink: unary({ bias: float(0), lambd: float(0.5) }),
  Sigmoid: unary({}),
  Sign: unary({}),
  Sin: unary({}),
  Sinh: unary({}),
  Softmax: unary({ axis: int(-1) }),
  Softplus: unary({}),
  Softsign: unary({}),
  Sqrt: unary({}),
  Tan: unary({}),
  Tanh: unary({}),
  ThresholdedRelu: unary({ alpha: float(1) }),
  Add: variadic({}),
  Sub: variadic({}),
  Mul: variadic({}),
  Div: variadic({}),
  Pow: variadic({}),
  Mod: variadic({ fmod: int(0) }),
  Max: variadic({}),
  Min: variadic({}),
  Mean: variadic({}),
  Sum: variadic({}),
  PRelu: defineOp({
    attrs: {},
    infer: (context) => [{ dtype: required(context, 0).dtype, shape: required(context, 0).shape }],
  }),
  And: variadic({}, "bool"),
  Or: variadic({}, "bool"),
  Xor: variadic({}, "bool"),
  Equal: variadic({}, "bool"),
  Greater: variadic({}, "bool"),
  GreaterOrEqual: variadic({}, "bool"),
  Less: variadic({}, "bool"),
  LessOrEqual: variadic({}, "bool"),
  BitwiseAnd: variadic({}),
  BitwiseOr: variadic({}),
  BitwiseXor: variadic({}),
  BitShift: variadic({ direction: string("LEFT") }),
  Where: defineOp({
    attrs: {},
    infer: (context) => [{ dtype: required(context, 1).dtype, shape: broadcastAll(context) }],
  }),
  Cast: defineOp({
    attrs: { to: int(0), saturate: int(1) },
    infer: (context) => {
      const x = required(context, 0);
      return [{ dtype: dataTypeName(context.attrs.to) ?? "undefined", shape: x.shape, content: x.content, parts: x.parts }];
    },
  }),
  CastLike: defineOp({
    attrs: { saturate: int(1) },
    infer: (context) => [{ dtype: required(context, 1).dtype, shape: required(context, 0).shape }],
  }),
  Dropout: defineOp({
    attrs: { seed: optionalInt() },
    infer: (context) => {
      const { dtype, shape } = required(context, 0);
      return [
        { dtype, shape },
        { dtype: "bool", shape },
      ];
    },
  }),
  CumSum: unary({ exclusive: int(0), reverse: int(0) }),
  Size: defineOp({
    attrs: {},
    infer: (context) => {
      const { shape } = required(context, 0);
      return [{ dtype: "int64", shape: [], content: shape === undefined ? undefined : [productOfDims(shape)] }];
    },
  }),
} as const;
