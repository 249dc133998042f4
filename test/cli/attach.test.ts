/** `attach`, `export` and `emit` from the shell: what is written, what is refused, and that nothing is left half done. */

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Manifest } from "../../src/attach/manifest.ts";
import type { Model, Value } from "../../src/ir/graph.ts";
import { tensorOf } from "../../src/ir/tensor.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/proto/safetensors.ts";
import { demo, demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.remove());

const outputs = ["eval_step.onnx", "gradient.onnx", "manifest.json", "state.safetensors", "train_step.onnx", "update.onnx"];

function bytesAt(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path));
}

function manifestAt(dir: string): Manifest {
  return JSON.parse(readFileSync(place.path(join(dir, "manifest.json")), "utf8"));
}

describe("attach", () => {
  test("writes the folder beside the model, the result on stdout, the same bytes every time", () => {
    writeFileSync(place.path("net.onnx"), readFileSync(demoModel));
    const { code, stdout, stderr } = place.run("attach", "net.onnx");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/logits, 6 classes/);
    expect(readdirSync(place.path("net.train")).sort()).toEqual(outputs);
    expect(manifestAt("net.train").source.path).toBe("../net.onnx");
    expect(place.run("attach", "net.onnx", "-o", "again").code).toBe(0);
    for (const name of outputs) expect(readFileSync(place.path(`again/${name}`))).toEqual(readFileSync(place.path(`net.train/${name}`)));
  });

  test("an existing folder needs --force, and foreign files keep it even then", () => {
    expect(place.run("attach", demoModel, "-o", "out").code).toBe(0);
    const before = readFileSync(place.path("out/manifest.json"));
    const refused = place.run("attach", demoModel, "-o", "out", "--optimizer", "adamw");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/out exists already {2}\[E110\][\s\S]*--force/);
    expect(readFileSync(place.path("out/manifest.json"))).toEqual(before);
    expect(place.run("attach", demoModel, "-o", "out", "--optimizer", "adamw", "--force").code).toBe(0);
    expect(manifestAt("out").state.map(({ name }) => name)).toEqual(["params", "exp_avg", "exp_avg_sq", "step"]);
    writeFileSync(place.path("out/notes.txt"), "mine");
    expect(place.run("attach", demoModel, "-o", "out", "--force")).toMatchObject({ code: 1, stderr: expect.stringContaining("notes.txt") });
    expect(place.names()).toEqual(["out"]);
  });

  test("--dry-run says the same and writes nothing", () => {
    const { code, stdout } = place.run("attach", demoModel, "-o", "out", "--dry-run");
    expect(code).toBe(0);
    expect(stdout).toMatch(/would write {2}out/);
    const { document } = { document: JSON.parse(place.run("attach", demoModel, "-o", "out", "--dry-run", "--json").stdout) };
    expect(document).toMatchObject({ dryRun: true, dir: "out", manifest: { heads: [{ logits: "logits", classes: 6 }] } });
    expect(place.names()).toEqual([]);
  });

  test("options reach the manifest; flags win over --config", () => {
    const config = { optimizer: { kind: "adamw", beta1: 0.8 }, loss: { ce: { threshold: 0.3, minKept: "1/4@valid" }, ignoreIndex: 254 }, classNames: ["x"] };
    writeFileSync(place.path("c.json"), JSON.stringify(config));
    const args = [
      "--threshold",
      "0.7",
      "--class-names",
      join(demo, "classes.txt"),
      "--mean",
      "0.5,0.5,0.5",
      "--channel-order",
      "bgr",
      "--freeze",
      "stem.*",
      "--for",
      "webgpu",
    ];
    expect(place.run("attach", demoModel, "-o", "out", "--config", "c.json", ...args)).toMatchObject({ code: 0, stderr: "" });
    const manifest = manifestAt("out");
    expect(manifest.options).toMatchObject({ optimizer: { kind: "adamw", beta1: 0.8 }, provider: "webgpu", labelType: "int32" });
    expect(manifest.options["heads"]).toMatchObject([
      { loss: { ce: { threshold: 0.7, minKept: { fraction: "1/4", of: "valid" } }, ignoreIndex: 254, lovasz: { weight: 1 } } },
    ]);
    expect(manifest.classNames).toHaveLength(6);
    expect(manifest.preprocessing).toEqual({ mean: [0.5, 0.5, 0.5], std: [0.229, 0.224, 0.225], channelOrder: "bgr" });
    expect(manifest.parameters.some(({ name }) => name.startsWith("stem."))).toBe(false);
  });

  test.each([
    ["{", /is not JSON/],
    ['{"optimiser": {}}', /unknown key optimiser/],
    ['{"loss": {"ce": {"thresold": 1}}}', /unknown key loss\.ce\.thresold/],
    ['{"loss": {"ce": {"threshold": "high"}}}', /loss\.ce\.threshold is "high", expected is a number/],
    ["[]", /the whole is \[\], expected is an object/],
  ])("config %s", (text, message) => {
    writeFileSync(place.path("c.json"), text);
    const { code, stdout, stderr } = place.run("attach", demoModel, "-o", "out", "--config", "c.json");
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
    expect(place.names()).toEqual(["c.json"]);
  });
});

describe("bad models", () => {
  const cases: readonly (readonly [what: string, bytes: () => Uint8Array, message: RegExp])[] = [
    ["empty", () => new Uint8Array(0), /E101/],
    ["text", () => new TextEncoder().encode("hello, this is a readme"), /a text file.*\[E101\]/],
    ["truncated", () => readFileSync(demoModel).subarray(0, 300_000), /not a complete ONNX model.*\[E101\]/],
    ["without float weights", withoutWeights, /\[E2\d\d\]/],
    ["two candidate outputs", twoOutputs, /2 outputs may be the logits {2}\[E210\][\s\S]*--logits[\s\S]*--aux/],
  ];

  test.each(cases)("%s: one error, exit code 1, nothing left", (_, bytes, message) => {
    writeFileSync(place.path("bad.onnx"), bytes());
    const { code, stdout, stderr } = place.run("attach", "bad.onnx");
    expect(stderr).toMatch(message);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr.match(/^ohemgen:/gm)).toHaveLength(1);
    expect(place.names()).toEqual(["bad.onnx"]);
    const json = place.run("attach", "bad.onnx", "--json");
    expect(json).toMatchObject({ code: 1, stderr: "" });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: expect.stringMatching(/^E\d{3}$/), message: expect.stringContaining("bad.onnx") } });
  });

  test("missing file, folder", () => {
    mkdirSync(place.path("folder.onnx"));
    expect(place.run("attach", "none.onnx")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/none\.onnx does not exist {2}\[E100\]/) });
    expect(place.run("attach", "folder.onnx")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/is a folder {2}\[E100\]/) });
    expect(place.names()).toEqual(["folder.onnx"]);
  });

  test("an output that cannot be written", () => {
    writeFileSync(place.path("file"), "");
    expect(place.run("attach", demoModel, "-o", "file/out")).toMatchObject({ code: 1, stdout: "" });
    expect(place.run("attach", demoModel, "-o", "file")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("E110") });
    expect(place.names()).toEqual(["file"]);
  });
});

describe("export", () => {
  beforeEach(() => {
    expect(place.run("attach", demoModel, "-o", "t").code).toBe(0);
  });

  test("the untouched state gives the identical file", () => {
    expect(place.run("export", "t", "-o", "same.onnx")).toMatchObject({ code: 0, stdout: expect.stringMatching(/tensors written to same\.onnx/) });
    expect(readFileSync(place.path("same.onnx")).equals(readFileSync(demoModel))).toBe(true);
  });

  test("a checkpoint of the on-device training API goes back into the file, one of another folder does not", () => {
    expect(place.run("attach", demoModel, "-o", "o", "--target", "all").code).toBe(0);
    expect(manifestAt("o").ortTraining).toMatchObject({ checkpoint: "checkpoint", optimizer: "SGDOptimizerV2" });
    expect(place.run("export", "o", "--checkpoint", "o/checkpoint", "-o", "same.onnx").code).toBe(0);
    expect(readFileSync(place.path("same.onnx")).equals(readFileSync(demoModel))).toBe(true);
    expect(place.run("attach", demoModel, "-o", "p", "--target", "all", "--freeze", "stem.*").code).toBe(0);
    expect(place.run("export", "o", "--checkpoint", "p/checkpoint", "-o", "other.onnx")).toMatchObject({ code: 1, stderr: expect.stringContaining("E420") });
  });

  test("graphs for the on-device training API alone: no stock graphs, and what runs those says so", () => {
    expect(place.run("attach", demoModel, "-o", "alone", "--target", "ort-training", "--required-operators").code).toBe(0);
    const files = ["checkpoint", "eval_model.onnx", "manifest.json", "optimizer_model.onnx", "required_operators.config", "training_model.onnx"];
    expect(readdirSync(place.path("alone")).sort()).toEqual(files);
    expect(manifestAt("alone")).toMatchObject({ graphs: null, state: [], requiredOperators: "required_operators.config" });
    expect(place.run("export", "alone", "-o", "untrained.onnx").code).toBe(0);
    expect(readFileSync(place.path("untrained.onnx")).equals(readFileSync(demoModel))).toBe(true);
    const data = ["--images", `${demo}/images`, "--masks", `${demo}/masks`];
    for (const command of [
      ["train", "alone", ...data, "-o", "never"],
      ["eval", "alone", ...data],
      ["train", demoModel, ...data, "-o", "never", "--target", "ort-training"],
    ]) {
      expect(place.run(...command), command.join(" ")).toMatchObject({ code: 1, stderr: expect.stringContaining("E115") });
    }
    expect(existsSync(place.path("never"))).toBe(false);
    expect(place.run("export", "alone", "--checkpoint", "t/state.safetensors", "-o", "other.onnx")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("E115"),
    });
  });

  test("changed numbers arrive under their names, in both kinds of file", () => {
    const state = decodeSafetensors(bytesAt(place.path("t/state.safetensors"))).tensors;
    const { parameters } = manifestAt("t");
    const length = parameters.reduce((sum, parameter) => sum + parameter.length, 0);
    const counted = Float32Array.from({ length }, (_, i) => i);
    writeFileSync(place.path("c.safetensors"), encodeSafetensors(new Map([...state, ["params", tensorOf("float32", [length], counted)]])));
    expect(place.run("export", "t", "--checkpoint", "c.safetensors", "-o", "w.safetensors").code).toBe(0);
    const weights = decodeSafetensors(bytesAt(place.path("w.safetensors"))).tensors;
    for (const { name, shape, offset, length: size } of parameters) {
      expect(weights.get(name)).toEqual(tensorOf("float32", shape, counted.subarray(offset, offset + size)));
    }
    expect(place.run("export", "t", "--checkpoint", "c.safetensors", "-o", "changed.onnx").code).toBe(0);
    expect(readFileSync(place.path("changed.onnx"))).toHaveLength(readFileSync(demoModel).length);
    expect(place.run("attach", "changed.onnx", "-o", "u").code).toBe(0);
    const again = decodeSafetensors(bytesAt(place.path("u/state.safetensors"))).tensors.get("params");
    expect(again).toEqual(tensorOf("float32", [length], counted));
  });

  test("--ema: the moving average; an error where the state has none", () => {
    expect(place.run("export", "t", "--ema", "-o", "out.onnx")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/no moving average.*\[E440\][\s\S]*attach --ema/),
    });
    expect(place.run("attach", demoModel, "-o", "e", "--ema", "0.9").code).toBe(0);
    const state = decodeSafetensors(bytesAt(place.path("e/state.safetensors"))).tensors;
    const [length = 0] = state.get("params")?.dims ?? [];
    const vector = (factor: number) =>
      tensorOf(
        "float32",
        [length],
        Float32Array.from({ length }, (_, i) => factor * i),
      );
    writeFileSync(place.path("c.safetensors"), encodeSafetensors(new Map([...state, ["params", vector(1)], ["ema", vector(2)]])));
    for (const [out, flags, factor] of [
      ["plain", [], 1],
      ["ema", ["--ema"], 2],
    ] as const) {
      expect(place.run("export", "e", "--checkpoint", "c.safetensors", ...flags, "-o", `${out}.safetensors`).code).toBe(0);
      const weights = decodeSafetensors(bytesAt(place.path(`${out}.safetensors`))).tensors;
      for (const { name, shape, offset, length: size } of manifestAt("e").parameters) {
        const { dims, bytes } = tensorOf(
          "float32",
          shape,
          Float32Array.from({ length: size }, (_, i) => factor * (offset + i)),
        );
        expect(weights.get(name)?.dims).toEqual(dims);
        expect(Buffer.compare(weights.get(name)?.bytes ?? Buffer.of(), bytes)).toBe(0);
      }
      expect(place.run("export", "e", "--checkpoint", "c.safetensors", ...flags, "-o", `${out}.onnx`).code).toBe(0);
    }
    expect(readFileSync(place.path("ema.onnx")).equals(readFileSync(place.path("plain.onnx")))).toBe(false);
  });

  test("refuses to overwrite, a source that changed, a checkpoint of another folder", () => {
    writeFileSync(place.path("there.onnx"), "");
    expect(place.run("export", "t", "-o", "there.onnx")).toMatchObject({ code: 1, stderr: expect.stringContaining("E110") });
    expect(readFileSync(place.path("there.onnx"))).toHaveLength(0);
    expect(place.run("export", "t", "--model", "there.onnx", "-o", "out.onnx")).toMatchObject({ code: 1, stderr: expect.stringContaining("E114") });
    writeFileSync(place.path("copy.onnx"), readFileSync(demoModel));
    expect(place.run("export", "t", "--model", "copy.onnx", "-o", "copy.onnx", "--force")).toMatchObject({ code: 1, stderr: expect.stringContaining("E111") });
    expect(place.run("attach", demoModel, "-o", "v", "--freeze", "stem.*").code).toBe(0);
    expect(place.run("export", "t", "--checkpoint", "v/state.safetensors", "-o", "out.onnx")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("E420"),
    });
    expect(place.run("export", "nowhere", "-o", "out.onnx")).toMatchObject({ code: 1, stderr: expect.stringContaining("E113") });
    expect(place.names()).toEqual(["copy.onnx", "t", "there.onnx", "v"]);
  });
});

describe("emit", () => {
  test("a loss graph, and only with --force twice", () => {
    const args = ["emit", "ohem-lovasz", "--logits-shape", "N,19,H,W", "-o", "loss.onnx"];
    expect(place.run(...args)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^loss\.onnx: \d+ nodes/) });
    const bytes = readFileSync(place.path("loss.onnx"));
    expect(place.run(...args).code).toBe(1);
    expect(place.run(...args, "--force").code).toBe(0);
    expect(readFileSync(place.path("loss.onnx"))).toEqual(bytes);
  });
});

/** images → Conv → outputs. */
function convolution(weight: Value, outputNames: readonly string[]): Model {
  const image: Value = { name: "image", dtype: "float32", shape: [1, 3, 8, 8] };
  const results = outputNames.map((name): Value => ({ name, dtype: "float32", shape: [1, 2, 8, 8] }));
  return {
    irVersion: 8,
    opsets: new Map([["", 17]]),
    producer: { name: "test", version: "" },
    functions: [],
    graph: {
      name: "g",
      inputs: weight.constant === undefined ? [image, weight] : [image],
      outputs: results.map((value) => ({ name: value.name, value })),
      initializers: weight.constant === undefined ? [] : [weight],
      nodes: results.map((value) => ({ op: "Conv", domain: "", name: value.name, inputs: [image, weight], outputs: [value], attributes: {} })),
    },
  };
}

function withoutWeights(): Uint8Array {
  return encodeModel(convolution({ name: "w", dtype: "float32", shape: [2, 3, 1, 1] }, ["out"]));
}

function twoOutputs(): Uint8Array {
  const constant = tensorOf("float32", [2, 3, 1, 1], [1, 2, 3, 4, 5, 6]);
  return encodeModel(convolution({ name: "w", dtype: "float32", shape: [2, 3, 1, 1], constant }, ["main", "aux"]));
}
