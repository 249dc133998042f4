/** `--untie` from the shell: said by inspect and attach, trained, and added to the model by export. */

import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeProto } from "../../src/proto/codec.ts";
import { floats, info, modelBytes, node } from "../proto/build.ts";
import { type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  const scaled = (i: number) => [node("Conv", [i === 0 ? "image" : "s0", "w"], [`c${i}`]), node("Mul", [`c${i}`, "g"], [`s${i}`], [], `scale${i}`)];
  const bytes = modelBytes({
    node: [...scaled(0), ...scaled(1), node("Conv", ["s1", "last"], ["logits"])],
    initializer: [
      floats("g", [3, 1, 1], [1, 2, 3]),
      floats("w", [3, 3, 1, 1], [1, 0.2, 0.3, 0.4, 1, 0.5, 0.6, 0.7, 1]),
      floats("last", [2, 3, 1, 1], [1, 2, 3, 3, 2, 1.5]),
    ],
    input: [info("image", [1, 3, 4, 4])],
    output: [info("logits", [1, 2, 4, 4])],
  });
  writeFileSync(place.path("net.onnx"), bytes);
});
afterAll(() => place.remove());

test("inspect says what is shared, attach what is separated, export what it adds", () => {
  expect(place.run("inspect", "net.onnx").stdout).toMatch(/shared +read by\n +g +scale0, scale1\n[\s\S]*--untie NAME separates it/);
  expect(place.run("attach", "net.onnx", "--untie", "g")).toMatchObject({ code: 0, stdout: expect.stringMatching(/untied +1 tensor; export adds g@scale1\n/) });
  const said = place.run("export", "net.train", "-o", "out.onnx");
  expect(said).toMatchObject({ code: 0, stdout: "4 tensors written to out.onnx\n1 initializer added to the model: g@scale1\n" });
  const { initializer } = decodeProto(new Uint8Array(readFileSync(place.path("out.onnx")))).graph;
  expect(initializer.map(({ name }) => name)).toEqual(["g", "w", "last", "g@scale1"]);
  expect(JSON.parse(place.run("export", "net.train", "-o", "again.onnx", "--json").stdout).added).toEqual(["g@scale1"]);
  expect(place.run("attach", "net.onnx", "--untie", "nothing", "-o", "no")).toMatchObject({ code: 2, stderr: expect.stringContaining("[E212]") });
  writeFileSync(place.path("options.json"), '{ "untie": ["*"] }');
  expect(place.run("attach", "net.onnx", "--config", "options.json", "-o", "file.train").stdout).toContain("export adds g@scale1, w@");
});
