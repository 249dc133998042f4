/** Quantized tensors read as numbers: the gradient of a scale is what its integers say. */

import type { Value } from "../../ir/graph.ts";
import { dimsOf, type OpBuilder } from "../../ops/builder.ts";
import { resolveAxis } from "../../ops/define.ts";
import { type Converter, defineConverters } from "./registry.ts";

/** One number for the tensor, one per channel, or one per block along the axis, in a shape that meets `x`. */
function spread(op: OpBuilder, value: Value, x: Value, axis: number, block: number): Value {
  const rank = dimsOf(x).length;
  const own = dimsOf(value).length;
  if (own === 0) return value;
  const channel = resolveAxis("DequantizeLinear", axis, rank);
  if (own === 1 && block === 0) {
    return op.unsqueeze(
      value,
      Array.from({ length: rank - channel - 1 }, (_, i) => i + 1),
    );
  }
  const wide = op.expand(op.unsqueeze(value, [channel + 1]), op.concat([op.shape(value, 0, channel + 1), op.ints([block]), op.shape(value, channel + 1)], 0));
  const blocks = op.mul(op.dim(value, channel), block);
  const rows = op.reshape(wide, op.concat([op.shape(value, 0, channel), blocks, op.shape(value, channel + 1)], 0));
  // The last block may be cut.
  return op.emit("Slice", [rows, op.ints([0]), op.dim(x, channel), op.ints([channel])]);
}

/** y = (x - zero point)·scale */
const dequantizeLinear: Converter = ({ op, x, input, int }) => {
  const [quantized, scale] = [input(0), input(1)];
  const [axis, block] = [int("axis", 1), int("block_size", 0)];
  const numbers = op.cast(quantized, "float32");
  const centered = x[2] === undefined ? numbers : op.sub(numbers, spread(op, op.cast(x[2], "float32"), quantized, axis, block));
  return [op.mul(centered, spread(op, scale, quantized, axis, block))];
};

/** Scale = (max(0, max x) - min(0, min x))/255; zero point = round(saturate(-min/scale)). */
const dynamicQuantizeLinear: Converter = ({ op, input }) => {
  const x = input(0);
  const [high, low] = [op.max(op.reduceMax(x), 0), op.min(op.reduceMin(x), 0)];
  const scale = op.div(op.sub(high, low), 255);
  const zeroPoint = op.cast(op.emit("Round", [op.min(op.max(op.neg(op.div(low, scale)), 0), 255)]), "uint8");
  return [op.emit("QuantizeLinear", [x, scale, zeroPoint]), scale, zeroPoint];
};

export const quantization = defineConverters({ DequantizeLinear: dequantizeLinear, DynamicQuantizeLinear: dynamicQuantizeLinear });
