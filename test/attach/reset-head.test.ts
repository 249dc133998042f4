/** `--reset-head` on whole models: which tensors are made anew, and that the exported file computes what is trained. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { logitsCandidates } from "../../src/attach/logits.ts";
import { type Tensor, tensorNumbers, tensorOf } from "../../src/ir/tensor.ts";
import { decodeProto, joinChunks } from "../../src/proto/codec.ts";
import { loadModel } from "../../src/proto/load.ts";
import { patchTensors } from "../../src/proto/patch.ts";
import { availableModels } from "../models.ts";
import { readNpy } from "../npy.ts";
import { python, pythonTest } from "../python.ts";
import { openSession, toRuntime } from "../run-graph.ts";
import { classes, constants, exported, seed } from "./reset-head.ts";

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
