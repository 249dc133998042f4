/** `--external-data`: large tensors beside the graphs and beside the exported model, and nothing else different. */

import { readFileSync, statSync } from "node:fs";
import { InferenceSession } from "onnxruntime-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readModelFile } from "../../src/files/model-file.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.remove());

/** Initializers of a model file by name, data files read. */
function tensorsOf(path: string): Map<string, Tensor> {
  const { graph } = readModelFile(path).model;
  return new Map(graph.initializers.map((value) => [value.name, value.constant as Tensor]));
}

function expectSame(actual: ReadonlyMap<string, Tensor>, expected: ReadonlyMap<string, Tensor>): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [name, tensor] of expected) {
    expect(actual.get(name)).toMatchObject({ dtype: tensor.dtype, dims: tensor.dims });
    expect(Buffer.compare(actual.get(name)?.bytes as Uint8Array, tensor.bytes)).toBe(0);
  }
}

/** Places in data files that a model names. */
function placesOf(path: string): { location: string; offset: number; length: number }[] {
  return readModelFile(path)
    .proto.graph.initializer.filter((tensor) => tensor.dataLocation === 1)
    .map(({ externalData }) => Object.fromEntries(externalData.map(({ key, value }) => [key, key === "location" ? value : Number(value)])) as never);
}

test("frozen weights lie beside the graphs, which the runtime opens", async () => {
  const options = ["--train", "*.bias"];
  expect(place.run("attach", demoModel, "-o", "inside", ...options)).toMatchObject({ code: 0 });
  expect(place.run("attach", demoModel, "-o", "beside", "--external-data", ...options)).toMatchObject({ code: 0, stderr: "" });
  for (const name of ["train_step", "gradient", "eval_step"]) {
    const path = place.path(`beside/${name}.onnx`);
    expectSame(tensorsOf(path), tensorsOf(place.path(`inside/${name}.onnx`)));
    const places = placesOf(path);
    expect(places.length).toBeGreaterThan(5);
    const size = statSync(`${path}.data`).size;
    for (const { location, offset, length } of places) {
      expect(location).toBe(`${name}.onnx.data`);
      expect(offset % 4096).toBe(0);
      expect(offset + length).toBeLessThanOrEqual(size);
    }
    expect(statSync(path).size + size).toBeGreaterThan(statSync(place.path(`inside/${name}.onnx`)).size * 0.9);
    await (await InferenceSession.create(path)).release();
  }
  // The optimizer alone has no large tensor, and so no file.
  expect(() => statSync(place.path("beside/update.onnx.data"))).toThrow(/ENOENT/);
  expect(readFileSync(place.path("beside/update.onnx")).equals(readFileSync(place.path("inside/update.onnx")))).toBe(true);
  expect(place.run("attach", demoModel, "-o", "beside", "--force", ...options)).toMatchObject({ code: 0 });
  expect(() => statSync(place.path("beside/train_step.onnx.data"))).toThrow(/ENOENT/);
});

test("an exported model has its weights beside it, and the same numbers", async () => {
  expect(place.run("attach", demoModel, "-o", "out").code).toBe(0);
  expect(place.run("export", "out", "-o", "inside.onnx", "--model", demoModel).code).toBe(0);
  const run = place.run("export", "out", "-o", "beside.onnx", "--model", demoModel, "--external-data");
  expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining("beside.onnx.data") });
  expectSame(tensorsOf(place.path("beside.onnx")), tensorsOf(place.path("inside.onnx")));
  expect(placesOf(place.path("beside.onnx")).length).toBeGreaterThan(5);
  await (await InferenceSession.create(place.path("beside.onnx"))).release();
  const refused = place.run("export", "out", "-o", "beside.onnx", "--model", demoModel, "--external-data");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("[E110]") });
  const alone = place.run("export", "out", "-o", "w.safetensors", "--model", demoModel, "--external-data");
  expect(alone).toMatchObject({ code: 2 });
});
