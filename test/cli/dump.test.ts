/** `--dump`: the model after each phase, every one of them a model that loads. */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadModel } from "../../src/proto/load.ts";
import { demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.remove());

function dumped(): string[] {
  return readdirSync(place.path("dump"))
    .filter((name) => name.endsWith(".onnx"))
    .sort();
}

test("attach writes every phase as text and model, and the same graphs as without", () => {
  expect(place.run("attach", demoModel, "-o", "plain").code).toBe(0);
  expect(place.run("attach", demoModel, "-o", "out", "--dump", "dump")).toMatchObject({ code: 0, stderr: "" });
  const phases = ["normalized", "forward", "loss", "gradient", "train_step", "update", "eval_step"];
  expect(dumped()).toEqual(phases.map((phase, i) => `0${i + 1}-${phase}.onnx`));
  for (const name of dumped()) {
    const { graph } = loadModel(new Uint8Array(readFileSync(place.path(`dump/${name}`))));
    const text = readFileSync(place.path(`dump/${name.replace(/onnx$/, "txt")}`), "utf8");
    expect(text).toContain(`${graph.nodes.length} nodes`);
    for (const { name: output } of graph.outputs) expect(text).toContain(`output ${output}: `);
  }
  for (const name of ["train_step", "gradient", "update", "eval_step"]) {
    const graph = readFileSync(place.path(`out/${name}.onnx`));
    expect(readFileSync(place.path(`plain/${name}.onnx`)).equals(graph)).toBe(true);
    expect(readFileSync(place.path(`dump/${dumped().find((file) => file.includes(`-${name}.`))}`)).equals(graph)).toBe(true);
  }
});

test("grad and emit have it too", () => {
  expect(place.run("grad", demoModel, "--of", "logits", "--wrt", "image", "-o", "grad.onnx", "--dump", "dump")).toMatchObject({ code: 0 });
  expect(dumped()).toEqual(["01-normalized.onnx", "02-gradient.onnx"]);
  expect(place.run("emit", "sgd", "-o", "sgd.onnx", "--dump", "other")).toMatchObject({ code: 0 });
  expect(readFileSync(place.path("other/01-sgd.onnx")).equals(readFileSync(place.path("sgd.onnx")))).toBe(true);
});

test("what a folder holds is not replaced, and commands that build nothing refuse", () => {
  expect(place.run("emit", "sgd", "-o", "sgd.onnx", "--dump", "dump").code).toBe(0);
  writeFileSync(place.path("dump/notes.txt"), "mine");
  const again = place.run("emit", "sgd", "-o", "again.onnx", "--dump", "dump");
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("[E110]") });
  expect(place.names()).toEqual(["dump", "sgd.onnx"]);
  const wrong = place.run("ops", "--dump", "else");
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("builds no graphs") });
});
