/** `--checkpoint-activations`: the same gradient from activations that are made again, behind what they wait for. */

import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import type { Model, Node } from "../../src/ir/graph.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { modelDir } from "../models.ts";
import { floats, number, openSession, toRuntime } from "../run-graph.ts";
import { batchOf, readModel } from "./reference.ts";

const again = ({ graph }: Model): readonly Node[] => graph.nodes.filter(({ name }) => name.endsWith("/again"));

async function gradientOf(dir: string, checkpointActivations: boolean) {
  const { graphs, state, manifest } = attach(readModel(dir), { checkpointActivations });
  const [input] = graphs.gradient.graph.inputs;
  const session = await openSession(graphs.gradient);
  const results = await session.run({ ...batchOf(dir, input?.name ?? ""), params: toRuntime(state.get("params") as Tensor) });
  await session.release();
  return { model: graphs.gradient, manifest, loss: number(results["loss"]), gradient: floats(results["params.grad"]) };
}

describe("activations made again", () => {
  test.each(["fpn_mobilenetv3_small", "erfnet_bn"])("%s", async (name) => {
    const dir = modelDir(name);
    const [kept, made] = [await gradientOf(dir, false), await gradientOf(dir, true)];
    expect(again(kept.model)).toEqual([]);
    const copies = again(made.model);
    expect(copies.length).toBeGreaterThan(0);
    expect(made.manifest.options["checkpointActivations"]).toBe(true);
    expect(made.loss).toBe(kept.loss);
    let [difference, size] = [0, 0];
    made.gradient.forEach((value, i) => {
      difference += (value - (kept.gradient[i] as number)) ** 2;
      size += (kept.gradient[i] as number) ** 2;
    });
    // The same numbers through the same operators; the runtime may fuse a copy otherwise: units in the last place.
    expect(Math.sqrt(difference / size)).toBeLessThan(1e-6);
    // A copy that read kept tensors alone would run, or be merged, in the forward pass.
    const producers = new Map(made.model.graph.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
    for (const copy of copies) {
      const inputs = copy.inputs.map((value) => producers.get(value));
      expect(
        inputs.some((node) => node !== undefined && (node.name.startsWith("grad/") || node.name.endsWith("/again"))),
        copy.name,
      ).toBe(true);
    }
  });
});
