/**
 * A training loop of one's own in JavaScript, with onnxruntime-node and nothing of ohemgen:
 *
 *     npx ohemgen attach examples/demo/model.onnx -o model.train
 *     node examples/loop.mjs model.train examples/demo/images examples/demo/masks trained.safetensors
 *     npx ohemgen export model.train --checkpoint trained.safetensors -o trained.onnx
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { decode } from "fast-png";
import * as ort from "onnxruntime-node";

const [dir, imageFolder, maskFolder, output, steps = "20"] = process.argv.slice(2);
const { preprocessing } = JSON.parse(readFileSync(`${dir}/manifest.json`, "utf8"));
const names = readdirSync(imageFolder);
const batchSize = 8;

const step = await ort.InferenceSession.create(`${dir}/train_step.onnx`, { enableMemPattern: false });
let state = loadState(`${dir}/state.safetensors`);
for (let i = 0; i < Number(steps); i++) {
  const { images, labels } = loadBatch(i);
  const out = await step.run({ image: images, labels, learning_rate: new ort.Tensor("float32", [0.01], []), ...state });
  state = Object.fromEntries(Object.keys(state).map((name) => [name, out[`${name}.next`]]));
  console.log(`step ${i + 1}  loss ${out.loss.data[0].toFixed(4)}  hard pixels ${out.kept.data[0]} of ${out.valid.data[0]}`);
}
saveState(output, state);

/** Images float32 [N,3,H,W] on the scale the network knows, labels uint8 [N,H,W]. */
function loadBatch(index) {
  const samples = Array.from({ length: batchSize }, (_, i) => names[(index * batchSize + i) % names.length]).map((name) => ({
    image: decode(readFileSync(`${imageFolder}/${name}`)),
    mask: decode(readFileSync(`${maskFolder}/${name}`)),
  }));
  const { width, height } = samples[0].image;
  const pixels = new Float32Array(batchSize * 3 * height * width);
  const labels = new Uint8Array(batchSize * height * width);
  samples.forEach(({ image, mask }, n) => {
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) {
        pixels[(n * 3 + c) * height * width + i] = (image.data[i * 3 + c] / 255 - preprocessing.mean[c]) / preprocessing.std[c];
      }
    }
    labels.set(mask.data, n * height * width);
  });
  return {
    images: new ort.Tensor("float32", pixels, [batchSize, 3, height, width]),
    labels: new ort.Tensor("uint8", labels, [batchSize, height, width]),
  };
}

/** safetensors: the length of a JSON header, the header, the numbers. */
function loadState(path) {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const tensors = Object.entries(JSON.parse(bytes.subarray(8, start).toString()));
  return Object.fromEntries(
    tensors.map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const { buffer } = Uint8Array.from(bytes.subarray(start + from, start + to));
        const tensor = dtype === "I64" ? new ort.Tensor("int64", new BigInt64Array(buffer), shape) : new ort.Tensor("float32", new Float32Array(buffer), shape);
        return [name, tensor];
      },
    ),
  );
}

function saveState(path, tensors) {
  let end = 0;
  const header = Object.entries(tensors).map(([name, { type, dims, data }]) => {
    const from = end;
    end += data.byteLength;
    return [name, { dtype: type === "int64" ? "I64" : "F32", shape: dims, data_offsets: [from, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const numbers = Object.values(tensors).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  writeFileSync(path, Buffer.concat([length, json, ...numbers]));
}
