/** A training graph read from its file has the sizes of its convolutions again, also behind values that wait: tuning chooses by them. */

import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { withTypes } from "../../src/attach/tune.ts";
import { isStatic } from "../../src/ir/dims.ts";
import type { Model } from "../../src/ir/graph.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { modelDir } from "../models.ts";
import { batchOf, readModel } from "./reference.ts";

const shapesOf = ({ graph }: Model) => graph.nodes.filter(({ op }) => op === "Conv").map(({ inputs }) => inputs.map((value) => value?.shape));

describe.each(["unet_convtranspose", "fpn_mobilenetv3_small"])("%s", (name) => {
  test.each(["any", "cpu"] as const)("for %s", (provider) => {
    const model = readModel(modelDir(name));
    const [input] = model.graph.inputs;
    const image = input?.name ?? "";
    const { train_step: written } = attach(model, { provider, inputShapes: { [image]: batchOf(modelDir(name), image)[image]?.dims ?? [] } }).graphs;
    const read = withTypes(loadModel(encodeModel(written)));
    expect(shapesOf(read)).toEqual(shapesOf(written));
    expect(shapesOf(read).flat().every(isStatic)).toBe(true);
    const waiting = written.graph.nodes.filter(({ op, inputs }) => op === "Reshape" && inputs[0]?.shape?.length === 4 && inputs[1]?.constant === undefined);
    expect(waiting.length > 0).toBe(provider === "cpu");
  });
});
