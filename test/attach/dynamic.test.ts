/**
 * Every model with a name for its batch size, height and width and no shape known inside, run at the size it was
 * exported at and at another: the gradient is that of the same model attached with those sizes fixed. Both are
 * evaluated in float64, because other lowerings round differently, and in float32 rounding puts activations on the
 * other side of a kink.
 */

import { rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { AttachResult } from "../../src/attach/attach.ts";
import type { Tensor } from "../../src/ir/tensor.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { long } from "../long.ts";
import { sampledModels } from "../models.ts";
import { python, pythonTest } from "../python.ts";
import { type Feeds, floats, number, openSession, toRuntime } from "../run-graph.ts";
import { evaluateFloat64 } from "./evaluate-float64.ts";
import { batchOf } from "./reference.ts";
import { attachFile, type Variants, variantsOf } from "./variants.ts";

/** A batch of another size, made of the pixels of the model's own. */
function batchAt(batch: Feeds, name: string, [count, channels, height, width]: readonly [number, number, number, number]): Feeds {
  const again = <T extends Float32Array | Uint8Array>(from: T, to: T): T => {
    for (let i = 0; i < to.length; i++) to[i] = from[(i * 7) % from.length] as number;
    return to;
  };
  const area = count * height * width;
  return {
    [name]: new ort.Tensor("float32", again(floats(batch[name]), new Float32Array(area * channels)), [count, channels, height, width]),
    labels: new ort.Tensor("uint8", again(batch["labels"]?.data as Uint8Array, new Uint8Array(area)), [count, height, width]),
  };
}

/** What is wrong with the file at that size; undefined where it runs. Exporters write sizes into Reshape. */
async function forwardFault(path: string, name: string, batch: Feeds): Promise<string | undefined> {
  const session = await ort.InferenceSession.create(path, { logSeverityLevel: 4 });
  try {
    const given = batch[name] as ort.Tensor;
    const made = Object.values(await session.run({ [name]: given })).find(({ dims }) => dims[0] !== given.dims[0]);
    return made === undefined ? undefined : `${made.dims} comes out`;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await session.release();
  }
}

function withState(result: AttachResult, batch: Feeds): Feeds {
  return { ...batch, params: toRuntime(result.state.get("params") as Tensor) };
}

function norm(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

/** The largest relative error of a parameter's gradient; of one that is zero but for rounding, relative to all of them. */
function largestError({ manifest }: AttachResult, got: Float64Array, want: Float64Array): number {
  const floor = 1e-9 * norm(want);
  const errors = manifest.parameters.map(({ offset, length }) => {
    const expected = want.subarray(offset, offset + length);
    return norm(got.subarray(offset, offset + length).map((value, i) => value - (expected[i] as number))) / Math.max(norm(expected), floor);
  });
  return Math.max(...errors);
}

describe.each(sampledModels())("$name", ({ dir }) => {
  let variants: Variants;
  beforeAll(() => {
    variants = variantsOf(dir);
  });
  afterAll(() => rmSync(variants.folder, { recursive: true }));

  pythonTest("all sizes dynamic", { timeout: 300_000 }, async () => {
    const path = join(variants.folder, "dynamic.onnx");
    const result = attachFile(path, dir);
    const [image] = result.graphs.gradient.graph.inputs;
    const name = image?.name as string;
    expect(image?.shape).toEqual(["batch", 3, "height", "width"]);
    const file = join(variants.folder, "gradient-of-dynamic.onnx");
    writeFileSync(file, encodeModel(result.graphs.gradient));
    expect(python("check_graphs.py", [file])).toBe("");
    const own = batchOf(dir, name);
    const [count, channels, height, width] = (own[name] as ort.Tensor).dims as unknown as readonly [number, number, number, number];
    // Another picture size; where the file does not take one, another batch size; with OHEMGEN_LONG its own size before.
    const others = [
      [1, channels, 96, 128],
      [count + 1, channels, height, width],
    ] as const;
    const sizes = long ? ([[count, channels, height, width], ...others] as const) : others;
    const session = await openSession(result.graphs.gradient);
    let compared = 0;
    for (const size of sizes) {
      if (compared === (long ? 2 : 1)) break;
      const batch = batchAt(own, name, size);
      const fault = await forwardFault(path, name, batch);
      if (fault !== undefined) {
        console.log(`${basename(dir)} does not run at ${size}: ${fault.slice(0, 160)}`);
        continue;
      }
      const fixed = attachFile(path, dir, { inputShapes: { [name]: size } });
      expect(result.manifest.parameters).toEqual(fixed.manifest.parameters);
      const outputs = ["loss", "kept", "params.grad"];
      const feeds = withState(result, batch);
      const [got, want] = [result, fixed].map(({ graphs }) => evaluateFloat64(encodeModel(graphs.gradient), feeds, outputs));
      expect(got?.get("kept")).toEqual(want?.get("kept"));
      const worst = largestError(result, got?.get("params.grad") as Float64Array, want?.get("params.grad") as Float64Array);
      console.log(`${basename(dir)} at ${size}: gradients differ by ${worst.toExponential(1)} in float64`);
      // Fixed sizes fold numbers into float32 constants that are float64 where they are made at run time.
      expect(worst).toBeLessThan(1e-7);
      const run = await session.run(feeds);
      expect(Math.abs(number(run["loss"]) / (want?.get("loss")?.[0] as number) - 1)).toBeLessThan(1e-5);
      expect(number(run["finite"])).toBe(1);
      compared++;
    }
    await session.release();
    expect(compared).toBe(long ? 2 : 1);
  });
});
