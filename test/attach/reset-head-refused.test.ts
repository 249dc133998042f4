/** What `--reset-head` refuses, with the name of the node that is in the way. */

import { describe, expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { decodeProto } from "../../src/proto/codec.ts";
import { loadModel } from "../../src/proto/load.ts";
import { errorOf, floats, info, modelBytes, node, type Plain } from "../proto/build.ts";
import { classes, conv, exported, head, int, learned, list, sizes, small } from "./reset-head.ts";

describe("refused, with the name of the node", () => {
  const vector = (name: string) => learned(name, [4]);
  const cases: readonly (readonly [what: string, bytes: () => Uint8Array, message: RegExp])[] = [
    [
      "classes joined from two layers",
      () => {
        const nodes = [
          node("Conv", ["image", "w"], ["a"]),
          node("Conv", ["image", "w"], ["b"]),
          node("Concat", ["a", "b"], ["logits"], [int("axis", 1)], "join"),
        ];
        return small(nodes, [learned("w", [2, 3, 1, 1])]);
      },
      /Concat join is in the way/,
    ],
    [
      "a normalization behind the last layer",
      () => {
        const nodes = [node("Conv", ["image", "w"], ["a"]), node("BatchNormalization", ["a", "s", "o", "m", "v"], ["logits"], [], "norm")];
        return small(nodes, [learned("w", [4, 3, 1, 1]), vector("s"), vector("o"), vector("m"), floats("v", [4], [1, 1, 1, 1])]);
      },
      /BatchNormalization norm is in the way/,
    ],
    [
      "a scale per class",
      () =>
        small([node("Conv", ["image", "w"], ["a"]), node("Mul", ["a", "s"], ["logits"], [], "scale")], [learned("w", [4, 3, 1, 1]), learned("s", [4, 1, 1])]),
      /Mul scale is in the way/,
    ],
    [
      "a depthwise upsampling",
      () => {
        const up = node("ConvTranspose", ["a", "u"], ["logits"], [int("group", 4), list("strides", [2, 2])], "upsample");
        return small([node("Conv", ["image", "w"], ["a"]), up], [learned("w", [4, 3, 1, 1]), learned("u", [4, 1, 2, 2])], info("logits", [2, 4, 16, 16]));
      },
      /ConvTranspose upsample is in the way/,
    ],
    [
      "a pixel shuffle",
      () => {
        const nodes = [node("Conv", ["image", "w"], ["a"]), node("DepthToSpace", ["a"], ["logits"], [int("blocksize", 2)], "shuffle")];
        return small(nodes, [learned("w", [16, 3, 1, 1])], info("logits", [2, 4, 16, 16]));
      },
      /DepthToSpace shuffle is in the way/,
    ],
    [
      "a prior per class behind the logits",
      () => small([conv, node("Mul", ["logits", "prior"], ["p"], [], "weigh")], [...head, learned("prior", [4, 1, 1])], info("p", [2, 4, 8, 8])),
      /weigh/,
    ],
    [
      "a size written down behind the logits",
      () =>
        modelBytes({
          node: [conv, node("Reshape", ["logits", "flat"], ["p"], [], "flatten")],
          initializer: [...head, sizes("flat", [0, 4, -1])],
          input: [info("image", ["N", 3, "H", "W"])],
          output: [info("p")],
        }),
      /flatten/,
    ],
    [
      "the picture added to the logits",
      () => small([node("Conv", ["image", "w"], ["a"]), node("Add", ["a", "image"], ["logits"])], [learned("w", [3, 3, 1, 1])], info("logits", [2, 3, 8, 8])),
      /the class axis comes from image/,
    ],
  ];

  test.each(cases)("%s", (_, bytes, message) => {
    const error = errorOf(() => attach(loadModel(bytes()), { logits: "logits", resetHead: classes }), "E230");
    expect(error.message).toMatch(message);
    expect(error.where).not.toBe("");
  });

  test("a last layer inside a function of the model", () => {
    const body = { name: "Head", domain: "local", input: ["x", "w"], output: ["y"], opsetImport: [{ domain: "", version: 18 }], attribute: [] };
    const constant = node("Constant", [], ["b"], [{ name: "value_floats", floats: [1, 2, 3, 4], type: 6 }]);
    const model = (inner: Plain[]): Uint8Array =>
      modelBytes(
        {
          node: [{ ...node("Head", ["image", "w"], ["logits"]), domain: "local" }],
          initializer: [head[0] as Plain],
          input: [info("image", [2, 3, 8, 8])],
          output: [info("logits", [2, 4, 8, 8])],
        },
        {
          opsetImport: [
            { domain: "", version: 18 },
            { domain: "local", version: 1 },
          ],
          functions: [{ ...body, node: inner }],
        },
      );
    const inside = model([constant, node("Conv", ["x", "w", "b"], ["y"])]);
    expect(errorOf(() => attach(loadModel(inside), { resetHead: classes }), "E230").message).toMatch(/in a function/);
    const outside = model([node("Conv", ["x", "w"], ["y"])]);
    expect(attach(loadModel(outside), { resetHead: classes }).manifest.heads[0]?.classes).toBe(classes);
    expect(decodeProto(exported(outside, ["logits"])).graph.initializer[0]?.dims).toEqual([5, 3, 1, 1]);
  });

  test("a number of classes that is none; --classes is checked against the new number", () => {
    const bytes = small([conv], head);
    for (const wrong of [0, -1, 2.5]) errorOf(() => attach(loadModel(bytes), { resetHead: wrong }), "E002");
    errorOf(() => attach(loadModel(bytes), { resetHead: 5, classes: 4 }), "E217");
    expect(attach(loadModel(bytes), { resetHead: 5, classes: 5 }).manifest.options).toMatchObject({ resetHead: 5, seed: 0 });
  });
});
