/** Cases of recurrent layers, unrolled over sequences of known length. */

import type { Case } from "../case.ts";
import { between, data, type Operand, w, x } from "../operands.ts";

const [length, batch, features, hidden] = [3, 2, 3, 2];
const small = between(-0.8, 0.8);

function layer(op: string, gates: number, about: string, attrs: Record<string, unknown>, extra: { bias?: boolean; states?: number } = {}): Case {
  const directions = attrs["direction"] === "bidirectional" ? 2 : 1;
  const states: Operand[] = Array.from({ length: extra.states ?? 0 }, () => x([directions, batch, hidden], small, [0, 2]));
  const weights = [w([directions, gates * hidden, features], small), w([directions, gates * hidden, hidden], small)];
  const bias = extra.bias === true ? w([directions, 2 * gates * hidden], small) : undefined;
  const inputs = [x([length, batch, features], small, [0, 2]), ...weights, bias, undefined, ...states];
  return { op, about, inputs, attrs: { hidden_size: hidden, ...attrs }, outputs: op === "LSTM" ? 3 : 2 };
}

export const recurrent: readonly Case[] = [
  layer("LSTM", 4, "plain", {}),
  layer("LSTM", 4, "bias and states", {}, { bias: true, states: 2 }),
  layer("LSTM", 4, "both directions", { direction: "bidirectional" }, { bias: true }),
  {
    op: "LSTM",
    about: "peepholes and lengths",
    inputs: [
      x([length, batch, features], small, [0, 2]),
      w([2, 4 * hidden, features], small),
      w([2, 4 * hidden, hidden], small),
      undefined,
      data("int32", [batch], [2, 3]),
      undefined,
      undefined,
      w([2, 3 * hidden], small),
    ],
    attrs: { hidden_size: hidden, direction: "bidirectional" },
    outputs: 3,
  },
  {
    op: "GRU",
    about: "batch first",
    inputs: [x([batch, length, features], small, [1, 2]), w([1, 3 * hidden, features], small), w([1, 3 * hidden, hidden], small)],
    attrs: { hidden_size: hidden, layout: 1 },
    outputs: 2,
    viaNormalized: "the runtime has the sequence first only",
  },
  layer("GRU", 3, "plain", {}),
  layer("GRU", 3, "bias and state", {}, { bias: true, states: 1 }),
  layer("GRU", 3, "reset behind the product, reverse", { direction: "reverse", linear_before_reset: 1 }, { bias: true, states: 1 }),
  layer("RNN", 1, "plain", {}),
  layer("RNN", 1, "both directions", { direction: "bidirectional" }, { bias: true, states: 1 }),
];
