/** A run that is killed again and again, at random moments, ends in the same bits as one that is left alone. */

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomStream } from "../../src/support/random.ts";
import { type JournalEvent, readJournal } from "../../src/train/journal.ts";
import { demo, demoModel, main, type Workplace, workplace } from "./command.ts";

const long = process.env["OHEMGEN_LONG"] !== undefined;
const kills = long ? 50 : 5;
const steps = long ? 1200 : 150;

let place: Workplace;
beforeAll(() => {
  place = workplace();
  for (const folder of ["images", "masks"]) {
    mkdirSync(place.path(folder));
    for (const stem of ["street-01", "street-02", "street-03"]) cpSync(join(demo, folder, `${stem}.png`), place.path(`${folder}/${stem}.png`));
  }
  expect(place.run("attach", demoModel, "-o", "t", "--optimizer", "adamw", "--input-shape", "image=batch,3,32,64").code).toBe(0);
});
afterAll(() => place.remove());

const data = ["--images", "images", "--masks", "masks", "--val-images", "images", "--val-masks", "masks"];
const options = ["--batch", "1", "--val-every", "7", "--save-every", "2", "--quiet"];

function command(out: string, count = steps): string[] {
  return ["train", "t", ...data, ...options, "--steps", `${count}`, "-o", out];
}

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

/** Runs the command and sends a signal after a while. */
function runFor(args: readonly string[], milliseconds: number, signal: NodeJS.Signals): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: place.dir, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    const timer = setTimeout(() => child.kill(signal), milliseconds);
    child.on("exit", (code, by) => {
      clearTimeout(timer);
      resolve({ code, signal: by, stderr });
    });
  });
}

/** What of a line does not depend on time. */
function timeless(event: JournalEvent): object {
  const { time: _, seconds: __, images_per_second: ___, waited: ____, ...rest } = event as unknown as Record<string, unknown>;
  return rest;
}

function metricsOf(out: string): object[] {
  return readJournal(readFileSync(place.path(`${out}/metrics.jsonl`), "utf8"))
    .filter(({ event }) => event === "step" || event === "val")
    .map(timeless);
}

/** Every start writes events of its own for TensorBoard. */
function filesOf(out: string): string[] {
  return readdirSync(place.path(out))
    .filter((name) => !name.startsWith("events.out."))
    .sort();
}

function reached(out: string): number {
  if (!existsSync(place.path(`${out}/metrics.jsonl`))) return 0;
  return Math.max(0, ...readJournal(readFileSync(place.path(`${out}/metrics.jsonl`), "utf8")).map(({ step }) => step));
}

describe("kill -9", () => {
  test(
    `${kills} times at random moments`,
    async () => {
      const began = performance.now();
      expect(place.run(...command("whole"))).toMatchObject({ code: 0, stderr: "" });
      const whole = performance.now() - began;
      const random = randomStream(long ? Date.now() : 5);
      const moments: number[] = [];
      for (let i = 0; i < kills; i++) {
        // Anywhere from the start of the process to a few steps into the training.
        const after = random.between(0, Math.min(whole, 2000) * 1.1);
        const { code, signal, stderr } = await runFor([...command("killed"), "--resume"], after, "SIGKILL");
        expect(signal === "SIGKILL" || code === 0, stderr).toBe(true);
        moments.push(reached("killed"));
      }
      if (long) expect(moments.at(-1)).toBeLessThan(steps);
      process.stderr.write(`killed at steps ${moments.join(", ")} of ${steps}\n`);
      expect(place.run(...command("killed"), "--resume")).toMatchObject({ code: 0, stderr: "" });
      const files = ["best.onnx", "best.safetensors", "last.safetensors", "previous.safetensors"];
      for (const name of files) expect(readFileSync(place.path(`killed/${name}`)).equals(readFileSync(place.path(`whole/${name}`))), name).toBe(true);
      expect(metricsOf("killed")).toEqual(metricsOf("whole"));
      // Nothing of the killed processes is left behind.
      expect(filesOf("killed")).toEqual(filesOf("whole"));
    },
    long ? 1_800_000 : 300_000,
  );
});

const fewSteps = 40;

describe.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s", (signal, exitCode) => {
  test("finishes the step, saves, and the run goes on in the same bits", async () => {
    const out = `ended by ${signal}`;
    if (!existsSync(place.path("few"))) expect(place.run(...command("few", fewSteps)).code).toBe(0);
    const args = command(out, fewSteps).filter((text) => text !== "--quiet");
    const ended = await new Promise<Ended & { stdout: string }>((resolve) => {
      const child = spawn(process.execPath, [main, ...args, "--json"], { cwd: place.dir });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (text) => {
        stdout += text;
      });
      child.stderr.on("data", (text) => {
        if (!stderr.includes('"step":5,') && `${stderr}${text}`.includes('"step":5,')) child.kill(signal);
        stderr += text;
      });
      child.on("close", (code, by) => resolve({ code, signal: by, stderr, stdout }));
    });
    expect(ended).toMatchObject({ code: exitCode, signal: null });
    const document = JSON.parse(ended.stdout);
    expect(document).toMatchObject({ reason: "interrupted", signal });
    expect(document.steps).toBeGreaterThanOrEqual(5);
    expect(document.steps).toBeLessThan(fewSteps);
    expect(reached(out)).toBe(document.steps);
    expect(place.run(...command(out, fewSteps), "--resume")).toMatchObject({ code: 0, stderr: "" });
    for (const name of ["best.safetensors", "last.safetensors"]) {
      expect(readFileSync(place.path(`${out}/${name}`)).equals(readFileSync(place.path(`few/${name}`))), name).toBe(true);
    }
    expect(metricsOf(out)).toEqual(metricsOf("few"));
  });
});
