/** `emit` from the shell: every graph it names, its flags and its file of options, and what it refuses. */

import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { emitModel } from "../../src/cli/emit-file.ts";
import type { Model } from "../../src/ir/graph.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.remove());

function emitted(...args: readonly string[]): Model {
  expect(place.run("emit", ...args, "-o", "g.onnx", "--force")).toMatchObject({ code: 0, stderr: "" });
  return loadModel(readFileSync(place.path("g.onnx")));
}

const shapes = (model: Model) => Object.fromEntries(model.graph.inputs.map(({ name, dtype, shape }) => [name, `${dtype}[${shape?.join(",")}]`]));

describe("a loss", () => {
  test("of the sizes that are given, names for dynamic ones", () => {
    const model = emitted("ohem-lovasz", "--logits-shape", "N,19,h,w", "--label-size", "H,W", "--label-type", "int64");
    expect(shapes(model)).toEqual({ logits: "float32[N,19,h,w]", labels: "int64[N,H,W]" });
    expect(model.graph.outputs.map(({ name }) => name)).toEqual([
      "loss",
      "ce",
      "lovasz",
      "valid",
      "kept",
      "invalid_labels",
      "threshold",
      "finite",
      "logits.grad",
    ]);
    expect(shapes(emitted("ohem-ce", "--logits-shape", "2,19,64,128"))).toEqual({ logits: "float32[2,19,64,128]", labels: "uint8[2,64,128]" });
    expect(shapes(emitted("lovasz-softmax", "--label-size", "full", "--ignore-index", "-1"))).toEqual({
      logits: "float32[N,C,H,W]",
      labels: "int32[N,label_height,label_width]",
    });
  });

  test("with flags is the one of a file with the same options; flags win", () => {
    const flags = [
      "--preset",
      "bisenet",
      "--threshold",
      "0.5",
      "--min-kept",
      "1/8@valid",
      "--lovasz",
      "2",
      "--lovasz-method",
      "histogram",
      "--lovasz-classes",
      "0,2",
    ];
    emitted("ohem-lovasz", "--logits-shape", "1,3,8,8", ...flags);
    const bytes = readFileSync(place.path("g.onnx"));
    const loss = { ce: { threshold: 0.5, minKept: { fraction: "1/8", of: "valid" } }, lovasz: { weight: 2, method: "histogram", classes: [0, 2] } };
    const config = { $schema: "emit.schema.json", preset: "bisenet", logitsShape: [1, 3, 8, 8], loss };
    expect(encodeModel(emitModel("ohem-lovasz", config as object))).toEqual(new Uint8Array(bytes));
    writeFileSync(place.path("c.json"), JSON.stringify({ ...config, loss: { ...loss, ce: { ...loss.ce, threshold: 0.9 } } }));
    emitted("ohem-lovasz", "--config", "c.json", "--threshold", "0.5");
    expect(readFileSync(place.path("g.onnx"))).toEqual(bytes);
  });
});

describe("an optimizer", () => {
  test("on vectors of any length, or of one", () => {
    const sgd = emitted("sgd", "--momentum", "0");
    expect(shapes(sgd)).toEqual({ "params.grad": "float32[P]", learning_rate: "float32[]", params: "float32[P]", step: "int64[1]" });
    const adamw = emitted("adamw", "--parameters", "5000", "--ema", "0.99", "--clip-norm", "1");
    expect(Object.keys(shapes(adamw))).toEqual(["params.grad", "learning_rate", "params", "exp_avg", "exp_avg_sq", "step", "ema"]);
    expect(shapes(adamw)["ema"]).toBe("float32[5000]");
    expect(adamw.graph.outputs.map(({ name }) => name)).toEqual([
      "params.next",
      "exp_avg.next",
      "exp_avg_sq.next",
      "step.next",
      "ema.next",
      "grad_norm",
      "finite",
    ]);
  });

  test("from a file of options", () => {
    writeFileSync(place.path("c.json"), JSON.stringify({ optimizer: { weightDecay: 0.05, beta2: 0.95 }, parameters: 7 }));
    emitted("adamw", "--config", "c.json");
    const bytes = readFileSync(place.path("g.onnx"));
    emitted("adamw", "--weight-decay", "0.05", "--beta2", "0.95", "--parameters", "7");
    expect(readFileSync(place.path("g.onnx"))).toEqual(bytes);
  });
});

test.each([
  [["sgd", "--threshold", "0.5"], "loss: not an option of the graph sgd"],
  [["adamw", "--logits-shape", "1,2,3,4"], "logitsShape: not an option of the graph adamw"],
  [["ohem-ce", "--momentum", "0.5"], "optimizer: not an option of the graph ohem-ce"],
  [["ohem-ce", "--parameters", "5"], "parameters: not an option of the graph ohem-ce"],
  [["sgd", "--beta1", "0.5"], "beta1 is not a setting of sgd"],
  [["sgd", "--weight-decay", "-1"], "weight decay is -1"],
  [["sgd", "--parameters", "0"], "--parameters"],
  [["sgd", "--parameters", "1,2"], "--parameters"],
  [["ohem-ce", "--logits-shape", "1,2,3"], "--logits-shape"],
  [["ohem-ce", "--class-weights", "1,2"], "fixed number of classes"],
  [["ohem-lovasz", "--logits-shape", "1,1,4,4", "--lovasz-method", "histogram"], "Hinge errors have no bounds"],
  [["ohem-ce", "--lovasz-bins", "0"], "lovasz.bins"],
])("refuses %j", (args, message) => {
  expect(place.run("emit", ...args, "-o", "g.onnx")).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  expect(place.names()).toEqual([]);
});
