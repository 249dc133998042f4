/**
 * Every lowering of a convolution and its gradients, timed alone on the CPU provider on shapes of real layers: what the rules
 * in ops/lowerings choose, beside the fastest; and the smaller choices for the CPU (lowering-tasks.ts). Writes lowerings.json and the table between the marks in README.md.
 *
 *     npm run bench:lowerings -- [rounds]
 */

import { readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { elementCount } from "../../src/ir/dims.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { finishModel } from "../../src/ops/finish.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { randomStream } from "../../src/support/random.ts";
import { type Candidate, type Task, tasks } from "./lowering-tasks.ts";

async function open({ build }: Candidate, shapes: readonly (readonly number[])[]) {
  const op = new OpBuilder("cpu");
  const given = ["x", "w", "dy"].map((name, i) => op.input(name, "float32", shapes[i] as readonly number[]));
  const model = finishModel(op, "lowering", given, [{ name: "result", value: build(op, given) }]);
  // Threads of a session that wait by turning in circles would slow down the next one.
  const extra = { session: { intra_op: { allow_spinning: "0" } } };
  return ort.InferenceSession.create(encodeModel(model), { enableMemPattern: false, intraOpNumThreads: 2, logSeverityLevel: 3, extra });
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
for (const task of tasks) {
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
