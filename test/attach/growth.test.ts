/** Time of `attach` grows with the number of nodes and no faster: an accidental square shows at four times the size. */

import { expect, test } from "vitest";
import { attach } from "../../src/attach/attach.ts";
import { encodeModelChunks } from "../../src/proto/encode.ts";
import { loadModel } from "../../src/proto/load.ts";
import { floats, info, modelBytes, node, type Plain } from "../proto/build.ts";

/** `blocks` residual blocks of four nodes: two convolutions, a ReLU and the sum. */
function residual(blocks: number): Uint8Array {
  const weight = (name: string, dims: number[]): Plain =>
    floats(
      name,
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + name.length)),
    );
  const nodes: Plain[] = [node("Conv", ["image", "first"], ["x0"])];
  const initializer = [weight("first", [4, 3, 1, 1])];
  for (let i = 0; i < blocks; i++) {
    initializer.push(weight(`a${i}`, [4, 4, 1, 1]), weight(`b${i}`, [4, 4, 1, 1]));
    nodes.push(node("Conv", [`x${i}`, `a${i}`], [`c${i}`]), node("Relu", [`c${i}`], [`r${i}`]));
    nodes.push(node("Conv", [`r${i}`, `b${i}`], [`d${i}`]), node("Add", [`x${i}`, `d${i}`], [i === blocks - 1 ? "logits" : `x${i + 1}`]));
  }
  return modelBytes({ node: nodes, initializer, input: [info("image", [1, 3, 8, 8])], output: [info("logits", [1, 4, 8, 8])] });
}

/** Seconds of the processor, which other work on the machine disturbs least. */
function seconds(bytes: Uint8Array): number {
  const before = process.cpuUsage();
  for (const graph of Object.values(attach(loadModel(bytes)).graphs)) encodeModelChunks(graph);
  return process.cpuUsage(before).user / 1e6;
}

test("four times the nodes take at most five and a half times as long", () => {
  const [small, large] = [residual(200), residual(800)];
  for (let i = 0; i < 3; i++) seconds(large); // compiles the code
  const turns = [0, 1, 2].map(() => [seconds(small), seconds(large)] as const);
  const least = (which: 0 | 1) => Math.min(...turns.map((turn) => turn[which]));
  // 4 is linear; the rest is what caches and garbage collection make of a larger heap. A square would be 16.
  expect(least(1) / least(0)).toBeLessThan(5.5);
});
