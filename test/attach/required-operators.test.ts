/** The list of operators: read by ONNX Runtime's own parser, it holds every operator of the graphs and no other. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { encodeModel } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { modelDir } from "../models.ts";
import { python, pythonTest } from "../python.ts";

const model = () => loadModel(readFileSync(`${modelDir("unet_binary_sigmoid")}/model.onnx`));

pythonTest.each(["stock", "ort-training", "all"] as const)("target %s", (target) => {
  const { requiredOperators, graphs, ortTraining } = attach(model(), { target, requiredOperators: true, optimizer: { kind: "adamw" } });
  const place = mkdtempSync(join(tmpdir(), "ohemgen-operators-"));
  try {
    const written = { ...(target === "ort-training" ? {} : graphs), ...ortTraining?.graphs };
    const files = Object.entries(written).map(([name, graph]) => {
      writeFileSync(join(place, name), encodeModel(graph));
      return join(place, name);
    });
    expect(files.length).toBe({ stock: 4, "ort-training": 3, all: 7 }[target]);
    const config = join(place, "required_operators.config");
    writeFileSync(config, requiredOperators ?? "");
    const { parsed, used } = JSON.parse(python("required_operators.py", [config, ...files]));
    expect(parsed).toEqual(used);
    expect(parsed["com.microsoft"] === undefined).toBe(target === "stock");
  } finally {
    rmSync(place, { recursive: true });
  }
});

test("not asked for, there is none", () => {
  expect(attach(model()).requiredOperators).toBe(null);
});
