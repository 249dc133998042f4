/** Runs that are taken up, refused, locked, out of disk; runs straight from a model; other image formats. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "fast-png";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeSafetensors } from "../../src/proto/safetensors.ts";
import { decodeMask } from "../../src/train/images.ts";
import { readJournal, type StepEvent } from "../../src/train/journal.ts";
import { cityscapesLabels } from "../../src/train/known-labels.ts";
import { demo, demoModel, main, root, type Workplace, workplace } from "./command.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  for (const folder of ["images", "masks"]) {
    mkdirSync(place.path(folder));
    for (const stem of ["street-01", "street-02", "street-03"]) cpSync(join(demo, folder, `${stem}.png`), place.path(`${folder}/${stem}.png`));
  }
  expect(place.run("attach", demoModel, "-o", "t", "--input-shape", "image=batch,3,32,64").code).toBe(0);
});
afterAll(() => place.remove());

const data = ["--images", "images", "--masks", "masks"];
const short = [...data, "--batch", "2", "--quiet"];

function progressOf(path: string): Record<string, unknown> {
  return JSON.parse(decodeSafetensors(new Uint8Array(readFileSync(place.path(path)))).metadata["progress"] ?? "");
}

describe("resume", () => {
  test("on a folder that is not there, and on one without a checkpoint, begins; twice is the same as once", () => {
    expect(place.run("train", "t", ...short, "--steps", "4", "-o", "a", "--resume")).toMatchObject({ code: 0, stderr: "" });
    mkdirSync(place.path("b"));
    writeFileSync(place.path("b/metrics.jsonl"), '{"event":"start","step":0}\n{"event":"st');
    expect(place.run("train", "t", ...short, "--steps", "4", "-o", "b", "--resume")).toMatchObject({ code: 0, stderr: "" });
    const last = readFileSync(place.path("a/last.safetensors"));
    expect(readFileSync(place.path("b/last.safetensors")).equals(last)).toBe(true);
    expect(readJournal(readFileSync(place.path("b/metrics.jsonl"), "utf8"))[0]).toMatchObject({ event: "start", resumed: false, images: 3 });
    // A run that is done has nothing left to do.
    expect(place.run("train", "t", ...short, "--steps", "4", "-o", "a", "--resume")).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(place.path("a/last.safetensors")).equals(last)).toBe(true);
  });

  test("an existing run without it is refused and stays as it was", () => {
    const before = readdirSync(place.path("a"));
    expect(place.run("train", "t", ...short, "-o", "a")).toMatchObject({ code: 1, stderr: expect.stringMatching(/\[E110\][\s\S]*--resume/) });
    expect(readdirSync(place.path("a"))).toEqual(before);
  });

  test("options left out are those of the run; others take effect and are told; the order of samples is fixed", () => {
    const run = (...more: string[]) => place.run("train", "t", ...data, "--quiet", "-o", "c", "--resume", ...more);
    expect(run("--batch", "2", "--lr", "0.02", "--no-augment", "--steps", "4", "--seed", "3").code).toBe(0);
    expect(run("--steps", "6")).toMatchObject({ code: 0, stderr: "ohemgen: from step 4 on: steps 6 instead of 4\n" });
    expect(progressOf("c/last.safetensors")).toMatchObject({ step: 6, position: 12, seed: 3 });
    const { settings } = JSON.parse(readFileSync(place.path("c/config.json"), "utf8"));
    expect(settings).toMatchObject({ batch: 2, seed: 3, schedule: { rate: 0.02, steps: 6 }, augmentation: { flip: false, color: 0 } });
    expect(run("--seed", "4")).toMatchObject({ code: 1, stderr: expect.stringMatching(/--seed 4: the run that is taken up has 3 {2}\[E423\]/) });
  });

  test("threads left out are those of the run; others are told, because the bits may differ", () => {
    const run = (...more: string[]) => place.run("train", "t", ...data, "--quiet", "-o", "threads", "--resume", ...more);
    const threads = () => JSON.parse(readFileSync(place.path("threads/config.json"), "utf8")).threads;
    expect(run("--batch", "2", "--steps", "2", "--threads", "1", "--schedule", "constant").code).toBe(0);
    expect(run()).toMatchObject({ code: 0, stderr: "" });
    expect(threads()).toBe(1);
    expect(run("--threads", "2")).toMatchObject({ code: 0, stderr: expect.stringContaining("from step 2 on: threads 2 instead of 1, so not bit for bit") });
    expect(threads()).toBe(2);
  });

  test("a checkpoint of other graphs is refused by its hash", () => {
    expect(place.run("attach", demoModel, "-o", "adam", "--optimizer", "adamw").code).toBe(0);
    const before = readFileSync(place.path("a/last.safetensors"));
    const { code, stderr } = place.run("train", "adam", ...short, "-o", "a", "--resume");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/does not belong to this training folder: it was made with other graphs {2}\[E420\]/)]);
    expect(readFileSync(place.path("a/last.safetensors")).equals(before)).toBe(true);
  });

  test("where the last checkpoint cannot be read, the one before is taken", () => {
    cpSync(place.path("c"), place.path("d"), { recursive: true });
    const last = readFileSync(place.path("d/last.safetensors"));
    writeFileSync(place.path("d/last.safetensors"), last.subarray(0, 1000));
    const { code, stderr } = place.run("train", "t", ...data, "--quiet", "-o", "d", "--resume");
    expect([code, stderr]).toEqual([0, expect.stringMatching(/going on from d\/previous\.safetensors/)]);
    expect(readFileSync(place.path("d/last.safetensors")).equals(last)).toBe(true);
  });

  test("a configuration that cannot be read is an error, and the folder is free again", () => {
    cpSync(place.path("c"), place.path("e"), { recursive: true });
    writeFileSync(place.path("e/config.json"), "{");
    expect(place.run("train", "t", ...short, "-o", "e", "--resume")).toMatchObject({ code: 1, stderr: expect.stringContaining("E113") });
    expect(existsSync(place.path("e/run.lock"))).toBe(false);
  });
});

describe("accumulation", () => {
  test("counts updates, uses the right number of images, and goes on after a stop", () => {
    const args = ["train", "t", ...short, "--accumulate", "3", "--val-every", "2"];
    expect(place.run(...args, "--epochs", "8", "-o", "acc")).toMatchObject({ code: 0, stderr: "" });
    expect(progressOf("acc/last.safetensors")).toMatchObject({ step: 4, position: 24, epoch: 8 });
    const losses = readJournal(readFileSync(place.path("acc/metrics.jsonl"), "utf8")).filter(({ event }) => event === "step") as StepEvent[];
    expect(losses.every(({ loss, kept, grad_norm }) => loss !== null && kept !== null && grad_norm !== null)).toBe(true);
  });
});

describe("lock", () => {
  test("a second run in the same folder is refused while the first lives, and not when it was killed", async () => {
    const child = spawn(process.execPath, [main, "train", "t", ...data, "--batch", "2", "--steps", "2000", "--save-every", "1", "-o", "locked"], {
      cwd: place.dir,
    });
    await new Promise<void>((resolve) => {
      child.stderr.on("data", (text) => {
        if (`${text}`.includes("step ")) resolve();
      });
    });
    const second = place.run("train", "t", ...short, "-o", "locked", "--resume");
    expect(second).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(new RegExp(`locked is in use by process ${child.pid} {2}\\[E422\\]`)) });
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(existsSync(place.path("locked/run.lock"))).toBe(true);
    const { step } = progressOf("locked/last.safetensors") as { step: number };
    expect(place.run("train", "t", ...data, "--quiet", "--steps", `${step + 2}`, "-o", "locked", "--resume").code).toBe(0);
    expect(existsSync(place.path("locked/run.lock"))).toBe(false);
  });
});

describe("a full disk", () => {
  test("is a clear error; what was saved stays, and the run goes on when there is room", () => {
    const args = ["train", "t", ...short, "--steps", "6", "--save-every", "2", "-o", "full"];
    expect(place.run(...args.map((text) => (text === "6" ? "2" : text))).code).toBe(0);
    const saved = readFileSync(place.path("full/last.safetensors"));
    const quoted = [main, ...args, "--resume"].map((text) => `'${text}'`).join(" ");
    // A limit on the size of files stands for the disk: 200 KiB are less than a checkpoint.
    const { status, stdout, stderr } = spawnSync("bash", ["-c", `ulimit -f 200; exec '${process.execPath}' ${quoted}`], { cwd: place.dir, encoding: "utf8" });
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/cannot write full\/best\.safetensors: .* {2}\[E112\]\n[\s\S]*disk is full/);
    expect(readFileSync(place.path("full/last.safetensors")).equals(saved)).toBe(true);
    expect(place.run(...args, "--resume").code).toBe(0);
    expect(place.run("train", "t", ...short, "--steps", "6", "--save-every", "2", "-o", "room").code).toBe(0);
    expect(progressOf("full/last.safetensors")["step"]).toBe(6);
    // Every start writes events of its own for TensorBoard.
    const filesOf = (out: string) => readdirSync(place.path(out)).filter((name) => !name.startsWith("events.out."));
    expect(filesOf("full")).toEqual(filesOf("room"));
  });
});

describe("straight from a model", () => {
  test("attaches into the run folder, whose graphs and checkpoints the other commands take", () => {
    const args = ["train", demoModel, ...short, "--optimizer", "adamw", "--freeze", "*bias", "--steps", "3", "-o", "m"];
    const { code, stderr } = place.run(...args);
    expect([code, stderr]).toEqual([0, ""]);
    expect(readdirSync(place.path("m/model.train"))).toContain("manifest.json");
    const { options } = JSON.parse(readFileSync(place.path("m/model.train/manifest.json"), "utf8"));
    expect(options.optimizer.kind).toBe("adamw");
    expect(place.run("eval", "m/model.train", "--checkpoint", "m/best.safetensors", ...data, "--json", "--quiet").code).toBe(0);
    // Taken up without the options of `attach`: the graphs are there.
    expect(place.run("train", demoModel, ...short, "--steps", "5", "-o", "m", "--resume").code).toBe(0);
    expect(progressOf("m/last.safetensors")["step"]).toBe(5);
    const other = place.run("train", demoModel, ...short, "--optimizer", "sgd", "-o", "m", "--resume");
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining("E420") });
  });

  test("options of attach do not go with a training folder, nor a bad model with a run folder", () => {
    expect(place.run("train", "t", ...short, "--optimizer", "adamw", "-o", "n")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("not with a training folder"),
    });
    writeFileSync(place.path("bad.onnx"), "no model");
    expect(place.run("train", "bad.onnx", ...short, "-o", "n")).toMatchObject({ code: 1, stderr: expect.stringContaining("E101") });
    expect(existsSync(place.path("n"))).toBe(false);
  });
});

describe("files", () => {
  test("JPEG and WebP images with masks in the colours of Cityscapes give the same numbers as their classes", async () => {
    for (const folder of ["mixed", "colours", "classes"]) mkdirSync(place.path(folder));
    const names = ["road", "sidewalk", "building", "wall", "fence", "pole"];
    const labels = names.map((name) => cityscapesLabels.find((label) => label.name === name));
    const map = Object.fromEntries(labels.map((label, i) => [`#${(label?.colour ?? []).map((value) => value.toString(16).padStart(2, "0")).join("")}`, i]));
    writeFileSync(place.path("map.json"), JSON.stringify({ ...map, default: "ignore" }));
    for (const [i, stem] of ["street-01", "street-02", "street-03"].entries()) {
      const image = sharp(place.path(`images/${stem}.png`));
      await (i === 0 ? image.webp({ lossless: true }).toFile(place.path(`mixed/${stem}.webp`)) : image.jpeg().toFile(place.path(`mixed/${stem}.jpeg`)));
      const mask = await decodeMask(readFileSync(place.path(`masks/${stem}.png`)), stem);
      const rgb = Uint8Array.from({ length: mask.labels.length * 3 }, (_, at) => labels[mask.labels[Math.floor(at / 3)] ?? 0]?.colour[at % 3] ?? 9);
      writeFileSync(place.path(`colours/${stem}.png`), encode({ width: mask.width, height: mask.height, channels: 3, data: rgb }));
    }
    const evaluate = (masks: string, ...more: string[]) =>
      JSON.parse(place.run("eval", "t", "--images", "mixed", "--masks", masks, "--json", "--quiet", ...more).stdout);
    expect(evaluate("colours", "--label-map", "map.json")).toEqual(evaluate("masks"));
  });

  test("a network that takes multiples of its stride alone is evaluated on pictures of other sizes, filled up", async () => {
    for (const folder of ["odd", "odd masks"]) mkdirSync(place.path(folder));
    for (const [i, [width, height]] of [
      [75, 50],
      [66, 97],
    ].entries() as Iterable<[number, [number, number]]>) {
      const at = { left: 0, top: 0, width, height: Math.min(height, 96) };
      await sharp(place.path("images/street-01.png"))
        .extract(at)
        .toFile(place.path(`odd/${i}.png`));
      const labels = new Uint8Array(at.width * at.height).fill(i);
      writeFileSync(place.path(`odd masks/${i}.png`), encode({ width: at.width, height: at.height, channels: 1, data: labels }));
    }
    const given = ["--images", "odd", "--masks", "odd masks"];
    expect(place.run("attach", join(root, "test/models/unet_convtranspose/model.onnx"), "--input-shape", "input=N,3,H,W", "-o", "u").code).toBe(0);
    const { code, stdout, stderr } = place.run("eval", "u", ...given, "--json");
    expect([code, stderr]).toEqual([0, expect.stringContaining("filled up to multiples of 32 pixels")]);
    const scores = JSON.parse(stdout);
    expect(scores.classes.map(({ pixels }: { pixels: number }) => pixels).slice(0, 2)).toEqual([75 * 50, 66 * 96]);
    expect(place.run("predict", "u", "--images", "odd", "-o", "odd out").code).toBe(0);
  });

  test("the folders of Cityscapes are taken as they are unpacked", () => {
    const root = place.path("city");
    for (const folder of ["leftImg8bit/aachen", "gtFine/aachen"]) mkdirSync(join(root, folder), { recursive: true });
    const stem = join("aachen", "aachen_000000_000019");
    cpSync(place.path("images/street-01.png"), join(root, "leftImg8bit", `${stem}_leftImg8bit.png`));
    const ids = Uint8Array.from({ length: 160 * 96 }, (_, i) => [7, 8, 11, 12, 13, 17, 0, 3][i % 8] ?? 0);
    writeFileSync(join(root, "gtFine", `${stem}_gtFine_labelIds.png`), encode({ width: 160, height: 96, channels: 1, data: ids }));
    writeFileSync(join(root, "gtFine", `${stem}_gtFine_color.png`), "never read");
    const args = ["train", demoModel, "--reset-head", "19", "--images", "city/leftImg8bit", "--masks", "city/gtFine", "--label-map", "cityscapes"];
    expect(place.run(...args, "--steps", "1", "--batch", "1", "-o", "city.run", "--quiet")).toMatchObject({ code: 0, stderr: "" });
    const { classNames, classColours } = JSON.parse(readFileSync(place.path("city.run/config.json"), "utf8"));
    expect([classNames[0], classNames[18], classColours[0]]).toEqual(["road", "bicycle", [128, 64, 128]]);
    rmSync(root, { recursive: true });
  });
});
