// The shortest training loop: node examples/training-loop.mjs model.train
// Random pictures stand in for yours; labels are class indices per pixel, 255 is ignored.

import { readFile, writeFile } from "node:fs/promises";
import { decodeSafetensors, encodeSafetensors, tensorNumbers, tensorOf } from "ohemgen";
import * as ort from "onnxruntime-node";

const [folder = "model.train", steps = "5"] = process.argv.slice(2);
const manifest = JSON.parse(await readFile(`${folder}/manifest.json`, "utf8"));
const session = await ort.InferenceSession.create(`${folder}/train_step.onnx`, manifest.session);

const { tensors } = decodeSafetensors(await readFile(`${folder}/state.safetensors`));
const runtimeTensor = ({ dtype, dims, bytes }) => {
  const copy = Uint8Array.from(bytes).buffer;
  return new ort.Tensor(dtype, dtype === "int64" ? new BigInt64Array(copy) : new Float32Array(copy), [...dims]);
};
let state = Object.fromEntries([...tensors].map(([name, tensor]) => [name, runtimeTensor(tensor)]));

const { inputs } = manifest.graphs.train_step;
const sizes = (name, sizeOfDynamic) => inputs.find((input) => input.name === name).shape.map((size) => (typeof size === "number" ? size : sizeOfDynamic));
const image = inputs.find((input) => input.role === "image").name;
const imageShape = sizes(image, 64).map((size, axis) => (axis === 0 && size === 64 ? 2 : size));
const labelShape = [imageShape[0], imageShape[2], imageShape[3]];
const classes = Math.max(2, manifest.heads[0].classes);
const count = (shape) => shape.reduce((a, b) => a * b, 1);

const feeds = {
  [image]: new ort.Tensor(
    "float32",
    Float32Array.from({ length: count(imageShape) }, (_, i) => Math.sin(i * 12.9898)),
    imageShape,
  ),
  labels: new ort.Tensor(
    "uint8",
    Uint8Array.from({ length: count(labelShape) }, (_, i) => Math.floor(i / 97) % classes),
    labelShape,
  ),
  learning_rate: new ort.Tensor("float32", new Float32Array([1e-3]), []),
};

for (let step = 1; step <= Number(steps); step++) {
  const out = await session.run({ ...feeds, ...state });
  state = Object.fromEntries(Object.keys(state).map((name) => [name, out[`${name}.next`]]));
  console.log(`step ${step}  loss ${out.loss.data[0].toFixed(4)}  kept ${out.kept.data[0]} of ${out.valid.data[0]} pixels`);
}

const toTensor = ({ type, dims, data }) => tensorOf(type, dims, Array.from(data, Number));
const saved = new Map(Object.entries(state).map(([name, tensor]) => [name, toTensor(tensor)]));
await writeFile(`${folder}/trained.safetensors`, encodeSafetensors(saved));
console.log(`largest weight ${Math.max(...Array.from(tensorNumbers(saved.get("params"))).map(Math.abs)).toFixed(3)}; export it with`);
console.log(`  ohemgen export ${folder} --checkpoint ${folder}/trained.safetensors -o trained.onnx`);
