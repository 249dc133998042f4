/** A run that is killed again and again, at random moments, ends in the same bits as one that is left alone. */

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomStream } from "../../src/support/random.ts";
import { type JournalEvent, readJournal } from "../../src/train/journal.ts";
import { long } from "../long.ts";
import { demo, demoModel, main, type Workplace, workplace } from "./command.ts";

const kills = long ? 50 : 3;
const steps = long ? 1200 : 90;

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

interface Killed extends Ended {
  /** Milliseconds from the start of the process to the event that training begins; undefined where it was killed before. */
  readonly started: number | undefined;
  /** Milliseconds of the process. */
  readonly lived: number;
}

/** When to kill: so many milliseconds after the process began, or after so many steps of its training. */
interface Moment {
  readonly steps?: number;
  readonly milliseconds: number;
}

/** Runs the command, whose events say how far it is, and kills it. */
function killedAt(args: readonly string[], moment?: Moment): Promise<Killed> {
  return new Promise((resolve) => {
    const began = performance.now();
    const child = spawn(process.execPath, [main, ...args, "--json"], { cwd: place.dir, stdio: ["ignore", "ignore", "pipe"] });
    let timer: NodeJS.Timeout | undefined;
    const arm = (): void => {
      if (moment !== undefined) timer ??= setTimeout(() => child.kill("SIGKILL"), moment.milliseconds);
    };
    if (moment?.steps === undefined) arm();
    let stderr = "";
    let started: number | undefined;
    let steps = 0;
    createInterface({ input: child.stderr }).on("line", (line) => {
      stderr += `${line}\n`;
      if (line.includes('"event":"start"')) started = performance.now() - began;
      if (line.includes('"event":"step"')) steps++;
      if (started !== undefined && steps >= (moment?.steps ?? Number.POSITIVE_INFINITY)) arm();
    });
    child.on("close", (code, by) => {
      clearTimeout(timer);
      resolve({ code, signal: by, stderr, started, lived: performance.now() - began });
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
      const loud = (out: string): string[] => command(out).filter((text) => text !== "--quiet");
      const whole = await killedAt(loud("whole"));
      expect(whole.code, whole.stderr).toBe(0);
      const { started = 0, lived } = whole;
      const random = randomStream(long ? Date.now() : 5);
      const ends: number[] = [];
      let early = 0;
      for (let i = 0; i < kills; i++) {
        // One in five falls anywhere in the start of the process and of the run. The others divide what is left of the
        // run, whatever the pace of the machine; the time on top lets them fall anywhere within a step and its saving.
        const [left, share] = [steps - reached("killed"), kills - i + 1];
        const atStart = { milliseconds: random.between(0, started) };
        const later = { steps: Math.floor(random.between(0, (1.5 * left) / share)), milliseconds: random.between(0, (1.5 * (lived - started)) / steps) };
        const killed = await killedAt([...loud("killed"), "--resume"], i % 5 === 4 ? atStart : later);
        expect(killed.signal, killed.stderr).toBe("SIGKILL");
        if (killed.started === undefined) early++;
        ends.push(reached("killed"));
      }
      process.stderr.write(`killed at steps ${ends.join(", ")} of ${steps}; ${early} of ${kills} before training began\n`);
      // Four of five wait for the start, and hardly two of those find the run at one step.
      expect(early).toBeLessThanOrEqual(kills / 5);
      expect(new Set(ends).size).toBeGreaterThanOrEqual(kills / 2);
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
