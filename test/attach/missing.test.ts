/** Every operator without a gradient is named at once, so that a model is not repaired one error at a time. */

import { expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { inspect } from "../../src/attach/inspect.ts";
import { loadModel } from "../../src/proto/load.ts";
import { errorOf, floats, info, modelBytes, node } from "../proto/build.ts";

test("five missing operators are five lines of one error", () => {
  const names = ["Warp", "Fold", "Bend", "Twist", "Crease"];
  const bytes = modelBytes(
    {
      node: [
        node("Conv", ["image", "w"], ["x0"], [], "stem"),
        ...names.map((op, i) => ({ ...node(op, [`x${i}`], [`x${i + 1}`], [], `/neck/${op}`), domain: "own" })),
        node("Conv", ["x5", "v"], ["logits"], [], "head"),
      ],
      initializer: [floats("w", [1, 3, 1, 1], [1, 2, 3]), floats("v", [2, 1, 1, 1], [1, 2])],
      valueInfo: names.map((_, i) => info(`x${i + 1}`, [1, 1, 4, 4])),
      input: [info("image", [1, 3, 4, 4])],
      output: [info("logits", [1, 2, 4, 4])],
    },
    {
      opsetImport: [
        { domain: "", version: 18 },
        { domain: "own", version: 1 },
      ],
    },
  );
  const model = loadModel(bytes);
  const error = errorOf(() => attach(model), "E201");
  expect(error.message).toMatch(/5 nodes/);
  for (const op of names) expect(error.message).toMatch(new RegExp(`own::${op} +/neck/${op} +float32\\[1,1,4,4\\]`));
  expect(inspect(model).missing.map(({ op }) => op)).toEqual(names.map((op) => `own::${op}`));
  // What lies below them is frozen as the hint says; then nothing is missing.
  expect(attach(model, { freeze: ["w"] }).manifest.parameters.map(({ name }) => name)).toEqual(["v"]);
});
