/**
 * The elements that a loss moves grow with pixels, batch and classes no faster than these: taken from the runtime's own
 * profile, because only the run knows how many pixels are ranked.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { encodeModel } from "../../src/proto/encode.ts";
import { labelTensor, modelFor } from "./harness.ts";
import { makeInput } from "./inputs.ts";

interface Event {
  readonly cat: string;
  readonly name: string;
  readonly args: Readonly<Record<"output_type_shape", readonly Readonly<Record<string, readonly number[]>>[]>>;
}

/** Elements written by all nodes of one run. */
async function written(method: "exact" | "histogram", shape: readonly [number, number, number, number]): Promise<number> {
  const [images, classes, height, width] = shape;
  const folder = mkdtempSync(join(tmpdir(), "ohemgen-profile-"));
  try {
    const model = modelFor({ options: { lovasz: { method } } }, shape, [images, height, width]);
    const options = { enableMemPattern: false, enableProfiling: true, profileFilePrefix: join(folder, "profile"), logSeverityLevel: 3 } as const;
    const session = await ort.InferenceSession.create(encodeModel(model), options);
    const { logits, labels } = makeInput(3, images, classes, height, width, 2);
    await session.run({ logits: new ort.Tensor("float32", Float32Array.from(logits.data), logits.shape), labels: labelTensor("int32", labels) });
    session.endProfiling();
    await session.release();
    const [file] = readdirSync(folder);
    const events = JSON.parse(readFileSync(join(folder, file as string), "utf8")) as Event[];
    const nodes = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
    const sizes = nodes.flatMap(({ args }) => args.output_type_shape.flatMap((output) => Object.values(output).map((dims) => dims.reduce((a, b) => a * b, 1))));
    return sizes.reduce((a, b) => a + b, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.each(["exact", "histogram"] as const)("%s: the elements follow pixels, batch and classes", async (method) => {
  const base = await written(method, [1, 8, 256, 256]);
  for (const factor of [2, 4]) {
    for (const shape of [
      [1, 8 * factor, 256, 256],
      [1, 8, 256 * factor, 256],
      [factor, 8, 256, 256],
    ] as const) {
      // A tenth for ranks: the errors of more pixels lie closer to the smallest one of the foreground.
      expect((await written(method, shape)) / base, shape.join(" × ")).toBeLessThan(1.1 * factor);
    }
  }
});
