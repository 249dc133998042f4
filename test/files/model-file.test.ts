import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readModelFile, writePatchedModel } from "../../src/files/model-file.ts";
import { tensorNumbers } from "../../src/ir/tensor.ts";
import { availableModels, modelDir } from "../models.ts";
import { bytesOf, errorOf, info, modelBytes, node, type Plain } from "../proto/build.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ohemgen-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function outside(name: string, entries: Record<string, string>): Plain {
  return {
    name,
    dims: [2],
    dataType: 1,
    dataLocation: 1,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  };
}

/** A model whose tensors `v` (at 0) and `w` (at 8) lie in `data`, and `u` in `other.bin`. */
function writeModel(folder = dir, location = "m.data"): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "m.onnx");
  writeFileSync(join(folder, "m.data"), bytesOf(Float32Array.of(1, 2, 3, 4)));
  writeFileSync(join(folder, "other.bin"), bytesOf(Float32Array.of(5, 6)));
  const tensors = [outside("v", { location, length: "8" }), outside("w", { location, offset: "8" }), outside("u", { location: "other.bin" })];
  writeFileSync(path, modelBytes({ node: [node("Sum", ["v", "w", "u"], ["y"])], initializer: tensors, output: [info("y", [2])] }));
  return path;
}

const numbers = (path: string): number[][] =>
  readModelFile(path).model.graph.initializers.map(({ constant }) => (constant === undefined ? [] : Array.from(tensorNumbers(constant))));

describe("reading", () => {
  test.each(availableModels())("$name", ({ dir: folder }) => {
    const { bytes, proto, model } = readModelFile(`${folder}/model.onnx`);
    expect(proto.graph.node.length).toBe(model.graph.nodes.length);
    expect(bytes.length).toBe(readFileSync(`${folder}/model.onnx`).length);
  });

  test("external data beside the model and below its folder", () => {
    expect(numbers(writeModel())).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    mkdirSync(join(dir, "sub"));
    cpSync(join(dir, "m.data"), join(dir, "sub", "d.bin"));
    expect(numbers(writeModel(dir, "./sub/d.bin"))).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
  });

  test("a relative path", () => {
    const path = writeModel();
    const before = process.cwd();
    process.chdir(dir);
    try {
      expect(numbers("m.onnx")).toEqual(numbers(path));
    } finally {
      process.chdir(before);
    }
  });

  test("what is no readable file: E100", () => {
    expect(errorOf(() => readModelFile(join(dir, "none.onnx")), "E100").message).toMatch(/does not exist/);
    expect(errorOf(() => readModelFile(dir), "E100").message).toMatch(/is a folder/);
    expect(errorOf(() => readModelFile("/dev/zero"), "E100").message).toMatch(/not a regular file/);
    expect(errorOf(() => readModelFile(join(writeModel(), "x")), "E100").message).toMatch(/does not exist/);
  });

  test("an error about the content names the file", () => {
    const path = join(dir, "t.onnx");
    writeFileSync(path, readFileSync(`${modelDir("erfnet_bn")}/model.onnx`).subarray(0, 1000));
    const error = errorOf(() => readModelFile(path), "E101");
    expect(error.message).toContain(path);
    expect(error.hint).toMatch(/truncated/);
  });
});

describe("external data that must not be read", () => {
  test.each([
    ["a parent folder", "../secret.bin"],
    ["a parent folder further in", "sub/../../secret.bin"],
    ["a parent folder, with other slashes", "sub\\..\\..\\secret.bin"],
    ["an absolute path", "/etc/hostname"],
    ["an absolute path of another system", "C:\\secret.bin"],
    ["a network path", "\\\\host\\secret.bin"],
    ["a zero byte", "m.data\0"],
  ])("%s: E104", (_name, location) => {
    writeFileSync(join(dir, "secret.bin"), new Uint8Array(64));
    const path = writeModel(join(dir, "model"), location);
    mkdirSync(join(dir, "model", "sub"));
    const error = errorOf(() => readModelFile(path), "E104");
    expect(error.hint).toBeTruthy();
  });

  test("symbolic links out of the folder: E104; within it they are fine", () => {
    writeFileSync(join(dir, "secret.bin"), new Uint8Array(64));
    const path = writeModel(join(dir, "model"), "link.bin");
    symlinkSync(join(dir, "secret.bin"), join(dir, "model", "link.bin"));
    expect(errorOf(() => readModelFile(path), "E104").message).toMatch(/symbolic link/);
    rmSync(join(dir, "model", "link.bin"));
    symlinkSync("m.data", join(dir, "model", "link.bin"));
    expect(numbers(path)[0]).toEqual([1, 2]);
    const below = writeModel(join(dir, "model2"), "out/secret.bin");
    symlinkSync(dir, join(dir, "model2", "out"));
    expect(errorOf(() => readModelFile(below), "E104").message).toMatch(/symbolic link/);
  });

  test("a folder that only begins like the model's: E104", () => {
    mkdirSync(join(dir, "model-secret"));
    writeFileSync(join(dir, "model-secret", "s.bin"), new Uint8Array(64));
    const path = writeModel(join(dir, "model"), "link.bin");
    symlinkSync(join(dir, "model-secret", "s.bin"), join(dir, "model", "link.bin"));
    errorOf(() => readModelFile(path), "E104");
  });

  test("missing, too short, a folder: E103", () => {
    expect(errorOf(() => readModelFile(writeModel(dir, "none.bin")), "E103").message).toMatch(/"none.bin" is missing/);
    const path = writeModel();
    truncateSync(join(dir, "m.data"), 12);
    expect(errorOf(() => readModelFile(path), "E103").message).toMatch(/has 12 bytes, but bytes 8 to 16/);
    mkdirSync(join(dir, "folder"));
    errorOf(() => readModelFile(writeModel(dir, "folder")), "E103");
  });

  test("a length or an offset beyond everything", () => {
    const path = join(dir, "big.onnx");
    writeFileSync(join(dir, "m.data"), new Uint8Array(16));
    for (const entries of [
      { location: "m.data", length: "9007199254740991" },
      { location: "m.data", offset: "9007199254740990" },
    ]) {
      writeFileSync(path, modelBytes({ initializer: [outside("v", entries)] }));
      errorOf(() => readModelFile(path), "E103");
    }
  });
});

describe("writing patched models", () => {
  const patch = (entries: Record<string, number[]>): Map<string, Float32Array> =>
    new Map(Object.entries(entries).map(([name, list]) => [name, Float32Array.from(list)]));

  test("without a change the file is the source, bit for bit", () => {
    const source = `${modelDir("erfnet_bn")}/model.onnx`;
    const { model } = readModelFile(source);
    const values = new Map(
      model.graph.initializers.flatMap(({ name, constant }) =>
        constant?.dtype === "float32" ? [[name, Float32Array.from(tensorNumbers(constant))] as const] : [],
      ),
    );
    expect(writePatchedModel(source, values, join(dir, "out.onnx"))).toEqual([join(dir, "out.onnx")]);
    expect(Buffer.compare(readFileSync(join(dir, "out.onnx")), readFileSync(source))).toBe(0);
    expect(readdirSync(dir)).toEqual(["out.onnx"]);
  });

  test("external data in the same folder: only patched files are copied", () => {
    const path = writeModel();
    const before = readFileSync(join(dir, "m.data"));
    const out = join(dir, "out.onnx");
    expect(writePatchedModel(path, patch({ w: [7, 8], v: [1, 2] }), out)).toEqual([join(dir, "out.onnx.data"), out]);
    expect(numbers(out)).toEqual([
      [1, 2],
      [7, 8],
      [5, 6],
    ]);
    expect(numbers(path)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(readFileSync(join(dir, "m.data"))).toEqual(before);
    expect(readdirSync(dir).sort()).toEqual(["m.data", "m.onnx", "other.bin", "out.onnx", "out.onnx.data"]);
    const both = join(dir, "both.onnx");
    writePatchedModel(path, patch({ w: [7, 8], u: [9, 9] }), both);
    expect(numbers(both)).toEqual([
      [1, 2],
      [7, 8],
      [9, 9],
    ]);
    expect(existsSync(`${both}.data.2`)).toBe(true);
  });

  test("external data into another folder: everything that is needed goes along", () => {
    const path = writeModel(join(dir, "a"));
    const out = join(dir, "b", "c", "out.onnx");
    writePatchedModel(path, patch({ u: [7, 8] }), out);
    rmSync(join(dir, "a", "m.data"));
    expect(numbers(out)).toEqual([
      [1, 2],
      [3, 4],
      [7, 8],
    ]);
    expect(readdirSync(join(dir, "b", "c")).sort()).toEqual(["m.data", "out.onnx", "out.onnx.data"]);
  });

  test("an unchanged model with external data is the same file, elsewhere too", () => {
    const path = writeModel(join(dir, "a"));
    const out = join(dir, "b", "out.onnx");
    writePatchedModel(path, patch({ v: [1, 2], u: [5, 6] }), out);
    expect(readFileSync(out)).toEqual(readFileSync(path));
    expect(readFileSync(join(dir, "b", "m.data"))).toEqual(readFileSync(join(dir, "a", "m.data")));
  });

  test("existing outputs stay without --force, inputs always", () => {
    const path = writeModel();
    const out = join(dir, "out.onnx");
    writeFileSync(`${out}.data`, "mine");
    expect(errorOf(() => writePatchedModel(path, patch({ w: [7, 8] }), out), "E110").hint).toMatch(/--force/);
    expect(existsSync(out)).toBe(false);
    expect(readFileSync(`${out}.data`, "utf8")).toBe("mine");
    writePatchedModel(path, patch({ w: [7, 8] }), out, { force: true });
    expect(numbers(out)[1]).toEqual([7, 8]);
    errorOf(() => writePatchedModel(path, patch({ w: [7, 8] }), path, { force: true }), "E111");
    symlinkSync(path, join(dir, "alias.onnx"));
    errorOf(() => writePatchedModel(path, patch({ w: [7, 8] }), join(dir, "alias.onnx"), { force: true }), "E111");
    expect(numbers(path)[1]).toEqual([3, 4]);
  });

  test("values for tensors that share bytes with others are refused", () => {
    const path = join(dir, "m.onnx");
    writeFileSync(join(dir, "m.data"), new Uint8Array(16));
    writeFileSync(
      path,
      modelBytes({
        initializer: [outside("a", { location: "m.data" }), outside("b", { location: "m.data", offset: "4" })],
      }),
    );
    expect(errorOf(() => writePatchedModel(path, patch({ a: [1, 2] }), join(dir, "out.onnx")), "E106").message).toMatch(/share bytes/);
    expect(readdirSync(dir).sort()).toEqual(["m.data", "m.onnx"]);
  });
});
