/** Cases of what decoders of language models are made of; the runtime has no kernels for the newest. */

import type { Case } from "../case.ts";
import { between, constant, data, type Operand, scalar, w, x } from "../operands.ts";

const newer = "the runtime has no kernel";
const [batch, heads, keyHeads, length, keys, depth] = [2, 4, 2, 3, 5, 4];
const fixed = [1, 3];
const query = x([batch, heads, length, depth], between(-1, 1), fixed);
const cache = x([batch, keyHeads, keys, depth], between(-1, 1), fixed);
const mask = constant("bool", [length, keys], [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1]);

const attention = (about: string, attrs: Record<string, unknown>, rest: (Operand | undefined)[] = [], outputs = 1, opset = 25): Case => ({
  op: "Attention",
  about,
  inputs: [query, cache, cache, ...rest],
  attrs,
  outputs,
  opset,
  viaNormalized: newer,
  staticOnly: "queries and keys of one batch",
});

const linear = (about: string, attrs: Record<string, unknown>, rest: (Operand | undefined)[] = []): Case => ({
  op: "LinearAttention",
  about,
  inputs: [x([2, 3, 8], between(-1, 1)), x([2, 3, 4], between(-1, 1)), x([2, 3, 6], between(-1, 1)), ...rest],
  attrs: { q_num_heads: 4, kv_num_heads: 2, ...attrs },
  outputs: 2,
  opset: 27,
  viaNormalized: newer,
  staticOnly: "a dynamic sequence is refused",
});

const perHead = x([2, 3, 2], between(-1, 0));

export const decoders: readonly Case[] = [
  attention("soft cap", { softcap: 1.5 }),
  attention("a mask that leaves a query nothing", {}, [mask]),
  attention("a mask of numbers, minus infinity among them", {}, [constant("float32", [1, keys], [0.5, Number.NEGATIVE_INFINITY, 0, -0.5, 1])]),
  attention("a mask shorter than the keys", {}, [constant("float32", [length, 2], [0.5, 0, 0, -0.5, 1, 0.2])]),
  attention("window", { left_window_size: 1, right_window_size: 1 }),
  attention("valid keys per sample, causal", { is_causal: 1 }, [undefined, undefined, undefined, constant("int64", [batch], [5, 4])]),
  ...[0, 1, 3].map((mode) => attention(`scores as an output, mode ${mode}`, { qk_matmul_output_mode: mode, softcap: 2 }, [mask], 4)),
  attention("scores as an output, mode 2", { qk_matmul_output_mode: 2 }, [constant("float32", [keys], [0.5, 1, 0, -0.5, 1])], 4),
  { op: "RotaryEmbedding", inputs: [x([2, 3, 4, 6], between(-1, 1), [1, 3]), w([2, 4, 3]), w([2, 4, 3])], opset: 23, viaNormalized: newer },
  {
    op: "RotaryEmbedding",
    about: "interleaved, part of the features, positions",
    inputs: [x([2, 4, 12], between(-1, 1), [2]), w([7, 2]), w([7, 2]), data("int64", [2, 4], [0, 1, 2, 3, 6, 5, 4, 3])],
    attrs: { interleaved: 1, num_heads: 2, rotary_embedding_dim: 4 },
    opset: 23,
    viaNormalized: newer,
  },
  { op: "TensorScatter", inputs: [x([2, 3, 5, 2]), x([2, 3, 2, 2])], opset: 24, viaNormalized: newer },
  {
    op: "TensorScatter",
    about: "circular",
    inputs: [x([2, 5, 3]), x([2, 2, 3]), data("int64", [2], [4, 1])],
    attrs: { axis: 1, mode: "circular" },
    opset: 24,
    viaNormalized: newer,
  },
  { op: "CausalConvWithState", inputs: [x([2, 3, 5]), w([3, 1, 3]), w([3])], outputs: 2, opset: 27, viaNormalized: newer },
  {
    op: "CausalConvWithState",
    about: "state and activation",
    inputs: [x([2, 3, 2], between(-1, 1), [1]), w([3, 1, 4]), undefined, x([2, 3, 3], between(-1, 1), [1, 2])],
    attrs: { activation: "silu" },
    outputs: 2,
    opset: 27,
    viaNormalized: newer,
    staticOnly: "state and input of one batch",
  },
  linear("linear", { update_rule: "linear" }),
  linear("gated per feature", { update_rule: "gated", scale: 0.5 }, [x([2, 2, 2, 3]), x([2, 3, 4], between(-1, 0))]),
  linear("delta", { update_rule: "delta" }, [undefined, undefined, perHead]),
  linear("gated delta", {}, [x([2, 2, 2, 3]), perHead, x([2, 3, 1], between(0, 1))]),
  { op: "SwiGLU", inputs: [x([2, 3]), x([2, 3])], attrs: { alpha: 1.5 }, opset: 28, viaNormalized: newer },
  { op: "CumProd", inputs: [x([2, 4, 3]), scalar(1, "int64")], opset: 26, viaNormalized: newer },
  {
    op: "CumProd",
    about: "exclusive, reverse, axis made at run time",
    inputs: [x([2, 4]), data("int64", [], [-1])],
    attrs: { exclusive: 1, reverse: 1 },
    opset: 26,
    viaNormalized: newer,
  },
];
