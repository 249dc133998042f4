/** Operators that no gradient passes: quantization, random numbers, choices that only make positions. */

import { type DataType, dataTypeName } from "../../ir/dtype.ts";
import { type AttributeSpecs, defineOp, float, int, ints, type OpSchema, type OutputType, optionalFloat, optionalInt, required } from "../define.ts";

const typeOf = (code: number | undefined, otherwise: DataType): DataType => (code === undefined ? otherwise : (dataTypeName(code) ?? "undefined"));

/** The shape of the first input, the type it has or the attribute `dtype` names. */
function shapedLike<const S extends AttributeSpecs>(attrs: S): OpSchema<S & { readonly dtype: ReturnType<typeof optionalInt> }> {
  return defineOp({
    attrs: { ...attrs, dtype: optionalInt() },
    infer: (context): OutputType[] => {
      const { dtype, shape } = required(context, 0);
      return [{ dtype: typeOf(context.attrs.dtype as number | undefined, dtype), shape }];
    },
  });
}

function random<const S extends AttributeSpecs>(attrs: S): OpSchema<S & { readonly dtype: ReturnType<typeof int>; readonly shape: ReturnType<typeof ints> }> {
  return defineOp({
    attrs: { ...attrs, dtype: int(1), shape: ints() },
    infer: (context): OutputType[] => [
      { dtype: typeOf(context.attrs.dtype as number, "float32"), shape: context.attrs.shape as readonly number[] | undefined },
    ],
  });
}

const normal = { mean: float(0), scale: float(1), seed: optionalFloat() };
const uniform = { high: float(1), low: float(0), seed: optionalFloat() };

export const declared = {
  EyeLike: shapedLike({ k: int(0) }),
  Bernoulli: shapedLike({ seed: optionalFloat() }),
  RandomNormal: random(normal),
  RandomNormalLike: shapedLike(normal),
  RandomUniform: random(uniform),
  RandomUniformLike: shapedLike(uniform),
  QuantizeLinear: defineOp({
    attrs: { axis: int(1) },
    infer: (context) => [{ dtype: context.x[2]?.dtype ?? "uint8", shape: required(context, 0).shape }],
  }),
  NonMaxSuppression: defineOp({
    attrs: { center_point_box: int(0) },
    infer: (context) => [{ dtype: "int64", shape: [context.fresh(), 3] }],
  }),
} as const;
