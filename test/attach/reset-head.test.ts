/** `--reset-head`: which tensors are made anew, what the exported file looks like, and what is refused. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { logitsCandidates } from "../../src/attach/logits.ts";
import { headEdits } from "../../src/attach/reset-head.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { decodeProto, joinChunks } from "../../src/proto/codec.ts";
import { editModel } from "../../src/proto/edit.ts";
import { loadModel } from "../../src/proto/load.ts";
import { patchTensors } from "../../src/proto/patch.ts";
import { availableModels } from "../models.ts";
import { readNpy } from "../npy.ts";
import { bytesOf, errorOf, floats, info, modelBytes, node, type Plain } from "../proto/build.ts";
import { python, pythonTest } from "../python.ts";
import { openSession, toRuntime } from "../run-graph.ts";

const classes = 5;
const seed = 3;

/** What `export` writes of a state that was not trained. */
function exported(bytes: Uint8Array, heads: readonly string[], n = classes): Uint8Array {
  return editModel(bytes, headEdits(loadModel(bytes), heads, { classes: n, seed }));
}

function constants(bytes: Uint8Array): Map<string, Tensor> {
  const { graph } = loadModel(bytes);
  const found = new Map(graph.initializers.map((value) => [value.name, value.constant as Tensor]));
  for (const { op, outputs, attributes } of graph.nodes) {
    if (op === "Constant" && attributes.value?.type === "tensor") found.set(outputs[0]?.name ?? "", attributes.value.value);
  }
  return found;
}

/** Main logits and further ones, as `--logits` and `--aux` would name them. */
function headsOf(bytes: Uint8Array): string[] {
  return logitsCandidates(loadModel(bytes).graph).map(({ value }) => value.name);
}

const layers: Readonly<Record<string, readonly string[]>> = {
  deeplabv3_mobilenetv3_aux: ["net.classifier.4.weight", "net.classifier.4.bias", "net.aux_classifier.4.weight", "net.aux_classifier.4.bias"],
  deeplabv3plus_mobilenetv2: ["segmentation_head.0.weight", "segmentation_head.0.bias"],
  erfnet_bn: ["out.weight", "out.bias"],
  fpn_mobilenetv3_small: ["segmentation_head.0.weight", "segmentation_head.0.bias"],
  linknet_softmax_argmax: ["net.segmentation_head.0.weight", "net.segmentation_head.0.bias"],
  lraspp_mobilenetv3: ["low_classifier.weight", "low_classifier.bias", "high_classifier.weight", "high_classifier.bias"].map(
    (name) => `net.classifier.${name}`,
  ),
  segformer_b0: ["net.decode_head.classifier.weight", "net.decode_head.classifier.bias"],
  unet_binary_sigmoid: ["segmentation_head.0.weight"],
  unet_convtranspose: ["head.weight", "head.bias"],
  unet_resnet: ["segmentation_head.0.weight", "segmentation_head.0.bias"],
};

const folder = mkdtempSync(join(tmpdir(), "ohemgen-heads-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(availableModels())("$name", ({ name, dir }) => {
  const bytes = new Uint8Array(readFileSync(`${dir}/model.onnx`));
  const [logits = "", ...aux] = headsOf(bytes);
  const result = attach(loadModel(bytes), { logits, heads: aux.map((head) => ({ logits: head })), resetHead: classes, seed });
  const file = exported(bytes, [logits, ...aux]);

  test("the last layers, and nothing else in the file", () => {
    expect(result.manifest.resetHead?.tensors.map((tensor) => tensor.name)).toEqual(layers[name]);
    expect(result.manifest.heads.map((head) => head.classes)).toEqual([logits, ...aux].map(() => classes));
    const [before, after] = [constants(bytes), constants(file)];
    expect([...after.keys()]).toEqual([...before.keys()]);
    const changed = [...after].filter(([key, tensor]) => {
      const old = before.get(key);
      return old?.dims.join() !== tensor.dims.join() || Buffer.compare(old.bytes, tensor.bytes) !== 0;
    });
    expect(changed.map(([key]) => key).sort()).toEqual([...(layers[name] ?? [])].sort());
    const strip = (data: Uint8Array) => decodeProto(data).graph.node.map(({ opType, input, output, name: label }) => ({ opType, input, output, label }));
    expect(strip(file)).toEqual(strip(bytes));
  });

  test("is drawn within ±1/√fan_in, biases 0, from the seed", () => {
    for (const [key, tensor] of constants(file)) {
      if (!layers[name]?.includes(key)) continue;
      const numbers = Array.from(tensorNumbers(tensor));
      if (key.endsWith("bias")) expect(numbers).toEqual(new Array(classes).fill(0));
      else {
        const axis = key === "out.weight" ? 1 : 0; // ConvTranspose
        const fanIn = numbers.length / (tensor.dims[axis] as number);
        const bound = 1 / Math.sqrt(fanIn);
        const sizes = numbers.map(Math.abs);
        expect(Math.max(...sizes)).toBeLessThanOrEqual(bound * (1 + 2 ** -23));
        // The largest of 100 or more uniform numbers; the mean square of a uniform one is bound²/3, here ±25 %.
        expect(Math.max(...sizes)).toBeGreaterThan(0.9 * bound);
        const square = numbers.reduce((sum, x) => sum + x * x, 0) / numbers.length;
        expect((3 * square) / bound ** 2).toBeGreaterThan(0.75);
        expect((3 * square) / bound ** 2).toBeLessThan(1.25);
      }
    }
    expect(Buffer.compare(exported(bytes, [logits, ...aux]), file)).toBe(0);
    const other = attach(loadModel(bytes), { logits, heads: aux.map((head) => ({ logits: head })), resetHead: classes, seed: 4 });
    expect(Buffer.compare(other.state.get("params")?.bytes as Uint8Array, result.state.get("params")?.bytes as Uint8Array)).not.toBe(0);
  });

  test("the exported model computes what the training graphs train", async () => {
    const params = tensorNumbers(result.state.get("params") as Tensor) as Float32Array;
    const trained = new Map(result.manifest.parameters.map(({ name: key, offset, length }) => [key, params.subarray(offset, offset + length)]));
    // The state holds the numbers the export draws again: putting them in changes nothing.
    expect(Buffer.compare(joinChunks(patchTensors(file, trained).chunks), file)).toBe(0);

    const picture = fromNpy(`${dir}/input.npy`, "float32");
    const labels = fromNpy(`${dir}/label.npy`, "uint8");
    const inference = await openSession(file);
    const [input = ""] = inference.inputNames;
    const plain = await inference.run({ [input]: toRuntime(picture) });
    const [first] = inference.outputNames;
    const output = plain[first ?? ""];
    const evaluation = await openSession(result.graphs.eval_step);
    const feeds = { [input]: toRuntime(picture), labels: toRuntime(labels), params: toRuntime(result.state.get("params") as Tensor) };
    const { prediction, loss, confusion } = await evaluation.run(feeds);
    expect(confusion?.dims).toEqual([classes, classes]);
    expect(Number.isFinite(Number(loss?.data[0]))).toBe(true);
    const predicted = Array.from(prediction?.data as Int32Array);
    if (output?.dims.length === 3) expect(Array.from(output.data as BigInt64Array, Number)).toEqual(predicted);
    else {
      expect(output?.dims[1]).toBe(classes);
      const [, , height, width] = (output?.dims ?? []) as readonly [number, number, number, number];
      // A sigmoid that is 1 for two classes says no more which was larger.
      if (height * width * 2 === predicted.length && name !== "unet_binary_sigmoid") {
        expect(agreement(output?.data as Float32Array, predicted, height * width)).toBeGreaterThan(0.999);
      }
    }
  });

  pythonTest("passes the ONNX checker with strict shape inference", () => {
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, file);
    expect(python("check_models.py", [path])).toBe("");
  });
});

function fromNpy(path: string, dtype: "float32" | "uint8"): Tensor {
  const { shape, data } = readNpy(path);
  return tensorOf(dtype, shape, data);
}

/** Share of the pixels whose largest logit is that of the prediction: rounding differs between the graphs. */
function agreement(logits: Float32Array, predicted: readonly number[], area: number): number {
  let same = 0;
  predicted.forEach((label, i) => {
    const at = Math.floor(i / area) * classes * area + (i % area);
    let best = 0;
    for (let c = 1; c < classes; c++) if ((logits[at + c * area] as number) > (logits[at + best * area] as number)) best = c;
    if (best === label) same += 1;
  });
  return same / predicted.length;
}

const int = (name: string, i: number): Plain => ({ name, i, type: 2 });
const list = (name: string, values: readonly number[]): Plain => ({ name, ints: [...values], type: 7 });
const sizes = (name: string, values: readonly number[]): Plain => ({
  name,
  dims: [values.length],
  dataType: 7,
  rawData: bytesOf(BigInt64Array.from(values, BigInt)),
});
const learned = (name: string, dims: number[]): Plain => {
  const count = dims.reduce((a, b) => a * b, 1);
  return floats(
    name,
    dims,
    Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1))),
  );
};

/** image [2,3,8,8] → nodes → logits. */
function small(nodes: Plain[], initializer: Plain[], output = info("logits", [2, 4, 8, 8]), rest: Plain = {}): Uint8Array {
  return modelBytes({ node: nodes, initializer, input: [info("image", [2, 3, 8, 8])], output: [output], ...rest });
}

async function run(bytes: Uint8Array): Promise<Record<string, readonly number[]>> {
  const session = await openSession(bytes);
  const picture = tensorOf(
    "float32",
    [2, 3, 8, 8],
    Array.from({ length: 384 }, (_, i) => Math.sin(i)),
  );
  const outputs = await session.run({ image: toRuntime(picture) });
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.dims]));
}

const head = [learned("w", [4, 3, 1, 1]), learned("b", [4])];
const conv = node("Conv", ["image", "w", "b"], ["logits"], [], "classify");

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

describe("refused, with the name of the node", () => {
  const vector = (name: string) => learned(name, [4]);
  const cases: readonly (readonly [what: string, bytes: () => Uint8Array, message: RegExp])[] = [
    [
      "classes joined from two layers",
      () => {
        const nodes = [
          node("Conv", ["image", "w"], ["a"]),
          node("Conv", ["image", "w"], ["b"]),
          node("Concat", ["a", "b"], ["logits"], [int("axis", 1)], "join"),
        ];
        return small(nodes, [learned("w", [2, 3, 1, 1])]);
      },
      /Concat join is in the way/,
    ],
    [
      "a normalization behind the last layer",
      () => {
        const nodes = [node("Conv", ["image", "w"], ["a"]), node("BatchNormalization", ["a", "s", "o", "m", "v"], ["logits"], [], "norm")];
        return small(nodes, [learned("w", [4, 3, 1, 1]), vector("s"), vector("o"), vector("m"), floats("v", [4], [1, 1, 1, 1])]);
      },
      /BatchNormalization norm is in the way/,
    ],
    [
      "a scale per class",
      () =>
        small([node("Conv", ["image", "w"], ["a"]), node("Mul", ["a", "s"], ["logits"], [], "scale")], [learned("w", [4, 3, 1, 1]), learned("s", [4, 1, 1])]),
      /Mul scale is in the way/,
    ],
    [
      "a depthwise upsampling",
      () => {
        const up = node("ConvTranspose", ["a", "u"], ["logits"], [int("group", 4), list("strides", [2, 2])], "upsample");
        return small([node("Conv", ["image", "w"], ["a"]), up], [learned("w", [4, 3, 1, 1]), learned("u", [4, 1, 2, 2])], info("logits", [2, 4, 16, 16]));
      },
      /ConvTranspose upsample is in the way/,
    ],
    [
      "a pixel shuffle",
      () => {
        const nodes = [node("Conv", ["image", "w"], ["a"]), node("DepthToSpace", ["a"], ["logits"], [int("blocksize", 2)], "shuffle")];
        return small(nodes, [learned("w", [16, 3, 1, 1])], info("logits", [2, 4, 16, 16]));
      },
      /DepthToSpace shuffle is in the way/,
    ],
    [
      "a prior per class behind the logits",
      () => small([conv, node("Mul", ["logits", "prior"], ["p"], [], "weigh")], [...head, learned("prior", [4, 1, 1])], info("p", [2, 4, 8, 8])),
      /weigh/,
    ],
    [
      "a size written down behind the logits",
      () =>
        modelBytes({
          node: [conv, node("Reshape", ["logits", "flat"], ["p"], [], "flatten")],
          initializer: [...head, sizes("flat", [0, 4, -1])],
          input: [info("image", ["N", 3, "H", "W"])],
          output: [info("p")],
        }),
      /flatten/,
    ],
    [
      "the picture added to the logits",
      () => small([node("Conv", ["image", "w"], ["a"]), node("Add", ["a", "image"], ["logits"])], [learned("w", [3, 3, 1, 1])], info("logits", [2, 3, 8, 8])),
      /the class axis comes from image/,
    ],
  ];

  test.each(cases)("%s", (_, bytes, message) => {
    const error = errorOf(() => attach(loadModel(bytes()), { logits: "logits", resetHead: classes }), "E230");
    expect(error.message).toMatch(message);
    expect(error.where).not.toBe("");
  });

  test("a last layer inside a function of the model", () => {
    const body = { name: "Head", domain: "local", input: ["x", "w"], output: ["y"], opsetImport: [{ domain: "", version: 18 }], attribute: [] };
    const constant = node("Constant", [], ["b"], [{ name: "value_floats", floats: [1, 2, 3, 4], type: 6 }]);
    const model = (inner: Plain[]): Uint8Array =>
      modelBytes(
        {
          node: [{ ...node("Head", ["image", "w"], ["logits"]), domain: "local" }],
          initializer: [head[0] as Plain],
          input: [info("image", [2, 3, 8, 8])],
          output: [info("logits", [2, 4, 8, 8])],
        },
        {
          opsetImport: [
            { domain: "", version: 18 },
            { domain: "local", version: 1 },
          ],
          functions: [{ ...body, node: inner }],
        },
      );
    const inside = model([constant, node("Conv", ["x", "w", "b"], ["y"])]);
    expect(errorOf(() => attach(loadModel(inside), { resetHead: classes }), "E230").message).toMatch(/in a function/);
    const outside = model([node("Conv", ["x", "w"], ["y"])]);
    expect(attach(loadModel(outside), { resetHead: classes }).manifest.heads[0]?.classes).toBe(classes);
    expect(decodeProto(exported(outside, ["logits"])).graph.initializer[0]?.dims).toEqual([5, 3, 1, 1]);
  });

  test("a number of classes that is none; --classes is checked against the new number", () => {
    const bytes = small([conv], head);
    for (const wrong of [0, -1, 2.5]) errorOf(() => attach(loadModel(bytes), { resetHead: wrong }), "E002");
    errorOf(() => attach(loadModel(bytes), { resetHead: 5, classes: 4 }), "E217");
    expect(attach(loadModel(bytes), { resetHead: 5, classes: 5 }).manifest.options).toMatchObject({ resetHead: 5, seed: 0 });
  });
});
