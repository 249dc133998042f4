/** OpenVINO, the ONNX reference evaluator and ONNX Runtime in WebAssembly run the graphs as ONNX Runtime does. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { differentiate } from "../../src/autodiff/engine.ts";
import type { Value } from "../../src/ir/graph.ts";
import { OpBuilder } from "../../src/ops/builder.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { guides } from "../guide-files.ts";
import { float, gradientCase, gradientModels, graphCases, type RuntimeCase } from "./cases.ts";
import { tableRows } from "./page.ts";
import { difference, haveRuntime, onnxRuntime, runOn, runtimes } from "./runtimes.ts";

// Ranks of nearly equal errors change places with rounding: 2e-5 was measured. Without ranks it is 3e-7.
const tolerance = 1e-4;

/** A gradient whose broadcasting is only known at run time. */
function broadcastCase(): RuntimeCase {
  const op = new OpBuilder();
  const [x, w, seed] = ["x", "w", "seed"].map((name) => op.input(name, "float32", [`${name}0`, `${name}1`])) as [Value, Value, Value];
  const product = op.mul(x, w);
  const found = differentiate(op, op.draft.nodes.slice(), new Map([[product, seed]]), [x, w]);
  const outputs = [x, w].map((value) => ({ name: `${value.name}.grad`, value: found.get(value) as Value }));
  const graph = { name: "broadcast", inputs: [x, w, seed], initializers: [], outputs, nodes: op.draft.nodes };
  const model = encodeModel({ irVersion: 8, opsets: new Map([["", 18]]), producer: { name: "test", version: "" }, functions: [], graph });
  const feeds = { x: float([1, 2], [2, 1]), w: float([3, 4, 5], [1, 3]), seed: float([1, 2, 3, 4, 5, 6], [2, 3]) };
  return { name: "broadcast at run time", model, feeds };
}

const chosen = [
  ...graphCases().filter(({ name }) => ["ohem-lovasz", "ohem-lovasz-upsampled", "adamw"].includes(name)),
  broadcastCase(),
  await gradientCase("unet_convtranspose"),
];

describe.each(runtimes)("%s", (runtime) => {
  test.skipIf(!haveRuntime(runtime)).each(chosen)("$name", async ({ model, feeds }) => {
    const want = await onnxRuntime(model, feeds);
    expect(difference(await runOn(runtime, model, feeds, [...want.outputs.keys()]), want)).toBeLessThan(tolerance);
  });
});

test("the page has a row for every graph, each within the tolerance", () => {
  const rows = tableRows(readFileSync(join(guides, "runtimes.md"), "utf8"));
  const names = rows.map(([name]) => name);
  expect(names).toEqual(expect.arrayContaining(graphCases().map(({ name }) => name)));
  expect(names.flatMap((name) => /^gradient of (\w+),/.exec(name ?? "")?.[1] ?? [])).toEqual(gradientModels);
  for (const [name, ...cells] of rows) for (const cell of cells) expect(Number(cell), name).toBeLessThan(tolerance);
});
