/** Old spellings: attributes that became inputs, operators renamed, coerced shapes. */

import { elementCount } from "../../ir/dims.ts";
import { dataTypeCode, dataTypeName, isFloat } from "../../ir/dtype.ts";
import type { Attribute, Value } from "../../ir/graph.ts";
import type { Tensor } from "../../ir/tensor.ts";
import { tensorNumbers, tensorOf } from "../../ir/tensor.ts";
import type { OpBuilder } from "../../ops/builder.ts";
import { OhemgenError } from "../../support/errors.ts";
import { type ConvertContext, type Converter, defineConverters } from "./registry.ts";

/** `axes` as an attribute (before opset 13 or 18) becomes the second input. */
const axesToInput: Converter = ({ op, node, x, ints, int, same }) => {
  const axes = ints("axes");
  const keepdims = { keepdims: int("keepdims", 1) };
  const attrs = node.op.startsWith("Reduce") ? keepdims : {};
  if (x[1] !== undefined) return same();
  return same({ inputs: axes === undefined ? [x[0]] : [x[0], op.ints(axes)], attrs });
};

/** Before opset 13 these worked on a matrix: everything from `axis` on was one row. */
const coerced: Converter = ({ op, node, input, int, version, same }) => {
  if (version >= 13) return same();
  const x = input(0);
  const rank = x.shape?.length;
  const axis = int("axis", 1);
  const at = axis < 0 && rank !== undefined ? axis + rank : axis;
  if (rank === undefined || at === rank - 1) return same({ attrs: { axis: -1 } });
  const flat = op.emit("Flatten", [x], { axis: at });
  const result = op.emit(node.op as "Softmax", [flat], { axis: -1 });
  return [op.reshapeLike(result, x)];
};

function constantTensor(attribute: Attribute | undefined, name: string): Tensor | undefined {
  if (attribute === undefined) return undefined;
  const numbers = (values: readonly number[], dtype: "float32" | "int64", scalar: boolean) => tensorOf(dtype, scalar ? [] : [values.length], values);
  switch (name) {
    case "value":
      return attribute.type === "tensor" ? attribute.value : undefined;
    case "value_float":
      return numbers([attribute.value as number], "float32", true);
    case "value_floats":
      return numbers(attribute.value as readonly number[], "float32", false);
    case "value_int":
      return numbers([attribute.value as number], "int64", true);
    case "value_ints":
      return numbers(attribute.value as readonly number[], "int64", false);
    default:
      return undefined;
  }
}

/** Half, bfloat16 and double tensors as float32. */
export function singlePrecision(tensor: Tensor): Tensor {
  return isFloat(tensor.dtype) && tensor.dtype !== "float32" ? tensorOf("float32", tensor.dims, tensorNumbers(tensor)) : tensor;
}

/** The tensor of a Constant node, whichever attribute holds it. */
export function tensorOfConstant(attributes: Readonly<Record<string, Attribute>>): Tensor | undefined {
  for (const [name, attribute] of Object.entries(attributes)) {
    const tensor = constantTensor(attribute, name);
    if (tensor !== undefined) return tensor;
  }
  return undefined;
}

function bound(op: OpBuilder, like: Value, value: number, infinite: number): Value | undefined {
  return value === infinite ? undefined : op.scalar(like.dtype, value);
}

const upsample: Converter = ({ op, node, x, input, string }) => {
  const attribute = node.attributes["scales"];
  const scales = attribute?.type === "floats" ? op.constant(tensorOf("float32", [attribute.value.length], attribute.value)) : x[1];
  const mode = string("mode", "nearest");
  const attrs = { mode, coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
  return [op.emit("Resize", [input(0), undefined, scales], attrs)];
};

/** An empty tensor stands for an input left out. */
function orAbsent(value: Value | undefined): Value | undefined {
  return value?.constant !== undefined && elementCount(value.constant.dims) === 0 ? undefined : value;
}

const resize: Converter = ({ node, x, input, version, same, op }) => {
  if (version < 11) {
    const attrs = { mode: node.attributes["mode"]?.value, coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
    return [op.emit("Resize", [input(0), undefined, x[1]], attrs as Record<string, string>)];
  }
  const sizes = orAbsent(x[3]);
  return same({ inputs: [x[0], orAbsent(x[1]), sizes === undefined ? orAbsent(x[2]) : undefined, sizes] });
};

function slice({ op, x, ints, version, same }: ConvertContext): readonly Value[] {
  if (version >= 10) return same();
  const [starts, ends] = [ints("starts") ?? [], ints("ends") ?? []];
  const axes = ints("axes") ?? starts.map((_, i) => i);
  return same({ inputs: [x[0], op.ints(starts), op.ints(ends), op.ints(axes)], attrs: {} });
}

function split({ op, node, x, ints, int, version, same }: ConvertContext): readonly Value[] {
  const axis = int("axis", 0);
  if (version >= 13) {
    // At 18 a split without sizes names its number of outputs.
    return x[1] === undefined ? same({ attrs: { axis, num_outputs: node.outputs.length } }) : same();
  }
  const sizes = ints("split");
  return sizes === undefined ? same({ attrs: { axis, num_outputs: node.outputs.length } }) : same({ inputs: [x[0], op.ints(sizes)], attrs: { axis } });
}

/** Any and all: opset 20 brought booleans. */
const ofBooleans: Converter = (context) => {
  const { op, x, input, same } = context;
  if (input(0).dtype !== "bool") return axesToInput(context);
  const [result] = same({ inputs: [op.cast(input(0), "int32"), ...x.slice(1)] });
  return [result && op.cast(result, "bool")];
};

export const spelling = defineConverters({
  Constant: ({ op, node }) => {
    const tensor = tensorOfConstant(node.attributes);
    if (tensor === undefined) {
      throw new OhemgenError("a Constant node without a dense numeric value", {
        code: "E130",
        where: node.name,
        hint: "Strings and sparse constants are not supported on this path.",
      });
    }
    return [op.constant(isFloat(tensor.dtype) ? singlePrecision(tensor) : tensor, node.outputs[0]?.name)];
  },
  Squeeze: axesToInput,
  Unsqueeze: axesToInput,
  ReduceL1: axesToInput,
  ReduceL2: axesToInput,
  ReduceLogSum: axesToInput,
  ReduceLogSumExp: axesToInput,
  ReduceMax: ofBooleans,
  ReduceMean: axesToInput,
  ReduceMin: ofBooleans,
  ReduceProd: axesToInput,
  ReduceSum: axesToInput,
  ReduceSumSquare: axesToInput,
  Softmax: coerced,
  LogSoftmax: coerced,
  Hardmax: coerced,
  Upsample: upsample,
  Resize: resize,
  Slice: slice,
  Split: split,
  Clip({ op, x, input, float, version, same }) {
    if (version >= 11) return same({ attrs: {} });
    const low = bound(op, input(0), float("min", Number.NEGATIVE_INFINITY), Number.NEGATIVE_INFINITY);
    const high = bound(op, input(0), float("max", Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
    return same({ inputs: [x[0], low, high], attrs: {} });
  },
  TopK({ op, x, int, version, same }) {
    if (version >= 10) return same();
    return same({ inputs: [x[0], op.ints([int("k", 1)])], attrs: { axis: int("axis", -1) } });
  },
  Scatter: ({ same, int }) => same({ op: "ScatterElements", attrs: { axis: int("axis", 0) } }),
  Dropout({ op, node, input, x, batchNorm, version }) {
    // As the file has it, training drops where the third input says so, maybe only at run time.
    const training = version >= 12 ? x[2] : undefined;
    if (batchNorm === "file" && training !== undefined && numberOf(training) !== 0) {
      const ratio = x[1] === undefined ? undefined : op.cast(x[1], "float32");
      return op.emitAll("Dropout", [input(0), ratio, training], {}, { outputs: 2 });
    }
    // Outside training Dropout passes its input; its mask keeps everything.
    const kept = node.outputs[1] === undefined ? undefined : op.expand(op.constant(tensorOf("bool", [], [1])), op.shape(input(0)));
    return [x[0], kept];
  },
  // Everything that is not an integer is computed in float32.
  Cast({ node, int, same }) {
    const to = dataTypeName(int("to", 1)) ?? "undefined";
    return same({ attrs: { to: dataTypeCode(isFloat(to) ? "float32" : to) }, op: node.op });
  },
  SpaceToDepth({ op, input, int, string, same }) {
    const block = int("blocksize", 1);
    if (string("mode", "DCR") === "DCR") return same({ attrs: { blocksize: block } });
    const x = input(0);
    const [n, c, b] = [op.dim(x, 0), op.dim(x, 1), op.ints([block])];
    const [h, w] = [op.div(op.dim(x, 2), block), op.div(op.dim(x, 3), block)];
    // The channel before the block: [N, C, h, b, w, b] to [N, C, b, b, h, w].
    const split = op.transpose(op.reshape(x, op.concat([n, c, h, b, w, b], 0)), [0, 1, 3, 5, 2, 4]);
    return [op.reshape(split, op.concat([n, op.mul(c, block * block), h, w], 0))];
  },
  CastLike: ({ op, input }) => [op.cast(input(0), input(1).dtype)],
  Sum: ({ op, x }) => [op.sum(x.filter((value) => value !== undefined))],
  Mean: ({ op, x }) => [op.div(op.sum(x.filter((value) => value !== undefined)), x.length)],
  Gather({ op, input, int }) {
    return [op.gather(input(0), input(1), int("axis", 0))];
  },
  // 0 and -1 in the target are resolved as far as the shape is known, so that no later pass has to.
  Reshape({ op, input, int }) {
    return [op.emit("Reshape", [input(0), input(1)], int("allowzero", 0) ? { allowzero: 1 } : {})];
  },
});

/** The one number of a constant, or `undefined`. */
export function numberOf(value: Value | undefined): number | undefined {
  return value?.constant === undefined ? undefined : tensorNumbers(value.constant)[0];
}
