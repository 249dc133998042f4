/** `--for`: each provider's lowerings are its own, and compute the same numbers. */

import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Node } from "../../src/ir/graph.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { type Provider, providers } from "../../src/ops/provider.ts";
import { modelDir } from "../models.ts";
import { type Feeds, floats, number, openSession, type Results, toRuntime } from "../run-graph.ts";
import { batchOf, readModel, readReference } from "./reference.ts";

const dir = modelDir("erfnet_bn");

interface Ran {
  readonly nodes: readonly Node[];
  readonly labelType: string;
  readonly provider: unknown;
  readonly gradient: Results;
  readonly evaluation: Results;
}

async function ran(provider: Provider): Promise<Ran> {
  const { graphs, manifest, state } = attach(readModel(dir), provider === "any" ? {} : { provider });
  const [input] = graphs.gradient.graph.inputs;
  const feeds: Feeds = { ...batchOf(dir, input?.name ?? ""), params: toRuntime(state.get("params") as Tensor) };
  const labelType = String(manifest.options["labelType"]);
  if (labelType === "int32") feeds["labels"] = new ort.Tensor("int32", Int32Array.from(feeds["labels"]?.data as Uint8Array), feeds["labels"]?.dims ?? []);
  const nodes = [...graphs.gradient.graph.nodes, ...graphs.eval_step.graph.nodes];
  const gradient = await (await openSession(graphs.gradient)).run(feeds);
  const evaluation = await (await openSession(graphs.eval_step)).run(feeds);
  return { nodes, labelType, provider: manifest.options["provider"], gradient: gradient as Results, evaluation: evaluation as Results };
}

const has = ({ nodes }: Ran) => ({
  indices: nodes.some((node) => node.op === "MaxPool" && node.outputs[1] !== undefined),
  argMax: nodes.some((node) => node.op === "ArgMax"),
});

/**
 * The same sums in another order, through sixty layers: no two providers may differ by more than the float32 gradient of
 * PyTorch does from the float64 one, 8e-6 of its norm on this network.
 */
function float32Error(): number {
  const parameters = Object.values(readReference(dir).parameters);
  const squares = (of: (parameter: (typeof parameters)[number]) => number) => parameters.reduce((sum, each) => sum + of(each) ** 2, 0);
  return Math.sqrt(squares(({ l2, float32_rel }) => l2 * float32_rel) / squares(({ l2 }) => l2));
}

test("lowerings of a provider, and the same numbers from all of them", async () => {
  const results = new Map<Provider, Ran>();
  for (const provider of providers) results.set(provider, await ran(provider));
  const any = results.get("any") as Ran;
  expect(has(any)).toEqual({ indices: false, argMax: false });
  expect(has(results.get("cpu") as Ran)).toEqual({ indices: true, argMax: true });
  expect(has(results.get("cuda") as Ran)).toEqual({ indices: false, argMax: true });
  expect(has(results.get("webgpu") as Ran)).toEqual({ indices: false, argMax: false });
  for (const [provider, result] of results) {
    expect(result.provider).toBe(provider);
    expect(result.labelType).toBe(provider === "webgpu" ? "int32" : "uint8");
    expect(result.evaluation["prediction"]?.data, provider).toEqual(any.evaluation["prediction"]?.data);
    expect(result.evaluation["confusion"]?.data, provider).toEqual(any.evaluation["confusion"]?.data);
    expect(number(result.gradient["loss"])).toBe(number(any.gradient["loss"]));
    const [want, got] = [floats(any.gradient["params.grad"]), floats(result.gradient["params.grad"])];
    let [difference, size] = [0, 0];
    got.forEach((value, i) => {
      difference += (value - (want[i] as number)) ** 2;
      size += (want[i] as number) ** 2;
    });
    expect(Math.sqrt(difference / size), provider).toBeLessThan(float32Error());
  }
});
