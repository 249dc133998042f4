/** Three Flower clients with one step a round train as one process does with all their pictures: an average of steps is a step of the average. */

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
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

async function listening(port: number): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const socket = connect(port, "127.0.0.1");
    const answered = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (answered) return;
    await setTimeout(100);
  }
  throw new Error(`nothing listens at port ${port}`);
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

test.skipIf(!installed)("three clients on the loopback address", async () => {
  const place = workplace();
  const started: ChildProcess[] = [];
  // Flower's own folder, and no word to anyone.
  const env: NodeJS.ProcessEnv & { readonly FLWR_HOME: string } = { ...process.env, FLWR_HOME: place.path("flower"), FLWR_TELEMETRY_ENABLED: "0" };
  const bin = dirname(python);
  /** A program with the processes it starts as a group of their own; what it says goes to a file. */
  const start = (name: string, ...args: string[]) => {
    const log = openSync(place.path(`${name}.log`), "w");
    started.push(
      spawn(join(bin, args[0] ?? ""), args.slice(1), {
        cwd: place.dir,
        env: { ...env, PATH: `${bin}:${process.env["PATH"]}` },
        stdio: ["ignore", log, log],
        detached: true,
      }),
    );
    closeSync(log);
  };
  try {
    expect(place.run("attach", demoModel, "-o", "model.train", "--mining", "off", "--normalizer", "all", "--lovasz", "0").code).toBe(0);
    divide(place);
    const port = await freePort();
    mkdirSync(env.FLWR_HOME);
    writeFileSync(join(env.FLWR_HOME, "config.toml"), `[superlink.here]\naddress = "127.0.0.1:${port}"\ninsecure = true\n`);
    start("superlink", "flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--port", `${port}`);
    for (const i of [0, 1, 2]) {
      const own = `directory="model.train" images="images${i}" masks="masks${i}"`;
      start(`node${i}`, "flower-supernode", "--insecure", "--superlink", `127.0.0.1:${port}`, "--port", `${await freePort()}`, "--node-config", own);
    }
    await listening(port);
    const run = [`directory="${place.path("model.train")}"`, `output="${place.path("federated.safetensors")}"`, `rounds=${rounds}`, "steps=1", `batch=${size}`];
    const flwr = ["run", join(root, "examples/flower"), "here", "--stream", "--run-config", run.join(" ")];
    const { stdout: printed, stderr } = await promisify(execFile)(join(bin, "flwr"), flwr, { cwd: place.dir, env, timeout: 100_000 });
    expect(existsSync(place.path("federated.safetensors")), printed + stderr).toBe(true);
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
    for (const { pid, exitCode } of started) if (pid !== undefined && exitCode === null) process.kill(-pid);
    place.remove();
  }
});
