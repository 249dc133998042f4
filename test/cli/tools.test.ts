/** `grad`, `inspect`, `ops` and `check` from the shell: results, refusals, exit codes. */

import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { graphOf, modelOf, node, value } from "../passes/compare.ts";
import { demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.remove());

describe("grad", () => {
  test("writes the graph, says what is always zero, and only with --force twice", () => {
    const args = ["grad", demoModel, "--of", "logits", "--wrt", "image", "--wrt", "head.weight", "-o", "grad.onnx"];
    const names = loadModel(readFileSync(demoModel)).graph;
    const [input] = names.inputs;
    const [weight] = names.initializers;
    const real = args.map((arg) => (arg === "image" ? (input?.name ?? "") : arg === "head.weight" ? (weight?.name ?? "") : arg));
    expect(place.run(...real)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^grad\.onnx: [\d,]+ nodes/) });
    const written = loadModel(readFileSync(place.path("grad.onnx"))).graph;
    expect(written.inputs.map(({ name }) => name)).toEqual([input?.name, "logits.grad"]);
    expect(written.outputs.map(({ name }) => name)).toEqual(["logits", `${input?.name}.grad`, `${weight?.name}.grad`]);
    expect(place.run(...real)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("E110") });
    const { document } = { document: JSON.parse(place.run(...real, "--force", "--json").stdout) };
    expect(document).toMatchObject({ file: "grad.onnx", of: { name: "logits", type: "float32" }, wrt: [{ zero: false }, { zero: false }] });
  });

  test.each([
    [["--of", "nothing", "--wrt", "image"], 1, /no tensor named nothing {2}\[E211\]/],
    [["--of", "logits"], 2, /--wrt is missing/],
    [["--of", "logits", "--wrt", "logits"], 1, /E240/],
  ])("refuses %j", (args, code, message) => {
    const ran = place.run("grad", demoModel, ...args, "-o", "grad.onnx");
    expect(ran).toMatchObject({ code, stdout: "", stderr: expect.stringMatching(message) });
    expect(place.names()).toEqual([]);
  });
});

test("inspect: text and document of the demo model", () => {
  const { code, stdout, stderr } = place.run("inspect", demoModel);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/logits +logits, 6 channels/);
  expect(stdout).toMatch(/Conv weight +\d/);
  expect(JSON.parse(place.run("inspect", demoModel, "--json").stdout)).toMatchObject({ logits: [{ classes: 6 }], missing: [], problems: [] });
  expect(place.names()).toEqual([]);
});

test("inspect reports what attach refuses", () => {
  const x = value("x", "float32", [1, 3, 4, 4]);
  const y = value("y", "float32", [1, 3, 4, 4]);
  writeFileSync(place.path("odd.onnx"), encodeModel(modelOf(graphOf([x], [node("Odd", [x], [y], { domain: "com.example" })], [y]))));
  expect(place.run("attach", "odd.onnx").code).toBe(1);
  expect(place.run("inspect", "odd.onnx")).toMatchObject({ code: 0, stdout: expect.stringMatching(/com\.example::Odd +1 +unknown[\s\S]*problems/) });
});

test("ops: a line for every operator", () => {
  const { code, stdout } = place.run("ops");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Conv +rule +convolution$/m);
  expect(stdout).toMatch(/^Floor +declared/m);
  expect(JSON.parse(place.run("ops", "--json").stdout)).toContainEqual({ op: "Upsample", family: "", state: "decomposed", converted: true });
});

describe("check", () => {
  test("the demo model's gradients are right", () => {
    const ran = place.run("check", demoModel, "--json", "--input-shape", `${loadModel(readFileSync(demoModel)).graph.inputs[0]?.name}=1,3,32,32`);
    expect(ran.stderr).not.toContain("internal");
    const report = JSON.parse(ran.stdout) as { verdict: string; groups: { group: string; along: { best: number } }[] };
    expect(report.groups.map(({ group }) => group)).toContain("Conv weight");
    expect([ran.code, report.verdict]).not.toEqual([1, "wrong"]);
  });

  test("--ep lists what a provider does not run", () => {
    const { stdout } = place.run("check", demoModel, "--ep", "cuda");
    expect(stdout).toMatch(/^train_step: [\d,]+ nodes, /m);
    const document = JSON.parse(place.run("check", demoModel, "--ep", "cuda", "--json").stdout) as {
      graphs: Record<string, { opset: number; outside: unknown[] }>;
    };
    expect(Object.keys(document.graphs)).toEqual(["train_step", "gradient", "update", "eval_step"]);
    expect(document.graphs["update"]).toMatchObject({ opset: 18, outside: [] });
  });
});
