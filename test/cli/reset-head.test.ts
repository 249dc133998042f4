/** A head for other classes from the shell: first the head alone, then everything, from one model file to another. */

import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Manifest } from "../../src/attach/manifest.ts";
import { tensorNumbers } from "../../src/ir/tensor.ts";
import { loadModel } from "../../src/proto/load.ts";
import { decodeMask } from "../../src/train/images.ts";
import { demo, demoModel, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(async () => {
  place = workplace();
  mkdirSync(place.path("img"));
  mkdirSync(place.path("msk"));
  for (const stem of ["street-01", "street-02"]) {
    cpSync(join(demo, "images", `${stem}.png`), place.path(`img/${stem}.png`));
    const { width, height, labels } = await decodeMask(readFileSync(join(demo, "masks", `${stem}.png`)), stem);
    const three = Uint8Array.from(labels, (label) => (label === 255 ? 255 : label % 3));
    writeFileSync(place.path(`msk/${stem}.png`), encode({ width, height, data: three, channels: 1, depth: 8 }));
  }
});
afterAll(() => place.remove());

const data = ["--images", "img", "--masks", "msk"];

function weights(path: string): Map<string, readonly [dims: string, numbers: Float32Array]> {
  const { initializers } = loadModel(new Uint8Array(readFileSync(place.path(path)))).graph;
  return new Map(
    initializers.flatMap(({ name, constant }) =>
      constant?.dtype === "float32" ? [[name, [constant.dims.join(), Float32Array.from(tensorNumbers(constant))] as const]] : [],
    ),
  );
}

describe("head first, then everything", () => {
  test("the exported model has the new classes and goes on from the first run", () => {
    const first = place.run("attach", demoModel, "--reset-head", "3", "--train", "head.*", "-o", "head.train");
    expect(first).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/logits, 3 classes[\s\S]*reset {2,}head\.\S+ \[3,/) });
    const manifest = JSON.parse(readFileSync(place.path("head.train/manifest.json"), "utf8")) as Manifest;
    const reset = manifest.resetHead?.tensors.map(({ name }) => name) ?? [];
    expect(manifest.parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(reset));

    const run = place.run("train", "head.train", ...data, "--steps", "2", "--batch", "1", "-o", "one");
    expect(run.code, run.stderr).toBe(0);
    writeFileSync(place.path("source.onnx"), readFileSync(demoModel));
    const [source, trained] = [weights("source.onnx"), weights("one/best.onnx")];
    for (const [name, [dims, numbers]] of trained) {
      if (reset.includes(name)) expect(dims.split(",")[0]).toBe("3");
      else if (!name.startsWith("head.")) expect(numbers).toEqual(source.get(name)?.[1]);
    }

    expect(place.run("attach", "one/best.onnx", "--classes", "3", "-o", "all.train")).toMatchObject({ code: 0, stderr: "" });
    const second = place.run("train", "all.train", ...data, "--steps", "1", "--batch", "1", "-o", "two");
    expect(second.code, second.stderr).toBe(0);
    const after = weights("two/best.onnx");
    const moved = [...after].filter(([name, [, numbers]]) => numbers.some((number, i) => number !== trained.get(name)?.[1][i]));
    expect(moved.length).toBeGreaterThan(reset.length);

    const scores = place.run("eval", "all.train", "--checkpoint", "two/best.safetensors", ...data, "--json");
    expect(JSON.parse(scores.stdout).classes).toHaveLength(3);
    expect(place.run("predict", "two/best.onnx", "--images", "img", "-o", "out").code).toBe(0);
  });

  test("a head that is not trained is exported as it was drawn", () => {
    expect(place.run("attach", demoModel, "--reset-head", "4", "--seed", "9", "--freeze", "head.*", "-o", "frozen.train").code).toBe(0);
    expect(place.run("export", "frozen.train", "-o", "a.onnx").code).toBe(0);
    expect(place.run("attach", demoModel, "--reset-head", "4", "--seed", "9", "-o", "free.train").code).toBe(0);
    expect(place.run("export", "free.train", "-o", "b.onnx").code).toBe(0);
    expect(readFileSync(place.path("a.onnx")).equals(readFileSync(place.path("b.onnx")))).toBe(true);
    expect(place.run("attach", demoModel, "--reset-head", "0", "-o", "no.train").code).toBe(2);
    expect(place.run("predict", "frozen.train", "--images", "img", "-o", "masks").code).toBe(0);
    expect(place.run("check", demoModel, "--reset-head", "4", "--seed", "9")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("right: the gradients agree"),
    });
  });

  test("straight from a model", () => {
    const run = place.run("train", demoModel, "--reset-head", "3", ...data, "--steps", "1", "--batch", "1", "-o", "direct", "--json", "--quiet");
    expect(run.code, run.stderr).toBe(0);
    expect(JSON.parse(run.stdout).files).toEqual(
      expect.arrayContaining(["direct/best.onnx", "direct/report.html", expect.stringMatching(/^direct\/events\./)]),
    );
    expect([...weights("direct/best.onnx")].filter(([name]) => name.startsWith("head.")).map(([, [dims]]) => dims.split(",")[0])).toEqual(["3", "3"]);
  });
});
