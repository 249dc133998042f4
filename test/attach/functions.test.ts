/**
 * Weights in functions of the model. Those that a call reads are the file's and train; Constants inside a body are
 * frozen, because one body may serve several calls and `export` writes the main graph only.
 */

import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { inspect } from "../../src/attach/inspect.ts";
import { trainedModel } from "../../src/attach/trained-model.ts";
import { tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { joinChunks } from "../../src/proto/codec.ts";
import { loadModel } from "../../src/proto/load.ts";
import { errorOf, floats, info, modelBytes, node, type Plain } from "../proto/build.ts";

const numbers = (count: number) => Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1)) / 3);
const held = (name: string, dims: number[]): Plain => ({ name: "value", type: 4, t: floats(name, dims, numbers(dims.reduce((a, b) => a * b, 1))) });

/** f(x, w) = Conv(Conv(x, w), k) with k inside. */
const body = {
  name: "Block",
  domain: "local",
  input: ["x", "w"],
  output: ["y"],
  node: [node("Conv", ["x", "w"], ["h"]), node("Constant", [], ["k"], [held("k", [3, 3, 1, 1])]), node("Conv", ["h", "k"], ["y"])],
  opsetImport: [{ domain: "", version: 18 }],
};
/** Two calls, and a Constant of the main graph. */
const file = modelBytes(
  {
    input: [info("image", [1, 3, 8, 8])],
    output: [info("logits", [1, 3, 8, 8])],
    initializer: [floats("w", [3, 3, 1, 1], numbers(9))],
    node: [
      { ...node("Block", ["image", "w"], ["a"], [], "first"), domain: "local" },
      { ...node("Block", ["a", "w"], ["b"], [], "second"), domain: "local" },
      node("Constant", [], ["main"], [held("main", [3, 3, 1, 1])]),
      node("Conv", ["b", "main"], ["logits"], [], "last"),
    ],
  },
  {
    opsetImport: [
      { domain: "", version: 18 },
      { domain: "local", version: 1 },
    ],
    functions: [body],
  },
);

describe("functions of a model", () => {
  const reason = "inside a function of the model, where export cannot write";

  test("train what the file can take back", () => {
    const { manifest, state } = attach(loadModel(file));
    expect(manifest.parameters.map(({ name }) => name)).toEqual(["w", "main"]);
    expect(manifest.frozen.map((frozen) => [frozen.name, frozen.reason])).toEqual([
      ["first/k", reason],
      ["second/k", reason],
    ]);
    const params = state.get("params");
    if (params === undefined) throw new Error("no parameters");
    const moved = Float32Array.from(tensorNumbers(params), (value) => value + 1);
    const written = loadModel(joinChunks(trainedModel(file, manifest, new Map([["params", tensorOf("float32", [18], moved)]]))));
    const again = attach(written);
    expect(tensorNumbers(again.state.get("params") as never)).toEqual(moved);
    expect(Buffer.from(joinChunks(trainedModel(file, manifest, state))).equals(file)).toBe(true);
  });

  test("are inspected as they are attached", () => {
    const report = inspect(loadModel(file));
    expect(report.trained.map(({ name }) => name)).toEqual(["w", "main"]);
    expect(report.frozen).toContainEqual(expect.objectContaining({ name: "first/k", reason }));
    expect(report.problems).toEqual([]);
  });

  test.each(["first/k", "*/k"])("refuse to train %s", (pattern) => {
    errorOf(() => attach(loadModel(file), { train: [pattern] }), "E212");
  });
});
