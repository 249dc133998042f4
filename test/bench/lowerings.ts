/**
 * Every lowering of a convolution and its gradients, timed alone on the CPU provider on shapes of real layers: what the rules
 * in ops/lowerings choose, beside the fastest. Writes lowerings.json and the table between the marks in README.md.
 *
 *     npm run bench:lowerings -- [rounds]
 */

import { readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { elementCount } from "../../src/ir/dims.ts";
import type { Value } from "../../src/ir/graph.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { bandForms, cheapestForm, convolveInForm } from "../../src/ops/lowerings/conv-bands.ts";
import { type ConvGeometry, extent } from "../../src/ops/lowerings/conv-geometry.ts";
import { chooseInputGradient, convInputGradient, inputGradientMethods } from "../../src/ops/lowerings/conv-input-gradient.ts";
import { canCompute, chooseWeightGradient, convWeightGradient, weightGradientMethods } from "../../src/ops/lowerings/conv-weight-gradient.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { randomStream } from "../../src/support/random.ts";

interface Layer {
  readonly about: string;
  readonly channels: readonly [number, number];
  readonly map: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride?: number;
  readonly dilation?: number;
  readonly depthwise?: boolean;
}

/** Of U-Net, ResNet, HRNet, MobileNet, ERFNet and DeepLab at 2×3×256×512; every pad keeps the size. */
const layers: readonly Layer[] = [
  { about: "stem", channels: [3, 64], map: [256, 512], kernel: [7, 7], stride: 2 },
  { about: "narrow, full resolution", channels: [16, 16], map: [256, 512], kernel: [3, 3] },
  { about: "decoder", channels: [112, 32], map: [128, 256], kernel: [3, 3] },
  { about: "residual block", channels: [64, 64], map: [64, 128], kernel: [3, 3] },
  { about: "deep residual block", channels: [256, 256], map: [16, 32], kernel: [3, 3] },
  { about: "downsampling", channels: [64, 128], map: [64, 128], kernel: [3, 3], stride: 2 },
  { about: "single pixels", channels: [96, 24], map: [64, 128], kernel: [1, 1] },
  { about: "single pixels, wide", channels: [512, 2048], map: [32, 64], kernel: [1, 1] },
  { about: "depthwise", channels: [72, 72], map: [64, 128], kernel: [5, 5], depthwise: true },
  { about: "depthwise, downsampling", channels: [64, 64], map: [128, 256], kernel: [3, 3], stride: 2, depthwise: true },
  { about: "factorized, dilated", channels: [128, 128], map: [32, 64], kernel: [3, 1], dilation: 8 },
  { about: "dilated residual block", channels: [512, 512], map: [32, 64], kernel: [3, 3], dilation: 4 },
  { about: "pyramid, rate 12", channels: [2048, 256], map: [32, 64], kernel: [3, 3], dilation: 12 },
  { about: "pyramid, rate 24", channels: [2048, 256], map: [32, 64], kernel: [3, 3], dilation: 24 },
  { about: "pyramid, rate 36", channels: [2048, 256], map: [32, 64], kernel: [3, 3], dilation: 36 },
];

interface Candidate {
  readonly method: string;
  readonly chosen: boolean;
  readonly build: (op: OpBuilder, given: readonly Value[]) => Value;
}

interface Task {
  readonly about: string;
  readonly shapes: readonly (readonly number[])[];
  readonly candidates: readonly Candidate[];
}

const value = (name: string, shape: readonly number[]): Value => ({ name, dtype: "float32", shape });

function tasksOf({ about, channels: [c, m], map, kernel, stride = 1, dilation = 1, depthwise = false }: Layer): readonly Task[] {
  const axes = kernel.map((size) => ({ size, stride, dilation, padBegin: (dilation * (size - 1)) / 2, padEnd: (dilation * (size - 1)) / 2 }));
  const geometry: ConvGeometry = { axes, group: depthwise ? c : 1 };
  const result = axes.map((axis, i) => Math.floor(((map[i] as number) + axis.padBegin + axis.padEnd - extent(axis)) / stride) + 1);
  const shapes = { x: [2, c, ...map], w: [m, depthwise ? 1 : c, ...kernel], dy: [2, m, ...result] };
  const operands = { x: value("x", shapes.x), w: value("w", shapes.w), dy: value("dy", shapes.dy) };
  const cheapest = JSON.stringify(cheapestForm(geometry, operands));
  const forward = bandForms(geometry, map)
    .filter(() => geometry.group === 1 && dilation > 1)
    .map(
      (form, i): Candidate => ({
        method: i === 0 ? "one node" : `bands ${form.map((bands) => bands.length).join("×")}`,
        chosen: cheapest === undefined ? i === 0 : cheapest === JSON.stringify(form),
        build: (op, [x, w]) => convolveInForm(op, geometry, form, { x: x as Value, w: w as Value }),
      }),
    );
  const usual = chooseInputGradient(geometry);
  const input = inputGradientMethods
    .filter((method) => method !== "convolution" || usual === "convolution")
    .map(
      (method): Candidate => ({
        method,
        chosen: method === usual,
        build: (op, [x, w, dy]) => convInputGradient(op, geometry, { x: x as Value, w: w as Value, dy: dy as Value }, method),
      }),
    );
  const best = chooseWeightGradient(geometry, operands);
  const weight = weightGradientMethods
    .filter((method) => canCompute(method, geometry, operands))
    .map(
      (method): Candidate => ({
        method,
        chosen: method === best,
        build: (op, [x, w, dy]) => convWeightGradient(op, geometry, { x: x as Value, w: w as Value, dy: dy as Value }, method),
      }),
    );
  const size = `${about}: ${c}→${m}, ${map.join("×")}, ${kernel.join("×")}${stride > 1 ? `, stride ${stride}` : ""}${dilation > 1 ? `, rate ${dilation}` : ""}`;
  const all = [shapes.x, shapes.w, shapes.dy];
  return [
    { about: `${size} | forward`, shapes: all, candidates: forward },
    { about: `${size} | dX`, shapes: all, candidates: input },
    { about: `${size} | dW`, shapes: all, candidates: weight },
  ].filter(({ candidates }) => candidates.length > 1);
}

async function open({ build }: Candidate, shapes: readonly (readonly number[])[]) {
  const op = new OpBuilder("cpu");
  const given = ["x", "w", "dy"].map((name, i) => op.input(name, "float32", shapes[i] as readonly number[]));
  const model = finishModel(op, "lowering", given, [{ name: "result", value: build(op, given) }]);
  return ort.InferenceSession.create(encodeModel(model), { enableMemPattern: false, intraOpNumThreads: 2, logSeverityLevel: 3 });
}

/** Least milliseconds of each candidate, which run by turns. */
async function measure({ shapes, candidates }: Task, rounds: number): Promise<readonly number[]> {
  const random = randomStream(3);
  const feeds = Object.fromEntries(
    ["x", "w", "dy"].map((name, i) => {
      const dims = shapes[i] as readonly number[];
      return [
        name,
        new ort.Tensor(
          "float32",
          Float32Array.from({ length: elementCount(dims) }, () => random.between(-1, 1)),
          [...dims],
        ),
      ];
    }),
  );
  const sessions = await Promise.all(candidates.map((candidate) => open(candidate, shapes)));
  const least = candidates.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, session] of sessions.entries()) {
      const start = performance.now();
      await session.run(Object.fromEntries(session.inputNames.map((name) => [name, feeds[name] as ort.Tensor])));
      // The first run makes what later ones use again.
      if (round > 0) least[i] = Math.min(least[i] as number, performance.now() - start);
    }
  }
  for (const session of sessions) await session.release();
  return least;
}

const rounds = Number(process.argv[2] ?? 7);
const rows: { about: string; times: Record<string, number>; chosen: string; ratio: number }[] = [];
for (const task of layers.flatMap(tasksOf)) {
  const least = await measure(task, rounds);
  const at = task.candidates.findIndex(({ chosen }) => chosen);
  const ratio = (least[at] as number) / Math.min(...least);
  const times = Object.fromEntries(task.candidates.map(({ method }, i) => [method, least[i] as number]));
  rows.push({ about: task.about, times, chosen: task.candidates[at]?.method ?? "", ratio });
  console.log(
    `${task.about.padEnd(70)} ${ratio.toFixed(2)}  ${Object.entries(times)
      .map(([method, ms]) => `${method} ${ms.toFixed(1)}`)
      .join(", ")}`,
  );
}

const place = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const machine = { cores: os.cpus().length, threads: 2, runtime: ort.env.versions.node };
writeFileSync(place("lowerings.json"), `${JSON.stringify({ machine, rounds, rows }, null, 1)}\n`);
const lines = rows.map(({ about, times, chosen, ratio }) => {
  const all = Object.entries(times).map(([method, ms]) => (method === chosen ? `**${method} ${ms.toFixed(1)}**` : `${method} ${ms.toFixed(1)}`));
  return `| ${about} | ${all.join(", ")} | ${ratio.toFixed(2)} |`;
});
const table = ["| layer | | ms | chosen ÷ fastest |", "| --- | --- | --- | --- |", ...lines].join("\n");
const page = readFileSync(place("README.md"), "utf8");
writeFileSync(
  place("README.md"),
  page.replace(/(<!-- lowerings -->\n)[\s\S]*?(<!-- \/lowerings -->)/, (_, begin: string, end: string) => `${begin}${table}\n${end}`),
);
