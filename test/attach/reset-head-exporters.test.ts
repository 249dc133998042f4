/** `--reset-head` and habits of exporters: sizes written down, spellings of the last layer, where its weights are. */

import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { headEdits } from "../../src/attach/reset-head.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { editModel } from "../../src/proto/edit.ts";
import { loadModel } from "../../src/proto/load.ts";
import { bytesOf, info, modelBytes, node, type Plain } from "../proto/build.ts";
import { classes, constants, conv, exported, head, int, learned, list, run, seed, sizes, small } from "./reset-head.ts";

describe("habits of exporters", () => {
  test("sizes written down: Reshape, Resize and Expand get the new number, outputs their sizes", async () => {
    const bytes = small(
      [
        node("Conv", ["image", "w", "b"], ["a"], [], "classify"),
        node("Reshape", ["a", "flat"], ["f"]),
        node("Transpose", ["f"], ["t"], [list("perm", [0, 2, 1])]),
        node("Transpose", ["t"], ["u"], [list("perm", [0, 2, 1])]),
        node("Reshape", ["u", "full"], ["c"]),
        node("Resize", ["c", "", "", "target"], ["logits"], [{ name: "mode", s: new TextEncoder().encode("linear"), type: 3 }]),
      ],
      [...head, sizes("flat", [2, 4, 64]), sizes("full", [2, 4, 8, 8]), sizes("target", [2, 4, 16, 16])],
      info("logits", [2, 4, 16, 16]),
      { valueInfo: [info("a", [2, 4, 8, 8]), info("t", [2, 64, 4]), info("u", ["N", "K", 64])] },
    );
    const file = exported(bytes, ["logits"]);
    expect(await run(file)).toEqual({ logits: [2, 5, 16, 16] });
    const recorded = new Map(loadModel(file).graph.nodes.flatMap(({ outputs }) => outputs.map((value) => [value?.name, value?.shape])));
    expect(recorded.get("logits")).toEqual([2, 5, 16, 16]);
    expect(recorded.get("a")).toEqual([2, 5, 8, 8]);
    expect(recorded.get("t")).toEqual([2, 64, 5]);
    expect(recorded.get("u")).toEqual(["N", "K", 64]);
  });

  test("MatMul with a transposed weight and an added bias; Gemm", async () => {
    const bytes = small(
      [
        node("Transpose", ["image"], ["last"], [list("perm", [0, 2, 3, 1])]),
        node("Transpose", ["w"], ["wt"]),
        node("MatMul", ["last", "wt"], ["m"], [], "classify"),
        node("Add", ["m", "b"], ["biased"]),
        node("Transpose", ["biased"], ["logits"], [list("perm", [0, 3, 1, 2])]),
      ],
      [learned("w", [4, 3]), learned("b", [4])],
    );
    const edits = headEdits(loadModel(bytes), ["logits"], { classes, seed });
    expect([...edits.tensors].map(([name, { dims }]) => [name, dims])).toEqual([
      ["w", [5, 3]],
      ["b", [5]],
    ]);
    expect(await run(exported(bytes, ["logits"]))).toEqual({ logits: [2, 5, 8, 8] });
    const gemm = small(
      [
        node("Reshape", ["image", "rows"], ["r"]),
        node("Gemm", ["r", "w", "b"], ["g"], [int("transB", 1)], "classify"),
        node("Reshape", ["g", "grid"], ["last"]),
        node("Transpose", ["last"], ["logits"], [list("perm", [0, 3, 1, 2])]),
      ],
      [learned("w", [4, 3]), learned("b", [4]), sizes("rows", [128, 3]), sizes("grid", [2, 8, 8, 4])],
    );
    expect(await run(exported(gemm, ["logits"], 7))).toEqual({ logits: [2, 7, 8, 8] });
  });

  test("a bias that another layer shares gets a tensor of its own, and the other layer keeps its own", async () => {
    const nodes = [node("Conv", ["image", "v", "b"], ["h"]), node("Conv", ["h", "w", "b"], ["logits"], [], "classify")];
    const bytes = small(nodes, [learned("v", [4, 3, 1, 1]), learned("w", [4, 4, 1, 1]), learned("b", [4])]);
    const file = exported(bytes, ["logits"]);
    const { graph } = decodeProto(file);
    expect(graph.node.map(({ input }) => input)).toEqual([
      ["image", "v", "b"],
      ["h", "w", "b.head"],
    ]);
    expect(constants(file).get("b")).toEqual(constants(bytes).get("b"));
    expect(await run(file)).toEqual({ logits: [2, 5, 8, 8] });
    const { manifest } = attach(loadModel(bytes), { resetHead: classes });
    expect(manifest.parameters.map(({ name, shape }) => [name, shape.join()]).sort()).toEqual([
      ["b", "4"],
      ["b.head", "5"],
      ["v", "4,3,1,1"],
      ["w", "5,4,1,1"],
    ]);
  });

  test("weights in Constant nodes, in half precision, in typed lists, listed as inputs", async () => {
    const half = { name: "", dims: [4, 3, 1, 1], dataType: 10, rawData: new Uint8Array(24) };
    const bytes = small(
      [
        node("Constant", [], ["w16"], [{ name: "value", t: half, type: 4 }]),
        node("Cast", ["w16"], ["w"], [int("to", 1)]),
        node("Constant", [], ["b"], [{ name: "value_floats", floats: [1, 2, 3, 4], type: 6 }]),
        conv,
      ],
      [],
    );
    expect(await run(exported(bytes, ["logits"]))).toEqual({ logits: [2, 5, 8, 8] });
    const typed = { name: "w", dims: [4, 3, 1, 1], dataType: 1, floatData: [bytesOf(Float32Array.from({ length: 12 }, (_, i) => i))] };
    const old = modelBytes(
      {
        node: [conv],
        initializer: [typed, learned("b", [4])],
        input: [info("image", [2, 3, 8, 8]), info("w", [4, 3, 1, 1]), info("b", [4])],
        output: [info("logits", [2, 4, 8, 8])],
      },
      { irVersion: 3, opsetImport: [{ domain: "", version: 8 }] },
    );
    expect(await run(exported(old, ["logits"]))).toEqual({ logits: [2, 5, 8, 8] });
    expect(decodeProto(exported(old, ["logits"])).graph.input.map((input) => input.type?.tensorType?.shape?.dim[0]?.dimValue)).toEqual([2, 5, 5]);
  });

  test("weights in a data file beside the model move into it; the others stay outside", async () => {
    const outside = (name: string, dims: number[], offset: number): Plain => {
      const entries = { location: "weights.bin", offset: `${offset}`, length: `${4 * dims.reduce((a, b) => a * b, 1)}` };
      return { name, dims, dataType: 1, dataLocation: 1, externalData: Object.entries(entries).map(([key, value]) => ({ key, value })) };
    };
    const nodes = [node("Conv", ["image", "v"], ["h"]), node("Conv", ["h", "w", "b"], ["logits"], [], "classify")];
    const bytes = small(nodes, [outside("v", [3, 3, 1, 1], 0), outside("w", [4, 3, 1, 1], 36), learned("b", [4])]);
    const data = new Uint8Array(84);
    const external = ({ offset, length }: { offset: number; length: number }) => data.subarray(offset, offset + length);
    const edits = headEdits(loadModel(bytes, { external }), ["logits"], { classes, seed });
    const [v, w, b] = decodeProto(editModel(bytes, edits)).graph.initializer;
    expect(v?.dataLocation).toBe(1);
    expect([w?.dataLocation, w?.externalData.length, w?.rawData.length, w?.dims]).toEqual([0, 0, 60, [5, 3, 1, 1]]);
    expect(b?.rawData.length).toBe(20);
  });

  test("softmax and argmax behind the logits follow; a class count of 1 too", async () => {
    const nodes = [conv, node("Softmax", ["logits"], ["p"], [int("axis", 1)]), node("ArgMax", ["p"], ["mask"], [int("axis", 1), int("keepdims", 0)])];
    const both = { output: [info("p", [2, 4, 8, 8]), info("mask", [2, 8, 8], 7)] };
    const file = exported(small(nodes, head, undefined, both), ["logits"]);
    expect(await run(file)).toEqual({ p: [2, 5, 8, 8], mask: [2, 8, 8] });
    const one = small([node("Conv", ["image", "w"], ["raw"]), node("Add", ["raw", "b"], ["logits"])], [learned("w", [1, 3, 1, 1]), learned("b", [1, 1, 1])]);
    expect([...headEdits(loadModel(one), ["logits"], { classes, seed }).tensors].map(([name, { dims }]) => [name, dims])).toEqual([
      ["w", [5, 3, 1, 1]],
      ["b", [5, 1, 1]],
    ]);
  });
});
