/** Three Flower clients with one step a round train as one process does with all their pictures: an average of steps is a step of the average. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { decodeSafetensors } from "../../src/proto/safetensors.ts";
import { demo, demoModel, root, type Workplace, workplace } from "../cli/command.ts";
import { havePython, pythonPath } from "../python.ts";

// An environment of its own: test/requirements-flower.txt.
const python = process.env["OHEMGEN_FLOWER_PYTHON"] ?? join(root, ".venv-flower/bin/python");
const mpiexec = havePython() ? join(dirname(pythonPath()), "mpiexec") : "";
const installed = existsSync(python) && existsSync(mpiexec);
if (!installed && process.env["OHEMGEN_REQUIRE_ALL"]) throw new Error("OHEMGEN_REQUIRE_ALL is set, but no Flower or no mpiexec: test/requirements-flower.txt");

const clients = 3;
const size = 2;
const rounds = 2;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function paramsOf(path: string): Float32Array {
  const bytes = decodeSafetensors(readFileSync(path)).tensors.get("params")?.bytes;
  return new Float32Array(Uint8Array.from(bytes ?? []).buffer);
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? Number.NaN)) ** 2, 0));
}

/** Folders `images` and `masks` with all the pictures, and `images0`, `masks0`… with each client's part of every step. */
function divide(place: Workplace): void {
  const names = readdirSync(join(demo, "images")).sort();
  for (const kind of ["images", "masks"]) {
    for (const part of ["", 0, 1, 2]) mkdirSync(place.path(`${kind}${part}`));
    for (const [i, name] of names.slice(0, rounds * clients * size).entries()) {
      const client = Math.floor(i / size) % clients;
      for (const part of ["", client]) cpSync(join(demo, kind, name), place.path(`${kind}${part}/${name}`));
    }
  }
}

/** What a program prints, once it has ended well. */
function ended(child: ChildProcess): Promise<string> {
  let [printed, said] = ["", ""];
  child.stdout?.on("data", (data) => {
    printed += data;
  });
  child.stderr?.on("data", (data) => {
    said += data;
  });
  return new Promise((resolve, reject) => child.on("close", (code) => (code === 0 ? resolve(printed) : reject(new Error(`exit ${code}: ${said}`)))));
}

test.skipIf(!installed)("three clients on the loopback address", async () => {
  const place = workplace();
  const started: ChildProcess[] = [];
  const start = (file: string, ...args: string[]) => {
    const child = spawn(python, [join(root, "examples", file), "model.train", ...args], { cwd: place.dir });
    started.push(child);
    return ended(child);
  };
  try {
    expect(place.run("attach", demoModel, "-o", "model.train", "--mining", "off", "--normalizer", "all", "--lovasz", "0").code).toBe(0);
    divide(place);
    const address = `127.0.0.1:${await freePort()}`;
    const server = start("flower_server.py", "federated.safetensors", address, `${clients}`, `${rounds}`);
    const others = [0, 1, 2].map((i) => start("flower_client.py", `images${i}`, `masks${i}`, address, "1", `${size}`));
    const [printed] = await Promise.all([server, ...others]);
    const single = [join(root, "examples/mpi_loop.py"), "model.train", "images", "masks", "single.safetensors", `${rounds}`, `${clients * size}`, "images"];
    const alone = execFileSync(mpiexec, ["-n", "1", pythonPath(), ...single], { cwd: place.dir, encoding: "utf8" });
    const losses = (text: string) => [...text.matchAll(/loss ([\d.]+)/g)].map((match) => Number(match[1]));
    expect(losses(printed)).toHaveLength(rounds);
    for (const [i, loss] of losses(alone).entries()) expect(losses(printed)[i]).toBeCloseTo(loss, 4);
    const [federated, one] = [paramsOf(place.path("federated.safetensors")), paramsOf(place.path("single.safetensors"))];
    const moved = distance(one, paramsOf(place.path("model.train/state.safetensors")));
    expect(moved).toBeGreaterThan(0);
    console.log(`federated and single training lie ${(distance(federated, one) / moved).toExponential(1)} of the way apart`);
    // Averaging rounds every parameter: 3e-5 of so short a way was measured.
    expect(distance(federated, one)).toBeLessThan(1e-4 * moved);
  } finally {
    for (const child of started) child.kill();
    place.remove();
  }
});
