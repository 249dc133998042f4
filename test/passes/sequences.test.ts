/** Sequences and optionals that exporters leave: nothing remains of them, or a refusal says why. */

import { describe, expect, test } from "vitest";
import type { Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { normalize } from "../../src/passes/normalize.ts";
import { constant, expectSame, graphOf, modelOf, node, operators, value } from "./compare.ts";

const vector = (...values: number[]) => tensorOf("float32", [values.length], values);

describe("sequences", () => {
  test("of pieces that are put together again leave no node of their own", async () => {
    const [x, pieces, more, first, last, y, count] = [
      value("x", "float32", [2, 5]),
      value("pieces"),
      value("more"),
      value("first"),
      value("last"),
      value("y", "float32", [2, 9]),
      value("count", "int64", []),
    ];
    const at = (name: string, position: number) => constant(name, "int64", [], [position]);
    const nodes = [
      node("SplitToSequence", [x, at("size", 2)], [pieces], { attrs: { axis: 1 } }),
      node("SequenceAt", [pieces, at("zero", 0)], [first]),
      node("SequenceAt", [pieces, at("minus_two", -2)], [last]),
      node("SequenceInsert", [pieces, first, at("one", 1)], [more]),
      node("SequenceInsert", [more, last], [value("all")]),
    ];
    const all = nodes[4]?.outputs[0] as Value;
    nodes.push(node("ConcatFromSequence", [all], [y], { attrs: { axis: 1 } }), node("SequenceLength", [all], [count]));
    const { normalized } = await expectSame(modelOf(graphOf([x], nodes, [y, count])), { x: tensorOf("float32", [2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) });
    expect(operators(normalized.nodes)).toEqual(["Split", "Concat"]);
  });

  test("are stacked along a new axis, split into rows", async () => {
    const [x, rows, y] = [value("x", "float32", [2, 3]), value("rows"), value("y", "float32", [3, 2])];
    const nodes = [
      node("SplitToSequence", [x], [rows], { attrs: { axis: 0, keepdims: 0 } }),
      node("ConcatFromSequence", [rows], [y], { attrs: { axis: -1, new_axis: 1 } }),
    ];
    await expectSame(modelOf(graphOf([x], nodes, [y])), { x: tensorOf("float32", [2, 3], [1, 2, 3, 4, 5, 6]) });
  });

  test("with elements taken out, from nothing, behind an optional", async () => {
    const [x, none, one, two, less, wrapped, y] = [
      value("x", "float32", [2]),
      value("none"),
      value("one"),
      value("two"),
      value("less"),
      value("wrapped"),
      value("y", "float32", [2]),
    ];
    const nodes = [
      node("SequenceEmpty", [], [none]),
      node("SequenceInsert", [none, x], [one]),
      node("SequenceInsert", [one, constant("c", "float32", [2], [5, 6])], [two]),
      node("SequenceErase", [two, constant("last", "int64", [], [-1])], [less]),
      node("SequenceAt", [less, constant("first", "int64", [], [0])], [wrapped]),
      node("Exp", [wrapped], [y]),
    ];
    const { normalized } = await expectSame(modelOf(graphOf([x], nodes, [y])), { x: vector(1, 2) });
    expect(operators(normalized.nodes)).toEqual(["Exp"]);
  });

  test("Optional is its element", () => {
    const [x, maybe, got, y] = [value("x", "float32", [2]), value("maybe"), value("got"), value("y", "float32", [2])];
    const nodes = [node("Optional", [x], [maybe]), node("OptionalGetElement", [maybe], [got]), node("Exp", [got], [y])];
    expect(operators(normalize(modelOf(graphOf([x], nodes, [y]))).nodes)).toEqual(["Exp"]);
  });

  test("with a position made at run time are refused", () => {
    const [x, p, rows, y] = [value("x", "float32", [2, 3]), value("p", "int64", []), value("rows"), value("y", "float32", [1, 3])];
    const nodes = [node("SplitToSequence", [x], [rows]), node("SequenceAt", [rows, p], [y])];
    expect(() => normalize(modelOf(graphOf([x, p], nodes, [y])))).toThrow(/run time/);
  });
});
