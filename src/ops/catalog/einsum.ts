/** Einsum: its equation read into one index list per operand, with the ellipsis spelled out. */

import type { Dim } from "../../ir/dims.ts";
import type { Value } from "../../ir/graph.ts";
import { defineOp, type OpSchema, required, shapeError, string } from "../define.ts";

export interface EinsumIndices {
  /** One letter per dimension of each operand. */
  readonly terms: readonly string[];
  readonly result: string;
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Letters stand for the dimensions of `...`, the last ones shared by all operands as broadcasting aligns them. */
export function einsumIndices(equation: string, operands: readonly (Value | undefined)[]): EinsumIndices | undefined {
  const ranks = operands.map((value) => value?.shape?.length);
  const compact = equation.replaceAll(" ", "");
  const [left, right] = compact.split("->") as [string, string | undefined];
  const given = left.split(",");
  if (given.length !== operands.length) throw shapeError("Einsum", `"${equation}" for ${operands.length} operands`);
  const hidden = given.map((term, i) => (ranks[i] ?? Number.NaN) - term.replace("...", "").length);
  if (hidden.some(Number.isNaN)) return undefined;
  const free = [...letters].filter((letter) => !compact.includes(letter));
  const most = Math.max(0, ...given.map((term, i) => (term.includes("...") ? (hidden[i] as number) : 0)));
  const shared = free.slice(0, most).join("");
  const spell = (term: string, count: number) => term.replace("...", shared.slice(most - count));
  const terms = given.map((term, i) => spell(term, hidden[i] as number));
  terms.forEach((term, i) => {
    if (term.length !== ranks[i]) throw shapeError("Einsum", `"${given[i]}" for an operand of rank ${ranks[i]}`);
  });
  if (right !== undefined) return { terms, result: spell(right, most) };
  // Without an arrow: the ellipsis, then every index that occurs once, in alphabetical order.
  const all = [...given.join("").replaceAll("...", "")];
  const once = all.filter((letter) => all.indexOf(letter) === all.lastIndexOf(letter)).sort();
  return { terms, result: shared + once.join("") };
}

export const einsum: { readonly Einsum: OpSchema<{ readonly equation: ReturnType<typeof string> }> } = {
  Einsum: defineOp({
    attrs: { equation: string("") },
    infer: (context) => {
      const { dtype } = required(context, 0);
      const indices = einsumIndices(context.attrs.equation, context.x);
      if (indices === undefined) return [{ dtype, shape: undefined }];
      const sizes = new Map<string, Dim>();
      indices.terms.forEach((term, i) => {
        [...term].forEach((letter, axis) => {
          const dim = context.x[i]?.shape?.[axis] ?? context.fresh();
          const known = sizes.get(letter);
          if (known === undefined || known === 1 || (typeof dim === "number" && dim !== 1)) sizes.set(letter, dim);
        });
      });
      return [{ dtype, shape: [...indices.result].map((letter) => sizes.get(letter) ?? context.fresh()) }];
    },
  }),
};
